"""Checks that the fields of a dataclass hold what their annotations say: gin binds any value to them."""

from __future__ import annotations

import dataclasses
from typing import Any

from seqio_tasks.base import UserError

# By the text of the annotation; fields of other types are left to their class.
_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "str": (str,),
    "str | None": (str, type(None)),
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (int, float),
    "float | None": (int, float, type(None)),
}
_NAMES = {"bool": "True or False", "str": "text", "int": "a whole number", "float": "a number"}


def check_field_types(instance: Any, error: type[UserError] = UserError) -> None:
    """Refuse values of another type than the annotation's.

    Args:
      instance: a dataclass whose annotations are texts.
      error: raised with the field and its value.
    """
    for field in dataclasses.fields(instance):
        kinds, value = _TYPES.get(str(field.type)), getattr(instance, field.name)
        if kinds is None:
            continue
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            kind, _, optional = str(field.type).partition(" | ")
            expected = _NAMES[kind] + (" or None" if optional else "")
            raise error(f"{type(instance).__name__}.{field.name} is {value!r:.80}, expected {expected}")
