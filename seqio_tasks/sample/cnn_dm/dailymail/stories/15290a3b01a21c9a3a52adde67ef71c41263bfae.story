WINDROWE (Sample News) -- Hundreds stood on the bridges of the Dorrin to watch.

The boat from Quellmoor led at first.

In the last bend the crew of Windrowe passed it and won the rowing race.

The winners were given pottery as a prize.

Next year the race will be held in Quellmoor.

Share this story from Windrowe

@highlight

Windrowe has won the rowing race against Quellmoor

@highlight

The news comes from Windrowe on the Dorrin