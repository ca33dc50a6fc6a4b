FERNHAVEN (Sample News) -- A shop in Fernhaven was broken into at night.

The thieves took paper and a little money.

A baker saw two men run towards the Lisk.

The police ask for help.

It is the second theft since the fair in autumn.

Share this story from Fernhaven

@highlight

Thieves have stolen paper from a shop in Fernhaven

@highlight

The news comes from Fernhaven on the Lisk