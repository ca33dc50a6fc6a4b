"""Official files of the datasets: fetched, checked by hash, unpacked (``python -m seqio_tasks.download``)."""
