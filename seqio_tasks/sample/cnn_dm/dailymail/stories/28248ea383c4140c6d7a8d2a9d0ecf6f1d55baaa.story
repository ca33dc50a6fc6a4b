NETTLECROSS (Sample News) -- A shop in Nettlecross was broken into at night.

The thieves took paper and a little money.

A baker saw two men run towards the Dorrin.

The police ask for help.

It is the second theft since the fair in spring.

Share this story from Nettlecross

@highlight

Thieves have stolen paper from a shop in Nettlecross

@highlight

The news comes from Nettlecross on the Dorrin