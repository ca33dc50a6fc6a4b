FERNHAVEN (Sample News) -- The museum of Fernhaven opened a new room on Sunday.

In the middle of it stands the first tide pump.

It was driven by wind and used to make flour.

Children may turn the wheel themselves.

Visitors from Brindlewick pay half the price.

Share this story from Fernhaven

@highlight

The museum of Fernhaven shows the first tide pump

@highlight

The news comes from Fernhaven on the Lisk