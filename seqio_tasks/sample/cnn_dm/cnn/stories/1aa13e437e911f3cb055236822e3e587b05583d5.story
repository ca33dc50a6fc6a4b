HAZELMARSH (Sample News) -- Sand lily used to grow in the dunes around Hazelmarsh.

This winter hardly any was found.

Gardeners are worried, for people make rope from it.

A dry year may be the cause.

The school wants to sow new sand lily soon.

Share this story from Hazelmarsh

@highlight

Gardeners in Hazelmarsh are worried because sand lily has become rare

@highlight

The news comes from Hazelmarsh on the Dorrin