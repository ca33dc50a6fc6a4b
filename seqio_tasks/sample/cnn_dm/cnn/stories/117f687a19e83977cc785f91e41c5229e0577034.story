MARROWFEN (Sample News) -- A shop in Marrowfen was broken into at night.

The thieves took pottery and a little money.

A baker saw two men run towards the Eskwater.

The police ask for help.

It is the second theft since the fair in winter.

Share this story from Marrowfen

@highlight

Thieves have stolen pottery from a shop in Marrowfen

@highlight

The news comes from Marrowfen on the Eskwater