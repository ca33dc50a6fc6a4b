"""Adds every task and mixture to SeqIO's registries; imported by `seqio_tasks` as soon as SeqIO is."""

from seqio_tasks import tasks
from seqio_tasks.mixtures import registered

tasks.register()
registered.register()
