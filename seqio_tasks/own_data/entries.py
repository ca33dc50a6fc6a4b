"""Values of a YAML mapping by key and kind; whatever is wrong is refused with file, line and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seqio_tasks.base import DataError, MissingData, nearest
from seqio_tasks.yaml_files import Located

_KINDS = {str: "text", bool: "true or false", dict: "a mapping", list: "a list"}


class Entry:
    """One mapping of a file.

    Args:
      path: the file.
      value: the mapping.
      title: what it is, for messages: "dataset clicks".
    """

    def __init__(self, path: Path, value: Any, title: str, line: int | None = None) -> None:
        self.path, self.title = path, title
        self.line = line
        if not isinstance(value, Located):
            raise self.error(None, f"{title} is {_shown(value)}", "write a mapping: key: value")
        self.value = value
        self.line = value.line if line is None else line

    def __contains__(self, key: str) -> bool:
        return self.value.get(key) is not None

    def error(self, key: str | None, what: str, todo: str | None = None) -> DataError:
        """The error about a key, or about the whole entry."""
        line = self.line if key is None else self.value.lines.get(key, self.line)
        return DataError(what, path=self.path, line=line, todo=todo)

    def missing(self, key: str, what: str, todo: str) -> MissingData:
        """The error about data that is not there."""
        return MissingData(what, path=self.path, line=self.value.lines.get(key, self.line), todo=todo)

    def check_keys(self, known: Sequence[str]) -> None:
        """Refuse a key that is not known."""
        for key in self.value:
            if key not in known:
                what = f"{self.title} has no key {key!r}{nearest(str(key), known)}"
                raise self.error(key, what, f"known are {', '.join(known)}")

    def _of_kind(self, key: str, kind: type) -> Any:
        value = self.value.get(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            todo = f"write {_KINDS[kind]}"
            if kind is str and isinstance(value, bool | int | float):
                todo += f" (YAML reads a {'truth value' if isinstance(value, bool) else 'number'}: quote it)"
            raise self.error(key, f"{self.title}: {key} is {_shown(value)}", todo)
        return value

    def text(self, key: str, default: str = "") -> str:
        """A text that is not empty."""
        value = self._of_kind(key, str)
        if value is not None and not value.strip():
            raise self.error(key, f"{self.title}: {key} is empty", "write a text, or leave the key out")
        return default if value is None else value.strip()

    def flag(self, key: str) -> bool:
        """true or false; false if it is not there."""
        return bool(self._of_kind(key, bool))

    def mapping(self, key: str) -> Entry | None:
        """A mapping inside."""
        value = self._of_kind(key, dict)
        if value is None:
            return None
        return Entry(self.path, value, f"{self.title}: {key}", self.value.lines.get(key, self.line))

    def texts(self, key: str) -> tuple[str, ...]:
        """A text, or a list of different texts."""
        value = self.value.get(key)
        if value is None:
            return ()
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not values:
            raise self.error(
                key, f"{self.title}: {key} is {_shown(value)}", "write a text or a list of texts"
            )
        for one in values:
            if not isinstance(one, str) or not one.strip():
                quoted = ": YAML reads it as a truth value or a number" if isinstance(one, bool | int) else ""
                what = f"{self.title}: {key} has {_shown(one)}"
                raise self.error(key, what, f"write texts, in quotes if need be{quoted}")
        if len(set(values)) < len(values):
            twice = next(one for one in values if values.count(one) > 1)
            raise self.error(key, f"{self.title}: {key} has {twice!r} twice", "keep one of the two")
        return tuple(one.strip() for one in values)

    def one_of(self, key: str, known: Iterable[str], default: str = "") -> str:
        """A text that is one of those known."""
        value, known = self.text(key, default), tuple(known)
        if value and value not in known:
            what = f"{self.title}: {key} {value!r} is unknown{nearest(value, known)}"
            raise self.error(key, what, f"use one of {', '.join(known)}")
        return value

    def some_of(self, key: str, known: Iterable[str], what: str) -> tuple[str, ...]:
        """Texts that are among those known; `what` names the latter."""
        known = tuple(known)
        for one in self.texts(key):
            if one not in known:
                message = f"{self.title}: {key} names {one!r}, which is not among {what}{nearest(one, known)}"
                raise self.error(key, message, f"use some of {', '.join(known) or 'none'}")
        return self.texts(key)

    def file(self, text: str) -> Path:
        """A path as the file means it: from the folder that it is in."""
        return self.path.parent / Path(text).expanduser()

    def files(self, key: str) -> tuple[Path, ...]:
        """One path, or several."""
        return tuple(map(self.file, self.texts(key)))

    def names(self, key: str) -> Mapping[str, str]:
        """Our names of fields -> those of the file: a mapping, or a list of names that are the same."""
        value = self.value.get(key)
        if isinstance(value, list | str):
            return {name: name for name in self.texts(key)}
        found = self.mapping(key)
        return {} if found is None else {str(name): found.text(name) or str(name) for name in found.value}


def _shown(value: Any) -> str:
    """A value in a message.

    >>> _shown(True), _shown("a"), _shown([1]), _shown(None)
    ('the truth value true', "'a'", 'a list', 'empty')
    """
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if value is None:
        return "empty"
    return (
        _KINDS[type(value)]
        if type(value) in (list, dict, Located) and type(value) in _KINDS
        else f"{value!r:.60}"
    )
