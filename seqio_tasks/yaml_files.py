"""Reads YAML files; whatever is wrong with one is an error of one line."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml

from seqio_tasks.base import UserError, read_text

_MAP, _MERGE = "tag:yaml.org,2002:map", "tag:yaml.org,2002:merge"


class Located(dict[Any, Any]):
    """A mapping of a YAML file. `line` is where it begins, `lines` where each of its keys is, both from 1."""

    line: int
    lines: dict[Any, int]


class _Loader(yaml.SafeLoader):
    """Makes every mapping a `Located`, and refuses a key that is there twice (PyYAML would not)."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Iterator[Located]:
    found = Located()
    found.line, found.lines = node.start_mark.line + 1, {}
    yield found
    for key_node, _ in node.value:
        if key_node.tag == _MERGE:
            continue
        key, line = loader.construct_object(key_node, deep=True), key_node.start_mark.line + 1
        if not isinstance(key, Hashable):
            continue  # refused below
        if key in found.lines:
            what = f"the key {key!r} is there twice, first in line {found.lines[key]}"
            raise yaml.constructor.ConstructorError(None, None, what, key_node.start_mark)
        found.lines[key] = line
    found.update(loader.construct_mapping(node))


_Loader.add_constructor(_MAP, _mapping)


def read_yaml(path: Path, error: type[UserError]) -> Any:
    """The value of a YAML file; its mappings are `Located`.

    Raises:
      error: the file is not YAML in UTF-8, or has a key twice; the message has the line.
    """
    text = read_text(path, error)
    try:
        return yaml.load(text, _Loader)  # a safe loader
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        raise error(f"{where}: not valid YAML ({wrong.problem or wrong.context})") from wrong
    except (yaml.YAMLError, RecursionError, ValueError) as wrong:  # control characters, deep nesting
        raise error(f"{path}: not valid YAML ({str(wrong).splitlines()[0]})") from wrong
