BRINDLEWICK (Sample News) -- Thread nettle used to grow in the dunes around Brindlewick.

This spring hardly any was found.

Gardeners are worried, for people make soap from it.

A dry year may be the cause.

The school wants to sow new thread nettle soon.

Share this story from Brindlewick

@highlight

Gardeners in Brindlewick are worried because thread nettle has become rare

@highlight

The news comes from Brindlewick on the Eskwater