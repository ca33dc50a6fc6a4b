VELLOWAY (Sample News) -- Heavy rain fell in the hills for three days.

On Friday the Ambel left its banks at Velloway.

Water stood in the market hall until noon, and many stalls were damaged.

Nobody was hurt.

People from Corvendale came with carts to help.

Share this story from Velloway

@highlight

A flood of the Ambel has damaged the market of Velloway

@highlight

The news comes from Velloway on the Ambel