"""Records to Weights & Biases: WANDB names the project. WANDB_MODE=offline keeps everything in the run."""

from __future__ import annotations

import importlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inters_jax.training.metrics import flat_scalars
from seqio_tasks.base import UserError

RUN_ID = "wandb_run_id"


class WandB:
    """One run there for one run folder here, also when it is continued.

    Args:
        project: name of the project.
        folder: run folder; a small file in it keeps the id of the run.
        settings: what is recorded with the run.
    """

    def __init__(self, project: str, folder: Path, settings: Mapping[str, Any]) -> None:
        try:
            wandb = importlib.import_module("wandb")
        except ImportError as error:
            raise UserError(
                f"WANDB={project!r} needs the package wandb: pip install wandb, or set WANDB=None"
            ) from error
        file = folder / RUN_ID
        if not file.exists():
            file.write_text(secrets.token_hex(4) + "\n", encoding="utf-8")
        self._run: Any = wandb.init(
            project=project,
            name=folder.name,
            id=file.read_text(encoding="utf-8").strip(),
            resume="allow",
            dir=str(folder),
            config=dict(settings),
        )

    def write(self, step: int, record: Mapping[str, Any]) -> None:
        """One record; nested names are joined by slashes."""
        self._run.log(dict(flat_scalars(record)), step=step)

    def close(self) -> None:
        """Send what is left."""
        self._run.finish()
