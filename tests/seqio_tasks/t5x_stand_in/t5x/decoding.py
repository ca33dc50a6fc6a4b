"""Sampling."""

from __future__ import annotations


def temperature_sample(temperature: float = 1.0, topk: int = 1) -> tuple[float, int]:
    return temperature, topk
