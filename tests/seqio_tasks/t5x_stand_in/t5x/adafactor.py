"""The optimiser."""

from __future__ import annotations

from typing import Any


def standard_logical_factor_rules() -> dict[str, str]:
    return {"vocab": "column"}


class Adafactor:
    def __init__(self, decay_rate: float, step_offset: int, logical_factor_rules: Any) -> None:
        self.given = dict(locals())
