"""Readers of the official raw files, one module per file format.

Every loader named in `seqio_tasks.catalog` has the signature ``loader(raw_dir, split, report=None)`` and
yields flat rows in a fixed order. ``raw_dir`` has one folder per dataset (``gov2/``, ``boolq/``, ...); the
same loaders read the packaged sample and the official downloads.
"""
