BRINDLEWICK (Sample News) -- The museum of Brindlewick opened a new room on Sunday.

In the middle of it stands the first grain sorter.

It was driven by steam and used to make flour.

Children may turn the wheel themselves.

Visitors from Lumenford pay half the price.

Share this story from Brindlewick

@highlight

The museum of Brindlewick shows the first grain sorter

@highlight

The news comes from Brindlewick on the Eskwater