"""Records to Weights & Biases: WANDB is the project. WANDB_MODE=offline keeps them in the run folder."""

from __future__ import annotations

import importlib
import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inters_jax.training.metrics import flat_scalars
from seqio_tasks.base import UserError

RUN_ID = "wandb_run_id"

log = logging.getLogger(__name__)


class WandB:
    """One W&B run per run folder, also after the run is resumed.

    Args:
        project: name of the project.
        folder: run folder; a small file in it keeps the id of the W&B run.
        settings: recorded as the config of the W&B run.
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
        self._run: Any = None
        try:
            self._run = wandb.init(
                project=project,
                name=folder.name,
                id=file.read_text(encoding="utf-8").strip(),
                resume="allow",
                dir=str(folder),
                config=dict(settings),
            )
        except Exception as error:  # no network, no account: the run goes on without
            log.warning("no records for W&B in this run: %s", error)

    def write(self, step: int, record: Mapping[str, Any]) -> None:
        """Log a record; nested names are joined by slashes."""
        if self._run is not None:
            self._run.log(dict(flat_scalars(record)), step=step)

    def close(self) -> None:
        """Finish the W&B run."""
        if self._run is not None:
            self._run.finish()
