WINDROWE (Sample News) -- The museum of Windrowe opened a new room on Sunday.

In the middle of it stands the first seed drill.

It was driven by steam and used to make bricks.

Children may turn the wheel themselves.

Visitors from Saltmere pay half the price.

Share this story from Windrowe

@highlight

The museum of Windrowe shows the first seed drill

@highlight

The news comes from Windrowe on the Dorrin