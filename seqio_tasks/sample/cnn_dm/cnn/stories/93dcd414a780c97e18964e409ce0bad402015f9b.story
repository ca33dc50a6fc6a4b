CORVENDALE (Sample News) -- Heavy rain fell in the hills for three days.

On Friday the Eskwater left its banks at Corvendale.

Water stood in the market hall until noon, and many stalls were damaged.

Nobody was hurt.

People from Fernhaven came with carts to help.

Share this story from Corvendale

@highlight

A flood of the Eskwater has damaged the market of Corvendale

@highlight

The news comes from Corvendale on the Eskwater