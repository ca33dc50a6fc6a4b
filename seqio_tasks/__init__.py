"""Public information-retrieval data sets as instruction-tuning tasks for SeqIO.

    import seqio, seqio_tasks
    dataset = seqio.get_mixture_or_task("inters").get_dataset({"inputs": 1792, "targets": 256}, "train")

Importing this package registers all tasks and mixtures; no data file is opened and no tokenizer loaded
before a task is used. `seqio_tasks.configure(raw_dir=..., tokenizer=...)` says where the data is;
without it, the small collection that comes with the package is read.
"""

from seqio_tasks import evaluation_only, mixtures, tasks
from seqio_tasks.settings import configure

tasks.register()
mixtures.register()
evaluation_only.register()

available = tasks.available
members = mixtures.members

__all__ = ["available", "configure", "members", "mixtures", "tasks"]
