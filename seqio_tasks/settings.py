"""Settings that the registered tasks read when they are *used*.

Registering a task opens no file and loads no tokenizer; when a task is first read, it asks `current()` where
the raw files are, which tokenizer to use and how long a sequence may be. Without any configuration, the
packaged sample collection and its small tokenizer are used, so every task works right after installation.

Environment variables (read once, at the first `current()`): INTERS_RAW_DIR, INTERS_TOKENIZER,
INTERS_CACHE_DIR, INTERS_TEMPLATES, INTERS_DATASETS and INTERS_TEACHER (paths, separated as in PATH),
INTERS_MAX_LENGTH, INTERS_MAX_SHOTS, INTERS_MAX_CUT, INTERS_SEED, INTERS_CHAT_TEMPLATE, INTERS_GROUP_SIZE.

>>> with override(max_length=256):
...     current().max_length
256
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seqio_tasks.base import UserError, nearest

_SAMPLE = Path(__file__).resolve().parent / "sample"
_INTEGERS = ("max_length", "max_shots", "seed", "group_size")
_PATHS = ("templates", "datasets", "teacher")
# The smallest accepted values: 32 tokens are fewer than any task description needs.
_MINIMUM = {"max_length": 32, "max_shots": 0, "group_size": 2}


def _default_cache_dir() -> str:
    base = os.environ.get("XDG_CACHE_HOME")
    return str((Path(base) if base else Path.home() / ".cache") / "inters-jax")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Where the data is and what prompts look like; paths are plain strings, so settings pickle anywhere."""

    raw_dir: str = str(_SAMPLE)
    tokenizer: str = str(_SAMPLE / "tokenizer")
    max_length: int = 2048  # tokens of BOS + prompt + answer + EOS
    max_shots: int = 5  # training prompts carry 0..max_shots demonstrations
    max_cut: float = 0.25  # the largest share of its documents that a training example may lose
    seed: int = 0
    separator: str = "\n"  # the last characters of every prompt, before the answer
    cache_dir: str = dataclasses.field(default_factory=_default_cache_dir)
    chat_template: str = "none"  # "none": plain text, as in the paper; "tokenizer", or a file (see `chat`)
    templates: tuple[str, ...] = ()  # own template files or folders; they replace the packaged templates
    datasets: tuple[str, ...] = ()  # files that declare data of one's own (`own_data`)
    group_size: int = 4  # documents of a query that are asked about together (`document_groups`)
    teacher: tuple[str, ...] = ()  # scores of these documents by another ranker (`teachers`)

    def __post_init__(self) -> None:
        object.__setattr__(self, "chat_template", str(self.chat_template or "none"))
        for name in _PATHS:
            given = getattr(self, name)
            paths = (given,) if isinstance(given, str | Path) else given
            object.__setattr__(self, name, tuple(str(path) for path in paths))  # the class is frozen
        for name in _INTEGERS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise UserError(f"settings.{name} must be a whole number, got {value!r}")
            if value < _MINIMUM.get(name, value):
                raise UserError(f"settings.{name} must be at least {_MINIMUM[name]}, got {value}")
        if not 0 <= self.max_cut <= 1:
            raise UserError(f"settings.max_cut must be a share from 0 to 1, got {self.max_cut}")
        if not self.separator:
            raise UserError("settings.separator must not be empty: it marks where the answer begins")


def from_environment() -> Settings:
    """Settings from the INTERS_* environment variables; those not set keep their defaults."""
    changes: dict[str, Any] = {}
    for name in ("raw_dir", "tokenizer", "cache_dir", "chat_template", *_PATHS, "max_cut", *_INTEGERS):
        variable = f"INTERS_{name.upper()}"
        text = os.environ.get(variable, "").strip()
        if not text:
            continue
        if name in _INTEGERS or name == "max_cut":
            try:
                changes[name] = float(text) if name == "max_cut" else int(text)
            except ValueError:
                what = "a number" if name == "max_cut" else "a whole number"
                raise UserError(f"{variable}={text!r} is not {what}") from None
        elif name in _PATHS:
            changes[name] = tuple(path for path in text.split(os.pathsep) if path)
        else:
            changes[name] = text
    return Settings(**changes)


def resolve(name: str, given: Any = None) -> Any:
    """One setting as a command takes it: as given, else from its environment variable, else the default.

    >>> resolve("chat_template", "tokenizer")
    'tokenizer'
    """
    return given or getattr(from_environment(), name)


_lock = threading.RLock()
_settings: Settings | None = None


def current() -> Settings:
    """The current settings of the process."""
    global _settings
    with _lock:
        if _settings is None:
            _settings = from_environment()
        return _settings


def configure(**changes: Any) -> Settings:
    """Change settings for the rest of the process and return them; `datasets` are registered at once.

    Raises:
      TypeError: there is no such setting.
      UserError: a value that is wrong, or a file of `datasets`.
    """
    global _settings
    known = [field.name for field in dataclasses.fields(Settings)]
    for name in changes:
        if name not in known:
            raise TypeError(
                f"unknown setting {name!r} (known: {', '.join(known)}){nearest(name, known, most=1)}"
            )
    changes = {name: str(v) if isinstance(v, Path) else v for name, v in changes.items()}
    with _lock:
        changed = dataclasses.replace(current(), **changes)
        if changes.get("datasets"):
            importlib.import_module("seqio_tasks.own_data").register(
                changed.datasets
            )  # it imports this module
        _settings = changed
        return changed


@contextlib.contextmanager
def override(**changes: Any) -> Iterator[Settings]:
    """Change settings inside a `with` block only."""
    global _settings
    before = current()
    try:
        yield configure(**changes)
    finally:
        with _lock:
            _settings = before
