OSTRELBY (Sample News) -- Heavy rain fell in the hills for three days.

On Friday the Ambel left its banks at Ostrelby.

Water stood in the market hall until noon, and many stalls were damaged.

Nobody was hurt.

People from Lumenford came with carts to help.

Share this story from Ostrelby

@highlight

A flood of the Ambel has damaged the market of Ostrelby

@highlight

The news comes from Ostrelby on the Ambel