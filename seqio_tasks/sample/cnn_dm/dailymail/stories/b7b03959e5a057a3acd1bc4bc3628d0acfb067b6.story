TARNHOLLOW (Sample News) -- Heavy rain fell in the hills for three days.

On Friday the Lisk left its banks at Tarnhollow.

Water stood in the market hall until noon, and many stalls were damaged.

Nobody was hurt.

People from Hazelmarsh came with carts to help.

Share this story from Tarnhollow

@highlight

A flood of the Lisk has damaged the market of Tarnhollow

@highlight

The news comes from Tarnhollow on the Lisk