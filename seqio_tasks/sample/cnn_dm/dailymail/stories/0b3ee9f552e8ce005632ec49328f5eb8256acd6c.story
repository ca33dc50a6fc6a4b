OSTRELBY (Sample News) -- A shop in Ostrelby was broken into at night.

The thieves took glass and a little money.

A baker saw two men run towards the Ambel.

The police ask for help.

It is the second theft since the fair in spring.

Share this story from Ostrelby

@highlight

Thieves have stolen glass from a shop in Ostrelby

@highlight

The news comes from Ostrelby on the Ambel