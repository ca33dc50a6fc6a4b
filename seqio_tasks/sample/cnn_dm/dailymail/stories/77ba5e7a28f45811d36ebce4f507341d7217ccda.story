GRINDLEBAY (Sample News) -- The museum of Grindlebay opened a new room on Sunday.

In the middle of it stands the first seed drill.

It was driven by steam and used to make bricks.

Children may turn the wheel themselves.

Visitors from Marrowfen pay half the price.

Share this story from Grindlebay

@highlight

The museum of Grindlebay shows the first seed drill

@highlight

The news comes from Grindlebay on the Ambel