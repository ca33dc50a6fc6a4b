CORVENDALE (Sample News) -- A shop in Corvendale was broken into at night.

The thieves took rope and a little money.

A baker saw two men run towards the Eskwater.

The police ask for help.

It is the second theft since the fair in autumn.

Share this story from Corvendale

@highlight

Thieves have stolen rope from a shop in Corvendale

@highlight

The news comes from Corvendale on the Eskwater