"""Official files of the datasets: downloaded, verified and unpacked (``python -m seqio_tasks.download``)."""
