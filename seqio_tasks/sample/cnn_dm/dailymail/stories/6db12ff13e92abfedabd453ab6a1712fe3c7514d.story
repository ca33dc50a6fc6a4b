LUMENFORD (Sample News) -- Heavy rain fell in the hills for three days.

On Friday the Lisk left its banks at Lumenford.

Water stood in the market hall until noon, and many stalls were damaged.

Nobody was hurt.

People from Grindlebay came with carts to help.

Share this story from Lumenford

@highlight

A flood of the Lisk has damaged the market of Lumenford

@highlight

The news comes from Lumenford on the Lisk