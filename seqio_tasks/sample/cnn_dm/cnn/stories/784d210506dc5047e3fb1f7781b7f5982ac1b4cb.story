LUMENFORD (Sample News) -- Hundreds stood on the bridges of the Lisk to watch.

The boat from Velloway led at first.

In the last bend the crew of Lumenford passed it and won the rowing race.

The winners were given rope as a prize.

Next year the race will be held in Velloway.

Share this story from Lumenford

@highlight

Lumenford has won the rowing race against Velloway

@highlight

The news comes from Lumenford on the Lisk