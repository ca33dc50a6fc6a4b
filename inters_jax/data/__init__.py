"""The feed of a run: a token store on disk, what an epoch holds, which examples share a row, and the batches.

    token_store.py   memory-mapped sequences and their manifest       (what `prepare` writes)
    mixing.py        which examples make up an epoch                  (seed, epoch) -> examples
    packing.py       which examples share a row                       (seed, epoch, lengths) -> rows
    loader.py        the arrays of a step                             (seed, step) -> batch
    shuffling.py     seeded orders that never change
    provenance.py    what a store was made from, to notice a stale one

    conversion.py    examples of a SeqIO task as token sequences
    building.py      writes a store                                   (the only one that needs SeqIO)

Training imports neither TensorFlow nor SeqIO through the first group, and no token id has a meaning to it:
masks come from stored lengths.
"""
