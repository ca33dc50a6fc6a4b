MARROWFEN (Sample News) -- Heavy rain fell in the hills for three days.

On Friday the Eskwater left its banks at Marrowfen.

Water stood in the market hall until noon, and many stalls were damaged.

Nobody was hurt.

People from Brindlewick came with carts to help.

Share this story from Marrowfen

@highlight

A flood of the Eskwater has damaged the market of Marrowfen

@highlight

The news comes from Marrowfen on the Eskwater