GRINDLEBAY (Sample News) -- Hundreds stood on the bridges of the Ambel to watch.

The boat from Saltmere led at first.

In the last bend the crew of Grindlebay passed it and won the rowing race.

The winners were given paper as a prize.

Next year the race will be held in Saltmere.

Share this story from Grindlebay

@highlight

Grindlebay has won the rowing race against Saltmere

@highlight

The news comes from Grindlebay on the Ambel