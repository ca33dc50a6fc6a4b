OSTRELBY (Sample News) -- Drum gourd used to grow in the dunes around Ostrelby.

This autumn hardly any was found.

Gardeners are worried, for people make tea from it.

A dry year may be the cause.

The school wants to sow new drum gourd soon.

Share this story from Ostrelby

@highlight

Gardeners in Ostrelby are worried because drum gourd has become rare

@highlight

The news comes from Ostrelby on the Ambel