"""The train step compiled ahead of time in the background, one program per number of loss positions.

The first program is compiled while the weights are loaded: neither depends on the other, and for a small
model both take about as long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from inters_jax import mesh as meshes
from inters_jax.training.hooks import Hook
from inters_jax.training.ranking_step import DOCUMENT_KEYS, FLOATS
from inters_jax.training.reader import Batches
from inters_jax.training.step import BATCH_KEYS, Batch, StepMetrics, TrainState, batch_keys

POSITIONS = "decoder_loss_positions"

# Steps between the look at a batch and its turn: time to compile a program for it in the background.
LOOK_AHEAD = 16


def abstract_batch(
    mesh: Mesh, *, rows: int, length: int, slots: int, documents: int | None = None
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and shardings of a batch of [rows, length] with `slots` loss positions a row.

    `documents` are the slots for documents of a row, in a run with a ranking loss.
    """
    sizes = dict.fromkeys(BATCH_KEYS, length) | {POSITIONS: slots}
    if documents is not None:
        sizes |= dict.fromkeys(DOCUMENT_KEYS, documents)
    return {
        name: jax.ShapeDtypeStruct(
            (rows, size),
            jnp.float32 if name in ("decoder_loss_weights", *FLOATS) else jnp.int32,
            sharding=meshes.batch_sharding(mesh, name),
        )
        for name, size in sizes.items()
    }


class CompiledStep:
    """The jitted step, called through programs compiled in advance.

    Args:
        jitted: from `make_train_step`.
        like: shapes, dtypes and shardings of the state.
        mesh: where batches are placed.
        rows: rows of the global batch.
        length: positions of a row.
        announce: called with a line of text when a compilation begins.
        frozen: shapes of the parameters that are not trained; their arrays are given to `hold`. None: all
            are trained.
        documents: slots for documents of a row; None: there is no ranking loss.
    """

    def __init__(
        self,
        jitted: Any,
        like: TrainState,
        mesh: Mesh,
        *,
        rows: int,
        length: int,
        announce: Callable[[str], None] = lambda line: None,
        frozen: Any = None,
        documents: int | None = None,
    ) -> None:
        self._jitted = jitted
        self._like = like
        self._mesh = mesh
        self._rows = rows
        self._length = length
        self._announce = announce
        self._frozen_like = frozen
        self._documents = documents
        self._frozen: tuple[Any, ...] = ()
        self._programs: dict[int, Future[Any]] = {}

    def start(self, slots: int) -> Future[Any]:
        """Begin to compile for `slots` loss positions, unless that has begun; returns at once."""
        if slots not in self._programs:
            self._announce(f"compiling the step for {slots} loss positions a row")
            future: Future[Any] = Future()
            self._programs[slots] = future

            def compile_program() -> None:
                try:
                    batch = abstract_batch(
                        self._mesh,
                        rows=self._rows,
                        length=self._length,
                        slots=slots,
                        documents=self._documents,
                    )
                    frozen = () if self._frozen_like is None else (self._frozen_like,)
                    future.set_result(self._jitted.lower(self._like, batch, *frozen).compile())
                except BaseException as error:  # handed to the caller of result()
                    future.set_exception(error)

            threading.Thread(target=compile_program, name=f"compile-{slots}", daemon=True).start()
        return self._programs[slots]

    def hold(self, frozen: Any) -> None:
        """Set the parameters that every step reads and none changes."""
        self._frozen = (frozen,)

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        """Run one step; waits for its program if that is not ready."""
        program = self.start(batch[POSITIONS].shape[1]).result()
        names = batch_keys(documents=self._documents is not None)
        return program(state, {name: batch[name] for name in names}, *self._frozen)


class CompileAhead(Hook):
    """Begins to compile the programs of coming batches in the background.

    Args:
        train_step: calls the programs.
        batches: the data.
        total_steps: length of the whole run.
    """

    def __init__(self, train_step: CompiledStep, batches: Batches, total_steps: int) -> None:
        self._train_step = train_step
        self._batches = batches
        self._total_steps = total_steps

    def compile_for(self, number: int) -> None:
        """Begin to compile for batch `number`, unless that has been begun or the run ends before."""
        if number < self._total_steps:
            self._train_step.start(self._batches.statistics(number)["loss_positions"])

    def dispatched(self, step: int) -> None:
        """Look `LOOK_AHEAD` batches ahead."""
        self.compile_for(step - 1 + LOOK_AHEAD)
