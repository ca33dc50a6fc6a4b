GRINDLEBAY (Sample News) -- Heavy rain fell in the hills for three days.

On Friday the Ambel left its banks at Grindlebay.

Water stood in the market hall until noon, and many stalls were damaged.

Nobody was hurt.

People from Hazelmarsh came with carts to help.

Share this story from Grindlebay

@highlight

A flood of the Ambel has damaged the market of Grindlebay

@highlight

The news comes from Grindlebay on the Ambel