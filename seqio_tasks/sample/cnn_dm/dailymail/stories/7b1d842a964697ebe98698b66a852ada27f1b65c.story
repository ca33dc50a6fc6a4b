SALTMERE (Sample News) -- The council of Saltmere met on Monday.

After a long debate it voted for a new clay mixer.

The machine will stand beside the Eskwater, where an old shed is to be torn down.

It is driven by wind and will make bricks.

Neighbours had asked for a quieter place.

Share this story from Saltmere

@highlight

Saltmere will build a clay mixer beside the Eskwater

@highlight

The news comes from Saltmere on the Eskwater