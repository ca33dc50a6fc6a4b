OAKVESPER (Sample News) -- A shop in Oakvesper was broken into at night.

The thieves took pottery and a little money.

A baker saw two men run towards the Ambel.

The police ask for help.

It is the second theft since the fair in summer.

Share this story from Oakvesper

@highlight

Thieves have stolen pottery from a shop in Oakvesper

@highlight

The news comes from Oakvesper on the Ambel