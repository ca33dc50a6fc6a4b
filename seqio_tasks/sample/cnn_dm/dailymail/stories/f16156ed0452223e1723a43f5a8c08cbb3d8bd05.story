NETTLECROSS (Sample News) -- The museum of Nettlecross opened a new room on Sunday.

In the middle of it stands the first clay mixer.

It was driven by wind and used to make bricks.

Children may turn the wheel themselves.

Visitors from Saltmere pay half the price.

Share this story from Nettlecross

@highlight

The museum of Nettlecross shows the first clay mixer

@highlight

The news comes from Nettlecross on the Dorrin