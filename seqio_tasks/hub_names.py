"""Names of repositories on the Hugging Face hub: ``org/name``, or ``org/name@revision`` for one revision.

A revision is a branch, a tag or a commit. A commit never changes, so it is what results should be recorded
with: `of_folder` gives it for a folder in the cache of huggingface_hub.
"""

from __future__ import annotations

import re
from pathlib import Path

from seqio_tasks.base import UserError

# As huggingface_hub lays out its cache: models--org--name/snapshots/<commit>
_SNAPSHOT = re.compile(r"models--(.+)/snapshots/([0-9a-f]{40})/?$")


def split(name: str) -> tuple[str, str | None]:
    """The repository and the revision of a name; None where it names no revision.

    >>> split("org/name@v1.0"), split("org/name")
    (('org/name', 'v1.0'), ('org/name', None))

    Raises:
      UserError: nothing follows the ``@``.
    """
    repository, at, revision = name.partition("@")
    if at and not revision:
        raise UserError(f"{name!r} names no revision; write ORG/NAME@REVISION: a branch, a tag or a commit")
    return repository, revision or None


def of_folder(folder: str | Path) -> str | None:
    """``org/name@commit`` of a folder in the hub's cache; None for any other folder.

    >>> of_folder(f"cache/models--org--name/snapshots/{'a1' * 20}")
    'org/name@a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1'
    """
    found = _SNAPSHOT.search(Path(folder).as_posix())
    return None if found is None else f"{found[1].replace('--', '/')}@{found[2]}"
