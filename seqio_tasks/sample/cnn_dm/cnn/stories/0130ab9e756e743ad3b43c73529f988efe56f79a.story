LUMENFORD (Sample News) -- A shop in Lumenford was broken into at night.

The thieves took rope and a little money.

A baker saw two men run towards the Lisk.

The police ask for help.

It is the second theft since the fair in summer.

Share this story from Lumenford

@highlight

Thieves have stolen rope from a shop in Lumenford

@highlight

The news comes from Lumenford on the Lisk