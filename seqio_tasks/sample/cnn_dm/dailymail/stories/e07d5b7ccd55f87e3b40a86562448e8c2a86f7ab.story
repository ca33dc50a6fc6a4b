KESTRELGATE (Sample News) -- Hundreds stood on the bridges of the Lisk to watch.

The boat from Ostrelby led at first.

In the last bend the crew of Kestrelgate passed it and won the rowing race.

The winners were given pottery as a prize.

Next year the race will be held in Ostrelby.

Share this story from Kestrelgate

@highlight

Kestrelgate has won the rowing race against Ostrelby

@highlight

The news comes from Kestrelgate on the Lisk