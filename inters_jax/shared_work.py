"""The work of a process that shares its questions with others (`inters_jax.shards`).

The hosts of one run (`inters_jax.hosts`) have a share each, and the first one waits for the others and ends
the work. Every host holds the whole model, on its own devices.

With ACROSS_HOSTS they hold one model together instead: the first host has all questions, and the others
compute what it asks (`inters_jax.inference.together`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax

from inters_jax import hosts, paths
from inters_jax.shards import Shard, parse_shard, writing_to
from seqio_tasks.base import UserError

T = TypeVar("T")


def share_of_process(
    shard: str | None, *, across_hosts: bool = False, mesh: str | None = None, **joining: Any
) -> Shard | None:
    """The share of this process: that of SHARD, or of a host of several; None: it has all questions.

    Args:
      shard: `K/N`, or None.
      across_hosts: whether the hosts hold one model together and have no shares.
      mesh: description of the mesh.
      **joining: arguments of `hosts.join_hosts`.

    Raises:
      UserError: SHARD in a run of several hosts, or one model of several hosts without a mesh.
    """
    if across_hosts and mesh is None:
        raise UserError(
            "ACROSS_HOSTS=True divides the model by MESH, which is None; set it, for example MESH='tensor=-1'"
        )
    count = hosts.join_hosts(**joining)
    if shard is not None and count > 1:
        raise UserError(f"SHARD='{shard}' is for single jobs; leave it out: this run has {count} hosts")
    if shard is not None:
        return parse_shard(shard)
    return Shard(jax.process_index() + 1, count) if count > 1 and not across_hosts else None


def in_shares(share: Shard | None, folder: Path, work: Callable[[Shard | None], T]) -> T | None:
    """Do the work of this process.

    Args:
      share: `share_of_process`.
      folder: OUTPUT_DIR, in which a share is locked while it is worked on.
      work: called with a share, answers its questions; called with None, answers all that are left and ends
        the work.

    Returns:
      What work(None) returns; None in a process that only answers its share.
    """
    if share is None:
        with writing_to(folder):
            result = work(None)
        paths.push(folder)  # before hosts that compute for this one are let go
        return result
    with writing_to(folder, share):
        work(share)
    paths.push(folder)
    if not jax.distributed.is_initialized():
        print(f"share {share} is done; the same command without SHARD puts the shares together", flush=True)
        return None
    if share.number > 1:
        hosts.publish(f"{folder}: share {share.number}", "done")
        hosts.wait_for(f"{folder}: all")  # a host that ended would look like a lost one
        return None
    for number in range(2, share.count + 1):
        hosts.wait_for(f"{folder}: share {number}")
    paths.pull(folder)
    with writing_to(folder):
        result = work(None)
    paths.push(folder)
    hosts.publish(f"{folder}: all", "done")
    return result
