VELLOWAY (Sample News) -- A shop in Velloway was broken into at night.

The thieves took rope and a little money.

A baker saw two men run towards the Ambel.

The police ask for help.

It is the second theft since the fair in spring.

Share this story from Velloway

@highlight

Thieves have stolen rope from a shop in Velloway

@highlight

The news comes from Velloway on the Ambel