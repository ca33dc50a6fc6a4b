TARNHOLLOW (Sample News) -- A shop in Tarnhollow was broken into at night.

The thieves took glass and a little money.

A baker saw two men run towards the Lisk.

The police ask for help.

It is the second theft since the fair in summer.

Share this story from Tarnhollow

@highlight

Thieves have stolen glass from a shop in Tarnhollow

@highlight

The news comes from Tarnhollow on the Lisk