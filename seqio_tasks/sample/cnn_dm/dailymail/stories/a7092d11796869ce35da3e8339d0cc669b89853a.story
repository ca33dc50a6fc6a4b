CORVENDALE (Sample News) -- Hundreds stood on the bridges of the Eskwater to watch.

The boat from Nettlecross led at first.

In the last bend the crew of Corvendale passed it and won the rowing race.

The winners were given rope as a prize.

Next year the race will be held in Nettlecross.

Share this story from Corvendale

@highlight

Corvendale has won the rowing race against Nettlecross

@highlight

The news comes from Corvendale on the Eskwater