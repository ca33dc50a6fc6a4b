"""Files that appear under their name when they are whole: written beside it and renamed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


class replacing:
    """A path to write to that takes the final name only when the block succeeds; missing folders are made.

    >>> import tempfile, pathlib
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "new" / "a.txt"
    >>> with replacing(target) as path:
    ...     _ = path.write_text("x")
    >>> target.read_text()
    'x'
    """

    def __init__(self, path: str | Path):
        self._path = Path(path)

    def __enter__(self) -> Path:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        os.close(handle)
        Path(name).chmod(0o666 & ~_umask())
        self._temporary = Path(name)
        return self._temporary

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._temporary.replace(self._path)
        else:
            self._temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
