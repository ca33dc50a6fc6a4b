NETTLECROSS (Sample News) -- Ribbon grass used to grow in the ditches around Nettlecross.

This winter hardly any was found.

Gardeners are worried, for people make rope from it.

A dry year may be the cause.

The school wants to sow new ribbon grass soon.

Share this story from Nettlecross

@highlight

Gardeners in Nettlecross are worried because ribbon grass has become rare

@highlight

The news comes from Nettlecross on the Dorrin