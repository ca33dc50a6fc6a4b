OAKVESPER (Sample News) -- The council of Oakvesper met on Monday.

After a long debate it voted for a new turf cutter.

The machine will stand beside the Ambel, where an old shed is to be torn down.

It is driven by water and will make bricks.

Neighbours had asked for a quieter place.

Share this story from Oakvesper

@highlight

Oakvesper will build a turf cutter beside the Ambel

@highlight

The news comes from Oakvesper on the Ambel