HAZELMARSH (Sample News) -- The council of Hazelmarsh met on Monday.

After a long debate it voted for a new clay mixer.

The machine will stand beside the Dorrin, where an old shed is to be torn down.

It is driven by wind and will make bricks.

Neighbours had asked for a quieter place.

Share this story from Hazelmarsh

@highlight

Hazelmarsh will build a clay mixer beside the Dorrin

@highlight

The news comes from Hazelmarsh on the Dorrin