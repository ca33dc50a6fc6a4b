VELLOWAY (Sample News) -- Copper thyme used to grow in the ditches around Velloway.

This autumn hardly any was found.

Gardeners are worried, for people make tea from it.

A dry year may be the cause.

The school wants to sow new copper thyme soon.

Share this story from Velloway

@highlight

Gardeners in Velloway are worried because copper thyme has become rare

@highlight

The news comes from Velloway on the Ambel