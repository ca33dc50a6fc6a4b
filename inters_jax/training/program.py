"""The program of a run: everything between its settings and the jitted step.

`train` runs it; `plan` compiles it for devices that need not exist. Nothing here allocates an array. A new
way of training (other trainable parameters, another optimiser, another attention) is added in
`build_program`, for both commands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from inters_jax import mesh as meshes
from inters_jax.models.attention_backends import Attention, choose
from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import abstract_model, logical_axes
from inters_jax.models.lora import layers as adapters
from inters_jax.models.lora import trainable
from inters_jax.models.splash import SplashBlocks
from inters_jax.settings.training import OptimizerSettings
from inters_jax.training import loss
from inters_jax.training import step as steps
from inters_jax.training.compiling import CompiledStep, abstract_batch
from inters_jax.training.optimizer import build_optimizer
from inters_jax.training.ranking_step import Ranking
from inters_jax.training.schedule import Schedule


@dataclasses.dataclass(frozen=True)
class Program:
    """A model, its optimiser and a mesh as one jitted step, before any array exists."""

    config: DecoderConfig
    mesh: Mesh
    structure: steps.Structure
    axes: Any  # tree like the parameters, tuples of logical axis names
    transformation: Any  # the optax transformation
    schedule: Schedule
    shardings: steps.TrainState
    like: steps.TrainState  # shapes, dtypes and shardings of the state; checkpoints are restored into it
    step: Any  # the jitted step of `inters_jax.training.step.make_train_step`
    rows: int  # of the global batch
    length: int  # positions of a row
    microbatches: int
    frozen: Any = None  # shapes, dtypes and shardings of parameters that are not trained; None: all are
    ranking: Ranking | None = None  # the loss over a query's documents, beside the language-model loss

    def lower(
        self, rows: int | None = None, length: int | None = None, loss_positions: int | None = None
    ) -> jax.stages.Lowered:
        """The step for abstract inputs, ready to be compiled.

        Args:
            rows: of the global batch; None: as in the run.
            length: positions of a row; None: as in the run.
            loss_positions: slots for loss positions of a row; None: `length`, the maximum.
        """
        length = self.length if length is None else length
        batch = abstract_batch(
            self.mesh,
            rows=self.rows if rows is None else rows,
            length=length,
            slots=length if loss_positions is None else loss_positions,
            documents=self._documents,
        )
        return self.step.lower(self.like, batch, *(() if self.frozen is None else (self.frozen,)))

    def compiled_step(self, announce: Callable[[str], None] = lambda line: None) -> CompiledStep:
        """The step for the training loop: compiled in the background, once per number of loss positions."""
        return CompiledStep(
            self.step,
            self.like,
            self.mesh,
            rows=self.rows,
            length=self.length,
            announce=announce,
            frozen=self.frozen,
            documents=self._documents,
        )

    @property
    def _documents(self) -> int | None:
        return None if self.ranking is None else self.ranking.documents


def build_program(
    config: DecoderConfig,
    *,
    device_mesh: Mesh,
    optimizer: OptimizerSettings,
    total_steps: int,
    batch_size: int,
    max_length: int,
    dtype: str = "bfloat16",
    remat: str = "full",
    microbatches: int = 1,
    max_logits: int = loss.MAX_LOGITS,
    attention: str | Attention = "auto",
    lora: adapters.LoRA | None = None,
    noise_seed: int = 0,
    rules: meshes.AxisRules = meshes.STANDARD_RULES,
    splash_blocks: SplashBlocks | None = None,
    ranking: Ranking | None = None,
    **options: Any,
) -> Program:
    """The program of a run on a mesh.

    Args:
        config: shape of the decoder.
        device_mesh: of real devices, or of a topology description.
        optimizer: the optimiser and its settings.
        total_steps: optimiser steps of the whole run, for the schedule.
        batch_size: rows of the global batch.
        max_length: positions of a row.
        dtype: compute type, a name of `models.precision` except "auto"; parameters are float32.
        remat: what the backward pass recomputes: "none", "dots", "attention", "full", "offload" or
            "offload_dots" (`inters_jax.models.remat`).
        microbatches: parts into which a batch is split; the result is the same.
        max_logits: largest number of logits that may exist at once on a device.
        attention: a name of `attention_backends.BACKENDS`, or the result of `attention_backends.choose`.
        lora: train low-rank updates of a frozen base; None: train every parameter.
        noise_seed: of the dropout of `lora`.
        rules: how logical axes map to the mesh.
        splash_blocks: block sizes of the splash kernel, if `attention` is a name; None: `SplashBlocks()`.
        ranking: the loss over a query's documents, beside the language-model loss; None: there is none.
        options: further options of `Decoder`.
    """
    options |= {
        "dtype": dtype,
        "param_dtype": jnp.dtype("float32"),
        "remat": remat,
        "constrain": meshes.activation_constraint(device_mesh, rules),
        "flatten": device_mesh.shape["sequence"] == 1,
        "attention": choose(attention, mesh=device_mesh, blocks=splash_blocks)
        if isinstance(attention, str)
        else attention,
        "mesh": device_mesh,
    }
    if lora is None:
        structure = steps.Structure(*abstract_model(config, **options))
    else:
        structure = steps.Structure(*adapters.abstract_model(config, lora, **options))
    axes = steps.pure(logical_axes(structure.template))
    trained, frozen = structure.abstract(), None
    if lora is not None:
        trained, shapes = trainable.split(trained)
        axes, frozen_axes = trainable.split(axes)
        frozen = jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            shapes,
            meshes.parameter_shardings(device_mesh, frozen_axes, shapes, rules),
        )
    transformation, schedule = build_optimizer(optimizer, total_steps, axes)
    shardings = steps.state_shardings(device_mesh, axes, trained, transformation, rules)
    return Program(
        config=config,
        mesh=device_mesh,
        structure=structure,
        axes=axes,
        transformation=transformation,
        schedule=schedule,
        shardings=shardings,
        like=steps.abstract_state(trained, transformation, shardings),
        step=steps.make_train_step(
            structure,
            transformation,
            device_mesh,
            shardings,
            vocabulary=config.vocab_size,
            microbatches=microbatches,
            max_logits=max_logits,
            frozen=None if frozen is None else jax.tree.map(lambda leaf: leaf.sharding, frozen),
            noise_seed=noise_seed if lora is not None and lora.dropout > 0 else None,
            ranking=ranking,
        ),
        rows=batch_size,
        length=max_length,
        microbatches=microbatches,
        frozen=frozen,
        ranking=ranking,
    )
