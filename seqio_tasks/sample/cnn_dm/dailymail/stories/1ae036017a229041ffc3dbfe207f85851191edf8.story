GRINDLEBAY (Sample News) -- Salt vine used to grow in the meadows around Grindlebay.

This autumn hardly any was found.

Gardeners are worried, for people make dye from it.

A dry year may be the cause.

The school wants to sow new salt vine soon.

Share this story from Grindlebay

@highlight

Gardeners in Grindlebay are worried because salt vine has become rare

@highlight

The news comes from Grindlebay on the Ambel