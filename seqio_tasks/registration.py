"""Adds every task and mixture to SeqIO's registries; imported by `seqio_tasks` as soon as SeqIO is."""

from seqio_tasks import own_data, tasks
from seqio_tasks.mixtures import registered

tasks.register()
own_data.register()  # adds its own tasks, which its mixtures need
registered.register()
