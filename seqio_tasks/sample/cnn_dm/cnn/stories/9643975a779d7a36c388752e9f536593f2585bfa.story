KESTRELGATE (Sample News) -- The council of Kestrelgate met on Monday.

After a long debate it voted for a new lime kiln.

The machine will stand beside the Lisk, where an old shed is to be torn down.

It is driven by wind and will make cloth.

Neighbours had asked for a quieter place.

Share this story from Kestrelgate

@highlight

Kestrelgate will build a lime kiln beside the Lisk

@highlight

The news comes from Kestrelgate on the Lisk