"""The settings of a plan: model, mesh, batch, and how the step is computed."""

from __future__ import annotations

import dataclasses
from math import prod
from typing import Any

import jax.numpy as jnp

from inters_jax import mesh as meshes
from inters_jax.models.attention_backends import Attention
from inters_jax.models.config import DecoderConfig
from inters_jax.models.lora.layers import LoRA
from inters_jax.models.splash import SplashBlocks
from inters_jax.planning.topologies import Topology
from inters_jax.settings.training import OptimizerSettings
from inters_jax.training.loss import MAX_LOGITS
from inters_jax.training.optimizer import optimizer_of


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of a run that determine its memory and time."""

    config: DecoderConfig
    mesh: str = "fsdp=-1"
    batch_size: int = 8
    max_length: int = 2048
    loss_positions: int = 512  # slots per row; packed INTERS rows of 2048 need at most about 512
    microbatches: int = 1
    dtype: str = "bfloat16"
    remat: str = "full"
    max_logits: int = MAX_LOGITS
    optimizer: OptimizerSettings = dataclasses.field(default_factory=OptimizerSettings)
    attention: str | Attention = "auto"
    lora: LoRA | None = None  # None: every parameter is trained
    rules: meshes.AxisRules = meshes.STANDARD_RULES
    splash_blocks: SplashBlocks | None = None  # None: SplashBlocks()
    compiler_options: tuple[tuple[str, str], ...] = ()  # XLA flags; train takes them from LIBTPU_INIT_ARGS

    def axes(self, topology: Topology) -> dict[str, int]:
        """The sizes of the five mesh axes on a topology."""
        return meshes.parse_mesh(self.mesh, topology.count)

    def rows(self, topology: Topology) -> int:
        """Rows that a device computes at once: the batch divided by devices and microbatches."""
        axes = self.axes(topology)
        shards = prod(axes[name] for name in meshes.ROW_AXES)
        return -(-self.batch_size // (shards * self.microbatches))

    def check(self, topology: Topology) -> None:
        """Refuse settings that train refuses.

        Raises:
          MeshError: the batch cannot be divided over devices and microbatches.
          ModelError: sequences are longer than the model can be.
        """
        self.config.check_length(self.max_length)
        axes = self.axes(topology)
        shards = prod(axes[name] for name in meshes.ROW_AXES)
        if self.batch_size % (shards * self.microbatches):
            up = -(-self.batch_size // (shards * self.microbatches)) * shards * self.microbatches
            raise meshes.MeshError(
                f"BATCH_SIZE={self.batch_size} rows cannot be divided over {shards} devices x"
                f" {self.microbatches} microbatches; use {up}, or another MESH"
            )

    @property
    def tokens(self) -> int:
        """Token positions per step."""
        return self.batch_size * self.max_length

    @property
    def moment_bytes(self) -> int:
        """Bytes of a moment's value."""
        return jnp.dtype(self.optimizer.moment_dtype).itemsize

    @property
    def moments(self) -> float:
        """Values that the optimiser keeps for each parameter."""
        return optimizer_of(self.optimizer).moments

    def changed(self, **values: Any) -> Settings:
        """A copy with other values; ``moment_dtype`` is that of the optimiser."""
        moments = values.pop("moment_dtype", None)
        if moments is not None:
            values["optimizer"] = dataclasses.replace(self.optimizer, moment_dtype=moments)
        return dataclasses.replace(self, **values)

    def line(self) -> str:
        """One line with the settings that a search varies."""
        moments = "float32" if self.moment_bytes == 4 else "bfloat16"
        trained = "" if self.lora is None else f", LoRA {self.lora.rank} on {self.lora.base_dtype}"
        flags = "".join(f", {name}={value}" for name, value in self.compiler_options)
        return (
            f"{self.mesh}, batch {self.batch_size} x {self.max_length}, microbatches {self.microbatches},"
            f" remat {self.remat}, moments {moments}{trained}{flags}"
        )
