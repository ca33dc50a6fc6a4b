"""Save the training state with Orbax and resume from it.

Checkpoints are written in the background, appear when they are complete, and record the model and data they
belong to (`inters_jax.run_folder` describes their layout). An incomplete checkpoint of a killed process is
logged and skipped. A checkpoint whose files are damaged is moved to ``<run>/damaged_checkpoints`` once an
older one was read in its place; any other error while reading moves nothing and ends the run.
`inters_jax.training.retention` decides which checkpoints are kept.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.experimental import multihost_utils  # a barrier across hosts has no other public name

from inters_jax import paths
from inters_jax.checksums import Checksums, checksums
from inters_jax.run_folder import (
    READ_AS,
    Best,
    CheckpointError,
    array_name,
    checkpoint_folder,
    checkpoint_steps,
    is_damage,
    read_checked,
    reason_of,
    run_record,
    shape_differences,
    stored_shapes,
)
from inters_jax.training import faults
from inters_jax.training.metrics import jsonable
from inters_jax.training.retention import Keep
from inters_jax.training.step import TrainState, path_name
from inters_jax.trees import TreePath, by_path
from seqio_tasks.expected_errors import is_disk_full

DAMAGED_FOLDER = "damaged_checkpoints"

# What must match for a run to resume from a checkpoint, and the error message when it does not.
MUST_AGREE: Mapping[str, str] = {
    "model": "it holds another model (MODEL)",
    "store": "it was trained on another token store (STORE_DIR, TOKENIZER, templates or data)",
    "seed": "it was trained with another SEED",
    "batch_rows": "it was trained with another BATCH_SIZE",
    "max_length": "it was trained with another MAX_LENGTH",
    "optimizer_kind": "its moments are of another optimiser (OPTIMIZER)",
    "start": "it started from other weights (MODEL or INIT)",
    "base": "its adapter was trained on another base (MODEL, or its weights have changed)",
    "lora": "its adapter has other settings (LORA)",
    "ranking": "it was trained with another ranking loss (LOSS, LOSS_WEIGHT)",
}

# What Orbax and `save` put into the folder of a checkpoint; one of them identifies even a damaged one.
_PARTS = ("_CHECKPOINT_METADATA", "params", "opt_state", "run")

log = logging.getLogger(__name__)


class Checkpoints:
    """Save and restore the state of one run.

    Args:
        model_dir: run folder.
        identity: what the state belongs to: the keys of `MUST_AGREE`, and anything else worth recording.
        keep: how many of the newest checkpoints to keep.
        keep_first: whether to keep step 0, which cannot be recovered after a random initialisation.
        keep_every: keep checkpoints at multiples of this many steps.
        keep_best: ``min:METRIC`` or ``max:METRIC``: keep the best by a metric passed to `save`.
    """

    def __init__(
        self,
        model_dir: str | Path,
        identity: Mapping[str, Any],
        *,
        keep: int = 2,
        keep_first: bool = False,
        keep_every: int | None = None,
        keep_best: str | None = None,
    ) -> None:
        best = Best.parse(keep_best) if keep_best else None
        self.keep = Keep(keep, keep_every, best, keep_first, self.metrics)
        self._metrics: dict[int, Mapping[str, Any]] = {}
        self._failed = False
        self.model_dir = Path(model_dir).absolute()
        self.identity = dict(identity)
        self.folder = checkpoint_folder(self.model_dir)
        self._report_unfinished()
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=self.keep,
                cleanup_tmp_directories=True,
                enable_async_checkpointing=True,
            ),
        )

    def _report_unfinished(self) -> None:
        if not self.folder.is_dir():
            return
        for path in sorted(self.folder.iterdir()):
            # Orbax takes any folder named by a number for a checkpoint, and removes the old ones.
            if path.name.isdigit() and not any((path / part).exists() for part in _PARTS):
                raise CheckpointError(
                    f"{path}: not a checkpoint, and a run would remove it as an old one; choose another "
                    "MODEL_DIR, or move it"
                )
            if not path.name.isdigit() and path.is_dir():
                log.warning("skipping the incomplete checkpoint %s: its run was stopped while saving", path)

    def save(self, state: TrainState, *, metrics: Mapping[str, Any] | None = None, wait: bool = False) -> int:
        """Save the state under its step.

        The arrays are copied before this returns, so the next step may overwrite them. Writing continues in
        the background.

        Args:
            state: what to save.
            metrics: of this state, for `keep_best` and the record; the same on all hosts.
            wait: whether to return only when the checkpoint is on disk.

        Returns:
            The step.

        Raises:
            CheckpointError: writing failed, now or in the background since the last call.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return step
        self._metrics[step] = jsonable(dict(metrics or {}))
        opt_state = _as_dict(state.opt_state)
        record = self.identity | {"step": step} | ({"metrics": self._metrics[step]} if metrics else {})
        record["checksums"] = checksums(_named("params", state.params), READ_AS) | checksums(
            _named("opt_state", opt_state)
        )
        with self._writing():
            saved = self._manager.save(
                step,
                args=ocp.args.Composite(
                    params=ocp.args.StandardSave(_owned(state.params)),
                    opt_state=ocp.args.StandardSave(_owned(opt_state)),
                    run=ocp.args.JsonSave(record),
                ),
            )
        if not saved:
            raise CheckpointError(
                f"{self.folder}: Orbax refused to save step {step}; it holds {self._manager.all_steps()}"
            )
        paths.push_soon(self.model_dir)
        if wait:
            self.wait()
        return step

    def metrics(self, step: int) -> Mapping[str, Any]:
        """The metrics saved with a checkpoint; {} without any."""
        if step not in self._metrics:
            try:
                self._metrics[step] = run_record(self.model_dir, step).get("metrics", {})
            except CheckpointError:  # reported by restore() where it matters
                self._metrics[step] = {}
        return self._metrics[step]

    def best(self) -> tuple[int, float] | None:
        """(step, metric) of the best checkpoint by `keep_best`; None if there is none."""
        return self.keep.best_of(checkpoint_steps(self.model_dir))

    def check(self) -> None:
        """Raise the error of writing in the background, if there was one."""
        with self._writing():
            self._manager.check_for_errors()

    def wait(self) -> None:
        """Wait until everything saved is on disk under its final name."""
        with self._writing():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Finish writing and release the threads."""
        try:
            self._manager.close()
        except Exception as error:
            if not self._failed:  # otherwise it has already been raised
                raise self._explained(error) from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._failed = True
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> Exception:
        # One reason is raised; asyncio would log those of all other arrays after it, at the very end.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        if is_disk_full(error):
            return faults.disk_full("a checkpoint", self.folder)
        return CheckpointError(
            f"{self.folder}: a checkpoint could not be written: {reason_of(error)}. The ones before it are "
            "complete: run the same command again to resume from the newest"
        )

    def restore(self, like: TrainState) -> TrainState | None:
        """Restore the newest readable state; None if the run has none.

        Args:
            like: a state of `jax.ShapeDtypeStruct` with shardings, which the restored arrays get.

        Raises:
            CheckpointError: the newest checkpoint is of another model, store, seed, batch shape or optimiser
                state; it cannot be read although its files may be sound; or all are damaged.
        """
        damaged: list[tuple[int, Exception]] = []
        for step in reversed(checkpoint_steps(self.model_dir)):
            try:
                record = run_record(self.model_dir, step)
                self._check(step, record)
                self._check_shapes(step, record, like)
                state = self._read(step, like, record.get("checksums", {}))
            except _OtherRun:
                raise
            except Exception as error:  # the readers raise anything
                if not is_damage(error):
                    raise CheckpointError(
                        f"{self.folder / str(step)}: cannot be read: {reason_of(error)}. Nothing says that "
                        "it is damaged, so it was left as it is; remove the cause, then run the same command "
                        "again"
                    ) from error
                damaged.append((step, error))
                continue
            for broken, reason in damaged:
                self._set_aside(broken, reason)
            for name, value in self.identity.items():
                if name in record and record[name] != value:
                    log.warning("%s was %s in the checkpoint and is %s now", name, record[name], value)
            return state
        if damaged:
            every = "; ".join(f"step {step}: {reason_of(error)}" for step, error in damaged)
            raise CheckpointError(
                f"{self.folder}: no checkpoint can be read ({every}). They were left as they are: bring one "
                "back from a copy, or start over with another MODEL_DIR"
            )
        return None

    def _check(self, step: int, record: Mapping[str, Any]) -> None:
        for name, meaning in MUST_AGREE.items():
            there, here = record.get(name), self.identity.get(name)
            if name == "start" and (there is None or here is None):
                continue  # not recorded by older versions, or the weights are gone: nothing to compare
            if there != here:
                raise _OtherRun(
                    f"cannot resume from checkpoint {step} in {self.folder}: {meaning}: {name} is "
                    f"{record.get(name)!r} there and {self.identity.get(name)!r} here. "
                    "Restore the setting, or start a new run with another MODEL_DIR"
                )

    def _check_shapes(self, step: int, record: Mapping[str, Any], like: TrainState) -> None:
        """Refuse parameters or an optimiser state of another form, and name the settings that differ."""
        folder = self.folder / str(step)
        parts = (("params", like.params), ("opt_state", _as_dict(like.opt_state)))
        for part, tree in parts:
            if not (folder / part).is_dir():
                raise FileNotFoundError(f"{folder / part} is missing")
            try:
                stored = stored_shapes(folder / part)
            except FileNotFoundError:  # the arrays can be read without their description
                continue
            wanted = {path: tuple(leaf.shape) for path, leaf in by_path(tree).items()}
            differences = shape_differences(stored, wanted)
            if not differences:
                continue
            there, here = (_settings_of(found.get("optimizer")) for found in (record, self.identity))
            changed = [
                f"{name} was {there.get(name)!r} and is {here.get(name)!r} now"
                for name in sorted({*there, *here})
                if there.get(name) != here.get(name)
            ]
            what = "parameters have" if part == "params" else "optimiser state has"
            raise _OtherRun(
                f"cannot resume from checkpoint {step} in {self.folder}: its {what} another form; "
                f"{'; '.join(changed) or differences}. Restore the setting, or start a new run with another "
                "MODEL_DIR"
            )

    def _read(self, step: int, like: TrainState, stored: Checksums) -> TrainState:
        params, opt_state = (
            read_checked(self._reader(step, part), by_path(tree), stored, self.folder / str(step) / part)
            for part, tree in (("params", like.params), ("opt_state", _as_dict(like.opt_state)))
        )
        number = jax.device_put(np.asarray(step, np.int32), like.step.sharding)
        # A dict flattens in the order of its keys, which _as_dict made the order of the leaves.
        return TrainState(
            number,
            jax.tree.unflatten(jax.tree.structure(like.params), list(params.values())),
            jax.tree.unflatten(jax.tree.structure(like.opt_state), list(opt_state.values())),
        )

    def _reader(self, step: int, part: str) -> Callable[[dict[TreePath, Any]], Any]:
        def read(tree: dict[TreePath, Any]) -> Any:
            restore = ocp.args.StandardRestore(unflatten_dict(tree))
            return self._manager.restore(step, args=ocp.args.Composite(**{part: restore}))[part]

        return read

    def _set_aside(self, step: int, error: Exception) -> None:
        source = self.folder / str(step)
        target = paths.origin(self.model_dir / DAMAGED_FOLDER / str(step))
        log.warning("skipping the damaged checkpoint %s (%s); moved to %s", source, reason_of(error), target)
        if jax.process_index() == 0:
            target.parent.mkdir(exist_ok=True)
            while target.exists():
                target = target.with_name(target.name + "_")
            source.rename(target)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"set aside checkpoint {step}")
        self._manager.reload()


class _OtherRun(CheckpointError):
    """The checkpoint is intact but belongs to another run, and so do the older ones."""


def _settings_of(optimizer: Any) -> dict[str, Any]:
    """The optimiser's settings in the record of a checkpoint, nested ones as ``optimizer.momentum``."""
    if not isinstance(optimizer, Mapping):
        return {}
    return {".".join(path): value for path, value in flatten_dict(optimizer).items()}


def _owned(tree: Any) -> Any:
    """Copy on CPU, where Orbax would read live buffers that the next step overwrites."""
    if jax.default_backend() != "cpu":
        return tree
    return jax.tree.map(lambda leaf: jax.numpy.array(leaf, copy=True), tree)


def _named(part: str, tree: Any) -> dict[str, jax.Array]:
    """The arrays of a part of a checkpoint by the names of their checksums."""
    return {array_name(part, path): leaf for path, leaf in by_path(tree).items()}


def _as_dict(tree: Any) -> dict[str, Any]:
    """The leaves of a tree under names that sort in their order: ``00003:1.0.mu.layers.query``."""
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {
        f"{number:05d}:{path_name(path).replace('/', '.')}": leaf for number, (path, leaf) in enumerate(flat)
    }
