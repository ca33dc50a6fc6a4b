"""Training data: the token store on disk, the examples of an epoch, their packing into rows, and the batches.

    pass_files.py    the files of one pass of a task in a token store
    token_store.py   memory-mapped sequences and their manifest       (written by `prepare`)
    mixing.py        which examples are in an epoch                   (seed, epoch) -> examples
    packing.py       which examples share a row                       (seed, epoch, lengths) -> rows
    loader.py        the arrays of a step                             (seed, step) -> batch
    shuffling.py     seeded orders that never change
    provenance.py    what a store was made from, to detect a stale one

    conversion.py    examples of a SeqIO task as token sequences
    workers.py       work on many names by several processes
    registry.py      the SeqIO tasks behind a name, and their rates   (from here on SeqIO is needed)
    task_writing.py  writes the tasks of a store
    building.py      writes a store

The first group, which training uses, loads neither TensorFlow nor SeqIO. No token id has a special meaning:
masks come from stored lengths.
"""
