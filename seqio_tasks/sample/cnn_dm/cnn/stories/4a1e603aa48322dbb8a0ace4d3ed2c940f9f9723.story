SALTMERE (Sample News) -- Heavy rain fell in the hills for three days.

On Friday the Eskwater left its banks at Saltmere.

Water stood in the market hall until noon, and many stalls were damaged.

Nobody was hurt.

People from Windrowe came with carts to help.

Share this story from Saltmere

@highlight

A flood of the Eskwater has damaged the market of Saltmere

@highlight

The news comes from Saltmere on the Eskwater