BRINDLEWICK (Sample News) -- A shop in Brindlewick was broken into at night.

The thieves took glass and a little money.

A baker saw two men run towards the Eskwater.

The police ask for help.

It is the second theft since the fair in autumn.

Share this story from Brindlewick

@highlight

Thieves have stolen glass from a shop in Brindlewick

@highlight

The news comes from Brindlewick on the Eskwater