"""How a setting is declared: once, with its default, its type, its bounds and its line of help.

    @group
    class StepSettings:
        \"""How a training step is computed.\"""

        batch_size: int = setting("packed rows per optimiser step", default=8, at_least=1)

In gin files and on the command line a setting has the name of its field in capitals: ``BATCH_SIZE = 4``,
``--gin.BATCH_SIZE=4``. Groups are frozen dataclasses whose values are checked wherever they are made, in
Python too. They are registered with gin: ``StepSettings.batch_size = 4`` works in a T5X-style pipeline.

Imports neither JAX nor TensorFlow.
"""

from __future__ import annotations

import dataclasses
import math
import os
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, dataclass_transform

import gin

from seqio_tasks.base import UserError

T = TypeVar("T")

_KINDS = {bool: "True or False", int: "a whole number", float: "a number", str: "text"}
_MANY = "texts, in brackets or separated by commas"


class SettingError(UserError):
    """A value that its setting does not accept. `name` is the setting as it is typed, such as BATCH_SIZE."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a setting accepts beside its type, and what it is.

    objects: classes that gin files may give as a value (``LORA = @LoRA()``), each with the module to import.
    default_object: the one that is used when nothing is given, as it would be written: ``@AdamW()``.
    """

    help: str
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()
    path: bool = False
    objects: Mapping[str, str] = dataclasses.field(default_factory=dict)
    default_object: str | None = None


def setting(help: str, *, default: Any = dataclasses.MISSING, **more: Any) -> Any:
    """Declare a setting.

    Args:
      help: one line for ``--help``.
      default: its value when nothing is given; a setting without one is required.
      more: the other fields of `Meaning`.
    """
    return dataclasses.field(default=default, metadata={"meaning": Meaning(help=help, **more)})


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(setting, dataclasses.field))
def group(cls: type[T]) -> type[T]:
    """Make a class a group of settings: a frozen, keyword-only, checked dataclass that gin can configure."""
    own_check = cls.__dict__.get("__post_init__")

    def check(self: Any) -> None:
        for declared in settings_of(type(self)):
            object.__setattr__(self, declared.field, declared.checked(getattr(self, declared.field)))
        if own_check is not None:
            own_check(self)

    cls.__post_init__ = check  # type: ignore[attr-defined]
    made = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    gin.register(made, module="inters_jax")
    return made


@dataclasses.dataclass(frozen=True)
class Setting:
    """One declared setting of a group.

    kinds: the types its annotation allows, without None.
    """

    group: type
    field: str
    default: Any
    kinds: tuple[Any, ...]
    optional: bool
    meaning: Meaning

    @property
    def name(self) -> str:
        """As it is typed: BATCH_SIZE."""
        return self.field.upper()

    @property
    def required(self) -> bool:
        """Whether a value has to be given."""
        return self.default is dataclasses.MISSING

    @property
    def type_text(self) -> str:
        """What it accepts, for ``--help``.

        >>> Setting(object, "jobs", 1, (int,), True, Meaning(help="", at_least=1)).type_text
        'a whole number of at least 1, or None'
        >>> weight = Meaning(help="", at_least=0, at_most=1, path=True)
        >>> Setting(object, "weight", 1, (float, str), False, weight).type_text
        'a number of at least 0 and at most 1, or a path'
        """
        meaning = self.meaning
        kinds = [_KINDS[bool]] if bool in self.kinds else []
        kinds += [_KINDS[kind] + self._bounds for kind in (int, float) if kind in self.kinds]
        if meaning.choices:
            kinds = [", ".join(map(repr, meaning.choices))]
        elif meaning.path and str in self.kinds:
            kinds.append("a path" if tuple not in self.kinds else "paths, separated by commas")
        else:
            kinds += [_MANY] if tuple in self.kinds else [_KINDS[str]] if str in self.kinds else []
            kinds += ["{'name': value}"] if dict in self.kinds else []
        kinds += [f"@{name}()" for name in meaning.objects]
        # With bounds, a comma says that they are those of the number alone.
        text = (", or " if self._bounds else " or ").join(kinds)
        return f"{text}, or None" if self.optional else text

    @property
    def _bounds(self) -> str:
        """The bounds of a number, in words."""
        meaning = self.meaning
        text = "" if meaning.at_least is None else f" of at least {meaning.at_least:g}"
        text += "" if meaning.above is None else f" above {meaning.above:g}"
        return text + ("" if meaning.at_most is None else f" and at most {meaning.at_most:g}")

    def checked(self, value: Any) -> Any:
        """The value in its declared type; otherwise `SettingError`."""
        if value is None:
            if self.optional:
                return None
            raise self._error(value)
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        value = self._of_kind(value)
        meaning = self.meaning
        if isinstance(value, int | float) and not isinstance(value, bool):
            low = meaning.at_least is not None and value < meaning.at_least
            low = low or (meaning.above is not None and value <= meaning.above)
            if low or (meaning.at_most is not None and value > meaning.at_most):
                raise self._error(value)
        if meaning.choices and isinstance(value, str) and value not in meaning.choices:
            raise self._error(value)
        if meaning.path:
            value = self._expanded(value)
        return value

    def _of_kind(self, value: Any) -> Any:
        if isinstance(value, bool):
            if bool in self.kinds:
                return value
        elif isinstance(value, int):
            if int in self.kinds:
                return value
            if float in self.kinds:
                return float(value)
        elif isinstance(value, float):
            if float in self.kinds and math.isfinite(value):
                return value
        elif isinstance(value, str):
            if str in self.kinds:
                return value
            if tuple in self.kinds:
                return tuple(part.strip() for part in value.split(",") if part.strip())
        elif isinstance(value, list | tuple):
            if tuple in self.kinds:
                return tuple(value)
        elif isinstance(value, Mapping):
            if dict in self.kinds:
                return dict(value)
        elif object in self.kinds:
            return value
        raise self._error(value)

    def _expanded(self, value: Any) -> Any:
        """`~` is the home folder, as in a shell, which does not expand it behind an equals sign."""
        if isinstance(value, str):
            if not value.strip():
                raise SettingError(self.name, f"{self.name} is empty; it must be {self.type_text}")
            return ",".join(str(Path(part).expanduser()) if part.startswith("~") else part
                            for part in value.split(","))  # fmt: skip
        return tuple(map(self._expanded, value)) if isinstance(value, tuple) else value

    def _error(self, value: Any) -> SettingError:
        hint = ""
        text_only = str in self.kinds and int not in self.kinds and float not in self.kinds
        if text_only and isinstance(value, int | float) and not isinstance(value, bool):
            hint = f"; to mean the text, quote it: --gin.{self.name}=\"'{value}'\""
        return SettingError(self.name, f"{self.name}={value!r} must be {self.type_text}{hint}")


_settings: dict[type, tuple[Setting, ...]] = {}  # reading annotations takes a millisecond per group


def settings_of(group: type) -> tuple[Setting, ...]:
    """The settings of a group, in the order of their declaration."""
    if group in _settings:
        return _settings[group]
    hints = typing.get_type_hints(group)
    found = []
    for field in dataclasses.fields(group):
        kinds = _kinds(hints[field.name])
        found.append(
            Setting(
                group=group,
                field=field.name,
                default=field.default,
                kinds=tuple(kind for kind in kinds if kind is not type(None)),
                optional=type(None) in kinds,
                meaning=field.metadata["meaning"],
            )
        )
    return _settings.setdefault(group, tuple(found))


def _kinds(hint: Any) -> Iterable[Any]:
    """The types of an annotation: ``int | None`` -> int, NoneType; containers by their own type."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return [kind for part in typing.get_args(hint) for kind in _kinds(part)]
    origin = typing.get_origin(hint) or hint
    if origin is Any:
        return [object]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return [dict]
    if origin in (tuple, list):
        return [tuple]
    return [origin]
