BRINDLEWICK (Sample News) -- Hundreds stood on the bridges of the Eskwater to watch.

The boat from Saltmere led at first.

In the last bend the crew of Brindlewick passed it and won the rowing race.

The winners were given glass as a prize.

Next year the race will be held in Saltmere.

Share this story from Brindlewick

@highlight

Brindlewick has won the rowing race against Saltmere

@highlight

The news comes from Brindlewick on the Eskwater