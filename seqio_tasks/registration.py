"""Adds every task and mixture to SeqIO's registries; imported by `seqio_tasks` as soon as SeqIO is."""

from seqio_tasks import own_data, tasks
from seqio_tasks.mixtures import registered

own_data.register()
tasks.register()
registered.register()
