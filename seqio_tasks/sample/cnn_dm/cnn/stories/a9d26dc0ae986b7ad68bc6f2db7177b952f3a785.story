FERNHAVEN (Sample News) -- Bell reed used to grow in the marshes around Fernhaven.

This summer hardly any was found.

Gardeners are worried, for people make tea from it.

A dry year may be the cause.

The school wants to sow new bell reed soon.

Share this story from Fernhaven

@highlight

Gardeners in Fernhaven are worried because bell reed has become rare

@highlight

The news comes from Fernhaven on the Lisk