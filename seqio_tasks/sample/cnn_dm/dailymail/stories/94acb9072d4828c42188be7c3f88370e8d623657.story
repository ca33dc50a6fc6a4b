HAZELMARSH (Sample News) -- The museum of Hazelmarsh opened a new room on Sunday.

In the middle of it stands the first wool comb.

It was driven by water and used to make flour.

Children may turn the wheel themselves.

Visitors from Lumenford pay half the price.

Share this story from Hazelmarsh

@highlight

The museum of Hazelmarsh shows the first wool comb

@highlight

The news comes from Hazelmarsh on the Dorrin