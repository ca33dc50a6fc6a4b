"""Checkpoints of a run: written by Orbax in the background, complete or invisible, and tied to model and
data.

    <model_dir>/checkpoints/<step>/
        params/      parameters, float32
        opt_state/   moments and counters of the optimiser
        run/         a small JSON: model, store, seed, batch shape, step, metrics

A checkpoint is written beside its place and renamed at the end. What a killed process leaves behind is
reported and skipped; a checkpoint that cannot be read is moved to ``<model_dir>/damaged_checkpoints`` and
the one before it is used. `inters_jax.training.retention` says which checkpoints stay.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils

from inters_jax import paths
from inters_jax.training import faults
from inters_jax.training.metrics import jsonable
from inters_jax.training.retention import Best, Keep
from inters_jax.training.step import Parameters, TrainState, path_name
from seqio_tasks.base import UserError

FOLDER = "checkpoints"
DAMAGED_FOLDER = "damaged_checkpoints"
COMMITTED = "commit_success.txt"  # Orbax writes it last where it cannot rename

# What must be the same for a checkpoint to be continued, and what to say when it is not.
MUST_AGREE: Mapping[str, str] = {
    "model": "it holds another model (MODEL)",
    "store": "it was trained on another token store (STORE_DIR, TOKENIZER, templates or data)",
    "seed": "its data order has another SEED",
    "batch_rows": "its steps have another BATCH_SIZE",
    "max_length": "its rows have another MAX_LENGTH",
    "optimizer_kind": "its moments are of another optimiser (OPTIMIZER)",
    "base": "its adapter was trained on another base (MODEL, or the weights in it have changed)",
    "lora": "its adapter has other settings (LORA)",
}

log = logging.getLogger(__name__)


class CheckpointError(UserError):
    """A checkpoint that is missing, damaged, or belongs to another run: says which and what to do."""


def config_hash(config: Mapping[str, Any]) -> str:
    """A short name for a model configuration, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:16]


def checkpoint_steps(model_dir: str | Path) -> list[int]:
    """The steps of the finished checkpoints of a run, ascending.

    Only whole numbers are finished checkpoints: Orbax gives its temporary folders longer names. In an object
    store, where nothing can be renamed, a finished checkpoint holds a file that says so.
    """
    folder = paths.origin(Path(model_dir) / FOLDER)
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.name.isdigit()]
    if paths.is_url(folder):
        found = [path for path in found if (path / COMMITTED).exists()]
    return sorted(int(path.name) for path in found)


def run_record(model_dir: str | Path, step: int) -> dict[str, Any]:
    """The JSON of a checkpoint: model, store, seed, batch shape, step."""
    file = paths.origin(Path(model_dir) / FOLDER / str(step) / "run" / "metadata")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{file}: unreadable ({error}); the checkpoint is incomplete") from error


def best_step(model_dir: str | Path) -> int:
    """The step of the best checkpoint by the KEEP_BEST of the run."""
    records = [run_record(model_dir, step) for step in checkpoint_steps(model_dir)]
    rule = records[-1].get("keep_best") if records else None
    if rule is None:
        raise CheckpointError(f"{model_dir}: STEP='best' needs a run with KEEP_BEST; name a step instead")
    metrics = {record["step"]: record.get("metrics", {}) for record in records}
    found = Keep(best=Best.parse(rule), metrics_of=metrics.__getitem__).best_of(sorted(metrics))
    if found is None:
        raise CheckpointError(f"{model_dir}: no checkpoint has the metric of KEEP_BEST={rule!r}")
    return found[0]


class Checkpoints:
    """Saves and restores the state of one run.

    Args:
        model_dir: run folder.
        identity: what the state belongs to; the keys of `MUST_AGREE` and anything else worth recording.
        keep: how many of the newest checkpoints stay.
        keep_first: whether step 0 stays as well, which a random start cannot get back from anywhere else.
        keep_every: checkpoints of multiples of this many steps stay for good.
        keep_best: ``min:METRIC`` or ``max:METRIC``: the best by a metric that was given to `save` stays.
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
        self.folder = paths.origin(self.model_dir / FOLDER)  # where Orbax writes
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
            if not path.name.isdigit() and path.is_dir():
                log.warning("skipping the half-written checkpoint %s: its run was stopped while saving", path)

    def save(self, state: TrainState, *, metrics: Mapping[str, Any] | None = None, wait: bool = False) -> int:
        """Save the state under its own step; returns the step.

        The arrays are copied before this returns, so the next step may overwrite them; writing goes on
        behind.

        Args:
            state: what to save.
            metrics: figures of this state, for `keep_best` and the record; the same on all hosts.
            wait: whether to return only when the checkpoint is on disk.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return step
        self._metrics[step] = jsonable(dict(metrics or {}))
        record = self.identity | {"step": step} | ({"metrics": self._metrics[step]} if metrics else {})
        with self._writing():
            saved = self._manager.save(
                step,
                args=ocp.args.Composite(
                    params=ocp.args.StandardSave(_owned(state.params)),
                    opt_state=ocp.args.StandardSave(_owned(_as_dict(state.opt_state))),
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
        """The metrics saved with a checkpoint; none when there are none."""
        if step not in self._metrics:
            try:
                self._metrics[step] = run_record(self.model_dir, step).get("metrics", {})
            except CheckpointError:  # restore() says so where it matters
                self._metrics[step] = {}
        return self._metrics[step]

    def best(self) -> tuple[int, float] | None:
        """(step, metric) of the best checkpoint by `keep_best`; None without one."""
        return self.keep.best_of(checkpoint_steps(self.model_dir))

    def check(self) -> None:
        """Raise what went wrong while writing behind, if anything did."""
        with self._writing():
            self._manager.check_for_errors()

    def wait(self) -> None:
        """Return when everything saved is on disk under its final name."""
        with self._writing():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Finish writing and release the threads."""
        try:
            self._manager.close()
        except Exception as error:
            if not self._failed:  # else it has been raised before
                raise self._explained(error) from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._failed = True
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> Exception:
        if faults.is_disk_full(error):
            return faults.disk_full("a checkpoint", self.folder)
        reason = str(error).strip() or type(error).__name__
        return CheckpointError(
            f"{self.folder}: a checkpoint could not be written: {reason[:500]}. The ones before it are "
            "whole: the same command continues from the newest"
        )

    def restore(self, like: TrainState) -> TrainState | None:
        """The newest readable state, or None when the run has none.

        Args:
            like: a state of `jax.ShapeDtypeStruct` with shardings: the restored arrays get exactly these.

        Raises:
            CheckpointError: the newest checkpoint belongs to another model, store, seed or batch shape.
        """
        for step in reversed(checkpoint_steps(self.model_dir)):
            try:
                record = run_record(self.model_dir, step)
                self._check(step, record)
                state = self._read(step, like)
            except _OtherRun:
                raise
            except Exception as error:  # whatever a damaged file makes the readers raise
                self._set_aside(step, error)
                continue
            for name, value in self.identity.items():
                if name in record and record[name] != value:
                    log.warning("%s was %s at the checkpoint and is %s now", name, record[name], value)
            return state
        return None

    def _check(self, step: int, record: Mapping[str, Any]) -> None:
        for name, meaning in MUST_AGREE.items():
            if record.get(name) != self.identity.get(name):
                raise _OtherRun(
                    f"checkpoint {step} in {self.folder} cannot be continued: {meaning}: {name} is "
                    f"{record.get(name)!r} there and {self.identity.get(name)!r} here. "
                    "Set it back, or start a new run with another MODEL_DIR"
                )

    def _read(self, step: int, like: TrainState) -> TrainState:
        opt_like = _as_dict(like.opt_state)
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardRestore(like.params), opt_state=ocp.args.StandardRestore(opt_like)
            ),
        )
        leaves = jax.tree.leaves(restored["opt_state"])
        # A dict flattens in the order of its keys, which _as_dict made the order of the leaves.
        opt_state = jax.tree.unflatten(jax.tree.structure(like.opt_state), leaves)
        number = jax.device_put(np.asarray(step, np.int32), like.step.sharding)
        return TrainState(number, restored["params"], opt_state)

    def _set_aside(self, step: int, error: Exception) -> None:
        source = self.folder / str(step)
        target = paths.origin(self.model_dir / DAMAGED_FOLDER / str(step))
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        log.warning("skipping the damaged checkpoint %s (%s); moved to %s", source, reason[:300], target)
        if jax.process_index() == 0:
            target.parent.mkdir(exist_ok=True)
            while target.exists():
                target = target.with_name(target.name + "_")
            source.rename(target)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"set aside checkpoint {step}")
        self._manager.reload()


class _OtherRun(CheckpointError):
    """The checkpoint is sound but belongs to another run; older ones do too."""


def _owned(tree: Any) -> Any:
    """On the CPU Orbax would read the live buffers while the next step overwrites them; copy these."""
    if jax.default_backend() != "cpu":
        return tree
    return jax.tree.map(lambda leaf: jax.numpy.array(leaf, copy=True), tree)


def _as_dict(tree: Any) -> dict[str, Any]:
    """Leaves of any tree under names that sort in the order of the leaves: ``00003:1.0.mu.layers.query``."""
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {
        f"{number:05d}:{path_name(path).replace('/', '.')}": leaf for number, (path, leaf) in enumerate(flat)
    }


def restore_params(model_dir: str | Path, step: int | None, abstract_params: Any) -> Any:
    """The parameters of a run, without its optimiser.

    Args:
        model_dir: run folder.
        step: which checkpoint; None for the newest.
        abstract_params: nested dict or `nnx.State` of shapes and dtypes; arrays are cast to these dtypes and
            placed by their shardings (the first device when they have none).

    Returns:
        A tree of the same structure with arrays.
    """
    steps = checkpoint_steps(model_dir)
    if not steps or (step is not None and step not in steps):
        what = "no finished checkpoint" if step is None else f"no checkpoint of step {step}"
        found = f"; found {', '.join(map(str, steps))}" if steps else ""
        raise CheckpointError(f"{paths.origin(Path(model_dir) / FOLDER)}: {what}{found}")
    step = steps[-1] if step is None else step
    flat, structure = jax.tree_util.tree_flatten_with_path(abstract_params)
    names = [_parameter_path(path) for path, _ in flat]
    default = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    target: Parameters = {}
    for name, (_, leaf) in zip(names, flat, strict=True):
        sharding = getattr(leaf, "sharding", None) or default
        _put(target, name, jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding))
    folder = paths.origin((Path(model_dir) / FOLDER / str(step) / "params").absolute())
    try:
        stored = _shapes(ocp.StandardCheckpointHandler().metadata(epath.Path(folder)).tree)
        _compare(folder, stored, _shapes(target))
        with ocp.StandardCheckpointer() as checkpointer:
            restored = checkpointer.restore(folder, target)
    except CheckpointError:
        raise
    except Exception as error:  # whatever a damaged file makes the readers raise
        raise CheckpointError(f"{folder}: damaged, it cannot be read ({error})") from error
    return jax.tree.unflatten(structure, [_get(restored, name) for name in names])


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter by its name."""
    flat = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: hasattr(node, "shape"))[0]
    return {path_name(path): tuple(leaf.shape) for path, leaf in flat}


def _compare(
    folder: Path, stored: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]
) -> None:
    differences = [
        f"{name} is {stored.get(name, 'missing')} there, {wanted.get(name, 'unknown')} here"
        for name in sorted({*stored, *wanted})
        if stored.get(name) != wanted.get(name)
    ]
    if differences:
        raise CheckpointError(
            f"{folder}: holds the parameters of another model: {'; '.join(differences[:5])}"
            + (f"; and {len(differences) - 5} more" if len(differences) > 5 else "")
        )


def _parameter_path(path: tuple[Any, ...]) -> tuple[str, ...]:
    """Keys from the root to a parameter; the leaf of an nnx.State ends in an attribute `value`."""
    if isinstance(path[-1], jax.tree_util.GetAttrKey):
        path = path[:-1]
    return tuple(path_name((key,)) for key in path)


def _put(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value


def _get(tree: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree
