OAKVESPER (Sample News) -- Bell reed used to grow in the marshes around Oakvesper.

This summer hardly any was found.

Gardeners are worried, for people make tea from it.

A dry year may be the cause.

The school wants to sow new bell reed soon.

Share this story from Oakvesper

@highlight

Gardeners in Oakvesper are worried because bell reed has become rare

@highlight

The news comes from Oakvesper on the Ambel