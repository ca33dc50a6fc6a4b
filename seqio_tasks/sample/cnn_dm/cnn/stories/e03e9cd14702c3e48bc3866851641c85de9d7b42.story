NETTLECROSS (Sample News) -- Heavy rain fell in the hills for three days.

On Friday the Dorrin left its banks at Nettlecross.

Water stood in the market hall until noon, and many stalls were damaged.

Nobody was hurt.

People from Marrowfen came with carts to help.

Share this story from Nettlecross

@highlight

A flood of the Dorrin has damaged the market of Nettlecross

@highlight

The news comes from Nettlecross on the Dorrin