"""The one exception of the data side: it says where, what, and what to do."""

from __future__ import annotations

from pathlib import Path


class DataError(ValueError):
    """A data file that cannot be used as it is.

    The message always reads ``file:line: what; what to do`` (parts that are unknown are left out):

    >>> print(DataError("3 columns, expected 5", path="orcas.tsv", line=7, todo="download the file again"))
    orcas.tsv:7: 3 columns, expected 5; download the file again
    """

    def __init__(
        self,
        what: str,
        *,
        path: str | Path | None = None,
        line: int | None = None,
        todo: str | None = None,
    ) -> None:
        self.what = what
        self.path = None if path is None else Path(path)
        self.line = line
        self.todo = todo
        where = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        super().__init__(f"{where}{what}" + (f"; {todo}" if todo else ""))


class MissingData(DataError):
    """An official file is not there (as opposed to being there and broken)."""
