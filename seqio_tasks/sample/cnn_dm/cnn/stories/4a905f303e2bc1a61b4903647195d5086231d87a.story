MARROWFEN (Sample News) -- Hundreds stood on the bridges of the Eskwater to watch.

The boat from Kestrelgate led at first.

In the last bend the crew of Marrowfen passed it and won the rowing race.

The winners were given pottery as a prize.

Next year the race will be held in Kestrelgate.

Share this story from Marrowfen

@highlight

Marrowfen has won the rowing race against Kestrelgate

@highlight

The news comes from Marrowfen on the Eskwater