QUELLMOOR (Sample News) -- The council of Quellmoor met on Monday.

After a long debate it voted for a new seed drill.

The machine will stand beside the Dorrin, where an old shed is to be torn down.

It is driven by steam and will make bricks.

Neighbours had asked for a quieter place.

Share this story from Quellmoor

@highlight

Quellmoor will build a seed drill beside the Dorrin

@highlight

The news comes from Quellmoor on the Dorrin