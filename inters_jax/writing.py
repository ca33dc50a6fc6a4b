"""Files that appear under their name when they are whole: written beside it and renamed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write to: it takes that name when the block succeeds, else it is gone.

    What a killed process leaves is hidden (`.NAME.partial`), is never uploaded (`inters_jax.paths`), and is
    overwritten by the next one. Missing folders are made.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "new" / "a.txt"
    >>> with replacing(target) as partial:
    ...     _ = partial.write_text("x")
    ...     target.exists()
    False
    >>> [path.name for path in target.parent.iterdir()]
    ['a.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file (UTF-8), whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes a file, whole or not at all."""
    with replacing(path) as partial:
        partial.write_bytes(content)
