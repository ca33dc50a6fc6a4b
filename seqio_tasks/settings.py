"""Settings that the registered tasks read when they are *used*.

Registering a task opens no file and loads no tokenizer; the first time a task is read it asks `current()`
where the raw files are, which tokenizer to use and how long a sequence may be. Without any configuration
the packaged sample collection and its small tokenizer answer, so that every task works right after
installation.

Environment variables (read once, at the first `current()`): INTERS_RAW_DIR, INTERS_TOKENIZER,
INTERS_CACHE_DIR, INTERS_TEMPLATES (paths, separated as in PATH), INTERS_MAX_LENGTH, INTERS_MAX_SHOTS,
INTERS_SEED, INTERS_CHAT_TEMPLATE.

>>> with override(max_length=256):
...     current().max_length
256
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SAMPLE = Path(__file__).resolve().parent / "sample"
_INTEGERS = ("max_length", "max_shots", "seed")
# The smallest accepted value of each integer setting: 32 tokens is less than any task description needs.
_MINIMUM = {"max_length": 32, "max_shots": 0}


def _default_cache_dir() -> str:
    base = os.environ.get("XDG_CACHE_HOME")
    return str((Path(base) if base else Path.home() / ".cache") / "inters-jax")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Where the data is and how prompts are shaped; paths are plain strings and pickle anywhere."""

    raw_dir: str = str(_SAMPLE)
    tokenizer: str = str(_SAMPLE / "tokenizer")
    max_length: int = 2048  # tokens of BOS + prompt + answer + EOS
    max_shots: int = 5  # training prompts carry 0..max_shots demonstrations
    seed: int = 0
    separator: str = "\n"  # the last characters of every prompt, before the answer
    cache_dir: str = dataclasses.field(default_factory=_default_cache_dir)
    chat_template: str = "none"  # "none": plain text, as in the paper; "tokenizer", or a file (see `chat`)
    templates: tuple[str, ...] = ()  # own template files or folders; they replace the packaged templates

    def __post_init__(self) -> None:
        object.__setattr__(self, "chat_template", str(self.chat_template or "none"))
        given = self.templates
        paths = (given,) if isinstance(given, str | Path) else given
        object.__setattr__(self, "templates", tuple(str(path) for path in paths))  # frozen for all others
        for name in _INTEGERS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise ValueError(f"settings.{name} must be a whole number, got {value!r}")
            if value < _MINIMUM.get(name, value):
                raise ValueError(f"settings.{name} must be at least {_MINIMUM[name]}, got {value}")
        if not self.separator:
            raise ValueError("settings.separator must not be empty: it marks where the answer begins")


def from_environment() -> Settings:
    """Settings from the INTERS_* environment variables; what is not set keeps its default."""
    changes: dict[str, Any] = {}
    for name in ("raw_dir", "tokenizer", "cache_dir", "chat_template", "templates", *_INTEGERS):
        variable = f"INTERS_{name.upper()}"
        text = os.environ.get(variable, "").strip()
        if not text:
            continue
        if name in _INTEGERS:
            try:
                changes[name] = int(text)
            except ValueError:
                raise ValueError(f"{variable}={text!r} is not a whole number") from None
        elif name == "templates":
            changes[name] = tuple(path for path in text.split(os.pathsep) if path)
        else:
            changes[name] = text
    return Settings(**changes)


_lock = threading.RLock()
_settings: Settings | None = None


def current() -> Settings:
    """The settings in force."""
    global _settings
    with _lock:
        if _settings is None:
            _settings = from_environment()
        return _settings


def configure(**changes: Any) -> Settings:
    """Change settings for the rest of the process and return them; an unknown name is refused."""
    global _settings
    known = [field.name for field in dataclasses.fields(Settings)]
    for name in changes:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"unknown setting {name!r}{hint} (known: {', '.join(known)})")
    changes = {name: str(v) if isinstance(v, Path) else v for name, v in changes.items()}
    with _lock:
        _settings = dataclasses.replace(current(), **changes)
        return _settings


@contextlib.contextmanager
def override(**changes: Any) -> Iterator[Settings]:
    """Settings changed inside a `with` block only."""
    global _settings
    before = current()
    try:
        yield configure(**changes)
    finally:
        with _lock:
            _settings = before
