QUELLMOOR (Sample News) -- Silver fern used to grow in the marshes around Quellmoor.

This autumn hardly any was found.

Gardeners are worried, for people make rope from it.

A dry year may be the cause.

The school wants to sow new silver fern soon.

Share this story from Quellmoor

@highlight

Gardeners in Quellmoor are worried because silver fern has become rare

@highlight

The news comes from Quellmoor on the Dorrin