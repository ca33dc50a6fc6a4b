SALTMERE (Sample News) -- Frost clover used to grow in the dunes around Saltmere.

This summer hardly any was found.

Gardeners are worried, for people make dye from it.

A dry year may be the cause.

The school wants to sow new frost clover soon.

Share this story from Saltmere

@highlight

Gardeners in Saltmere are worried because frost clover has become rare

@highlight

The news comes from Saltmere on the Eskwater