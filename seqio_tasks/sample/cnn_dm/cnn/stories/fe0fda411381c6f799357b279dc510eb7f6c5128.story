SALTMERE (Sample News) -- Hundreds stood on the bridges of the Eskwater to watch.

The boat from Corvendale led at first.

In the last bend the crew of Saltmere passed it and won the rowing race.

The winners were given paper as a prize.

Next year the race will be held in Corvendale.

Share this story from Saltmere

@highlight

Saltmere has won the rowing race against Corvendale

@highlight

The news comes from Saltmere on the Eskwater