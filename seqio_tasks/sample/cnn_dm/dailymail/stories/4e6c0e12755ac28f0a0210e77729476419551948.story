CORVENDALE (Sample News) -- The council of Corvendale met on Monday.

After a long debate it voted for a new turf cutter.

The machine will stand beside the Eskwater, where an old shed is to be torn down.

It is driven by water and will make bricks.

Neighbours had asked for a quieter place.

Share this story from Corvendale

@highlight

Corvendale will build a turf cutter beside the Eskwater

@highlight

The news comes from Corvendale on the Eskwater