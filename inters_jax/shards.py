"""Several processes that share the questions of one command: independent jobs, or the hosts of one run.

    SHARD = '3/8'     the third of eight jobs: answers its share, into a journal of its own in OUTPUT_DIR
    no SHARD          reads the journals of all shards that it finds there, answers what is left, and measures

A question belongs to a share by a hash of its text or id, so shares do not depend on the order of the
questions, on a limit, or on who has finished what. Nothing else connects the jobs: a job that is lost is
started again, alone or with another number of shares, or is left to the last command.

`inters_jax.shared_work` does the work of a process, alone or as one host of a run.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from seqio_tasks.base import UserError, locked
from seqio_tasks.sources.splits import stable_hash


@dataclass(frozen=True)
class Shard:
    """One of `count` shares; number: from 1."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise UserError(f"SHARD='{self}': shares are numbered from 1 to {self.count}")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def suffix(self) -> str:
        """Of the names of its files.

        >>> Shard(3, 8).suffix
        '.3of8'
        """
        return f".{self.number}of{self.count}"

    def has(self, question: str) -> bool:
        """Whether a question, by its text or id, is in this share.

        >>> [[n for n in range(6) if Shard(k, 2).has(f"q{n}")] for k in (1, 2)]
        [[1, 2, 4, 5], [0, 3]]
        """
        return stable_hash(question) % self.count == self.number - 1


def parse_shard(text: str) -> Shard:
    """`K/N` as a share.

    Raises:
      UserError: it is none.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if found is None:
        raise UserError(f"SHARD={text!r}: write the number of the share and of all shares, such as '3/8'")
    return Shard(int(found[1]), int(found[2]))


def shared_file(path: Path, shard: Shard | None) -> Path:
    """The file that a share writes in place of `path`.

    >>> shared_file(Path("a/scores.jsonl"), Shard(3, 8)).as_posix()
    'a/scores.3of8.jsonl'
    """
    return path if shard is None else path.with_name(f"{path.stem}{shard.suffix}{path.suffix}")


def writing_to(folder: Path, share: Shard | None = None) -> AbstractContextManager[None]:
    """Hold an output folder, or a share of it, while it is written; two writers would mix their answers.

    Raises:
      UserError: another process holds it.
    """
    todo = "wait until it is done, or set another OUTPUT_DIR"
    what = "" if share is None else f"share {share} of "
    return locked(
        folder / f".lock{'' if share is None else share.suffix}",
        busy=f"{what}{folder}: another evaluate or rerank writes here; {todo}",
    )
