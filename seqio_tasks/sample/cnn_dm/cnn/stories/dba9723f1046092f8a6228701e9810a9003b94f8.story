WINDROWE (Sample News) -- The council of Windrowe met on Monday.

After a long debate it voted for a new brick oven.

The machine will stand beside the Dorrin, where an old shed is to be torn down.

It is driven by steam and will make paint.

Neighbours had asked for a quieter place.

Share this story from Windrowe

@highlight

Windrowe will build a brick oven beside the Dorrin

@highlight

The news comes from Windrowe on the Dorrin