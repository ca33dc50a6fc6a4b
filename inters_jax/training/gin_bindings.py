"""What gin calls or is asked by name until `train` and `plan` take their settings as groups."""

from __future__ import annotations

import contextlib
from typing import Any

import gin

from inters_jax import hosts
from inters_jax.config import gin_arguments, parse_arguments
from inters_jax.training.optimizer import OptimizerSettings

gin.external_configurable(OptimizerSettings, module="inters_jax")
join_hosts = gin.external_configurable(hosts.join_hosts, module="inters_jax")


def prepare_values() -> dict[str, Any]:
    """The values in force for `prepare` that no argument of `train` has: macros, and the command line's.

    A binding such as ``prepare.modules = ...`` in a gin file is passed over by `train`; on the command line,
    ``--gin.prepare.modules=...``, it is used.
    """
    found: dict[str, Any] = {}
    for name in ("MAX_SHOTS", "SPLIT"):
        with contextlib.suppress(ValueError):  # not set
            found[name] = gin.query_parameter(name)
    for override in parse_arguments(gin_arguments()).overrides:
        name, _, text = override.partition(" = ")
        if name.startswith("prepare."):
            found[name] = gin.parse_value(text)
    return found
