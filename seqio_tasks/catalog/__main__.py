"""``python -m seqio_tasks.catalog``: the pairs and the official files as text."""

from seqio_tasks.catalog import table

if __name__ == "__main__":
    print(table())
