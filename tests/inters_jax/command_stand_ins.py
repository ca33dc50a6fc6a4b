"""Commands of this project called from Python with settings by their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inters_jax import export as export_command
from inters_jax import inspect_data as inspect_command
from inters_jax import prepare as prepare_command
from inters_jax.config import call
from inters_jax.data.token_store import TokenStore


def prepare(name: str, store_dir: str, **values: Any) -> TokenStore:
    return call(prepare_command.prepare, mixture_or_task_name=name, store_dir=store_dir, **values)


def export(model_dir: str, output_dir: str, **values: Any) -> Path:
    return call(export_command.export, model_dir=model_dir, output_dir=output_dir, **values)


def inspect_data(store_dir: str, output: str, **values: Any) -> Path:
    return call(inspect_command.inspect_data, store_dir=store_dir, output=output, **values)
