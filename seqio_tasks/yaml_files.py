"""Reads YAML files; whatever is wrong with one is an error of one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from seqio_tasks.base import UserError, read_text


def read_yaml(path: Path, error: type[UserError]) -> Any:
    """The value of a YAML file.

    Raises:
      error: the file is not YAML in UTF-8; the message has its line.
    """
    text = read_text(path, error)
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        raise error(f"{where}: not valid YAML ({wrong.problem or wrong.context})") from wrong
    except (yaml.YAMLError, RecursionError, ValueError) as wrong:  # control characters, deep nesting
        raise error(f"{path}: not valid YAML ({str(wrong).splitlines()[0]})") from wrong
