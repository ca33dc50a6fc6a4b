"""Rows of the catalog and official files, one module per family of tasks.

Each module exports ``PAIRS`` (a tuple of `Pair`) and ``SOURCES`` (name -> `Source`), built with `make_pair`
of `seqio_tasks.catalog_types`; `seqio_tasks.catalog` and `seqio_tasks.files` collect them. They import
neither of the two.
"""
