"""The feed of a run: a token store on disk, what an epoch holds, which examples share a row, and the batches.

    token_store.py   memory-mapped sequences and their manifest       (what `prepare` writes)
    mixing.py        which examples make up an epoch                  (seed, epoch) -> examples
    packing.py       which examples share a row                       (seed, epoch, lengths) -> rows
    loader.py        the arrays of a step                             (seed, step) -> batch

Nothing here imports TensorFlow, SeqIO or JAX, and no token id has a meaning: masks come from stored lengths.
"""
