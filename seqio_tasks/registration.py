"""Adds every task and mixture to SeqIO's registries; imported by `seqio_tasks` as soon as SeqIO is there."""

from seqio_tasks import evaluation_only, mixtures, tasks

tasks.register()
mixtures.register()
evaluation_only.register()
