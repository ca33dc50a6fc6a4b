"""Read the folder of a training run: whether it is one, its checkpoints, and their parameters.

    <run>/
      model/                config.json, tokenizer, prompts; of a LoRA run also lora.json
      checkpoints/<step>/
        params/             parameters, float32
        opt_state/          moments and counters of the optimiser
        run/                JSON: model, store, seed, batch shape, step, metrics, checksums of the arrays

`inters_jax.training.checkpoints` writes checkpoints and resumes from them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict

from inters_jax import paths
from inters_jax.checksums import Checksums, differences, readable_type
from inters_jax.trees import TreePath, by_path
from seqio_tasks.base import UserError, nearest, parse_json

MODEL = "model"
CHECKPOINTS = "checkpoints"
COMMITTED = "commit_success.txt"  # Orbax writes it last where folders cannot be renamed


log = logging.getLogger(__name__)

EVALUATION_PREFIX = "eval/"  # of the metrics of evaluations during a run


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, or of another run; the message says which one and what to do."""


class DamagedError(CheckpointError):
    """An array of a checkpoint is not what was saved."""


# The types as which `evaluate`, `rerank` and `export` read parameters; a checksum of each is stored.
READ_AS = ("float32", "bfloat16")

# What TensorStore says of missing, cut or overwritten files. Anything else (no memory, no permission, a
# server that does not answer) says nothing about the files.
_DAMAGE = re.compile(r"DATA_LOSS|NOT_FOUND|OUT_OF_RANGE|FAILED_PRECONDITION")
_NO_DAMAGE = re.compile(
    r"RESOURCE_EXHAUSTED|PERMISSION_DENIED|UNAVAILABLE|DEADLINE_EXCEEDED|out of memory", re.I
)


def is_damage(error: BaseException) -> bool:
    """Whether an error while a checkpoint is read, or one that caused it, means that its files are damaged.

    >>> [is_damage(error) for error in (ValueError("DATA_LOSS: Error decoding"), MemoryError(), KeyError())]
    [True, False, False]
    """
    damaged = False
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError | PermissionError) or _NO_DAMAGE.search(str(seen)):
            return False
        damaged |= isinstance(
            seen,
            DamagedError | FileNotFoundError | NotADirectoryError | json.JSONDecodeError | UnicodeDecodeError,
        ) or bool(_DAMAGE.search(str(seen)))
        seen = seen.__cause__ or seen.__context__
    return damaged


def reason_of(error: BaseException) -> str:
    """The first line of an error; of one of Orbax, which begins with pages of settings, that of its cause."""
    while error.__cause__ is not None and not isinstance(error, UserError):
        error = error.__cause__
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


def is_run(folder: str | Path) -> bool:
    """Whether a folder belongs to a training run."""
    return (Path(folder) / MODEL / "config.json").is_file()


def checkpoint_folder(run: str | Path, step: int | None = None) -> Any:
    """Where Orbax keeps the checkpoints of a run, or one of them: at its URL if the run is in a bucket."""
    folder = Path(run).absolute() / CHECKPOINTS
    return paths.origin(folder if step is None else folder / str(step))


def checkpoint_steps(run: str | Path) -> list[int]:
    """The steps of the complete checkpoints of a run, ascending.

    Only folders named by a whole number are complete: Orbax gives temporary ones longer names. In an object
    store, where nothing can be renamed, a complete checkpoint holds a marker file.
    """
    folder = checkpoint_folder(run)
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.name.isdigit()]
    if paths.is_url(folder):
        found = [path for path in found if (path / COMMITTED).exists()]
    return sorted(int(path.name) for path in found)


def run_record(run: str | Path, step: int) -> dict[str, Any]:
    """The JSON record of a checkpoint: model, store, seed, batch shape, step, metrics, checksums.

    Raises:
      CheckpointError: it cannot be read.
    """
    file = checkpoint_folder(run, step) / "run" / "metadata"
    try:
        record: dict[str, Any] = parse_json(file.read_bytes())
        if not isinstance(record, dict):
            raise json.JSONDecodeError("not a JSON object", "", 0)
        checksums = record.get("checksums", {})
        if not isinstance(checksums, dict) or not all(isinstance(one, dict) for one in checksums.values()):
            raise json.JSONDecodeError("checksums are no object of objects", "", 0)
    except (OSError, ValueError) as error:
        so = "; the checkpoint is incomplete" if is_damage(error) else ""
        raise CheckpointError(f"{file}: unreadable ({error}){so}") from error
    return record


def config_hash(config: Mapping[str, Any]) -> str:
    """16 hex digits that identify a model configuration, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:16]


def stored_shapes(folder: Any) -> dict[TreePath, tuple[int, ...]]:
    """{path: shape} of the arrays in a part of a checkpoint, such as ``checkpoints/<step>/params``."""
    metadata = ocp.StandardCheckpointHandler().metadata(epath.Path(folder)).tree
    return {path: tuple(leaf.shape) for path, leaf in flatten_dict(metadata).items()}


@dataclasses.dataclass(frozen=True)
class Best:
    """The metric that decides which checkpoint is best."""

    metric: str
    largest: bool

    @classmethod
    def parse(cls, text: str) -> Best:
        """Parse ``min:METRIC`` or ``max:METRIC``.

        >>> Best.parse("max:boolq/accuracy")
        Best(metric='boolq/accuracy', largest=True)
        """
        direction, colon, metric = text.partition(":")
        if direction not in ("min", "max") or not colon or not metric:
            raise UserError(f"KEEP_BEST={text!r} must read min:METRIC or max:METRIC, such as min:loss")
        return cls(metric, direction == "max")

    @property
    def of_evaluation(self) -> bool:
        """Whether the metric comes from evaluations during the run."""
        return self.metric.startswith(EVALUATION_PREFIX)

    def check(self, metrics: Mapping[str, Any], setting: str = "KEEP_BEST") -> None:
        """Refuse metrics that do not have this one: it would never appear.

        Raises:
          UserError: lists the metrics that there are.
        """
        value = metrics.get(self.metric)
        if isinstance(value, int | float | str):  # jsonable() writes numbers that are not finite as strings
            return
        names = [name for name, other in metrics.items() if isinstance(other, int | float)]
        raise UserError(
            f"{setting}: there is no metric {self.metric!r}{nearest(self.metric, names)}; the metrics of "
            f"this run are {', '.join(sorted(names))}"
        )

    def value(self, metrics: Mapping[str, Any]) -> float | None:
        """The metric, negated where smaller is better; None when it is missing or not finite."""
        value = metrics.get(self.metric)
        if not isinstance(value, int | float) or not math.isfinite(value):
            return None
        return float(value) if self.largest else -float(value)

    def choose(
        self, steps: Iterable[int], metrics_of: Callable[[int], Mapping[str, Any]]
    ) -> tuple[int, float] | None:
        """(step, metric) of the best checkpoint, the newest of equals; None when none has the metric.

        >>> Best.parse("min:loss").choose([0, 1], [{"loss": 2.0}, {"loss": 1.5}].__getitem__)
        (1, 1.5)
        """
        values = [(value, step) for step in steps if (value := self.value(metrics_of(step))) is not None]
        if not values:
            return None
        value, step = max(values)
        return step, value if self.largest else -value


def best_step(run: str | Path) -> int:
    """The step of the best checkpoint by the KEEP_BEST of the run.

    Raises:
      CheckpointError: the run has no KEEP_BEST, or no checkpoint has its metric.
    """
    records = [run_record(run, step) for step in checkpoint_steps(run)]
    rule = records[-1].get("keep_best") if records else None
    if rule is None:
        raise CheckpointError(f"{run}: STEP='best' needs a run with KEEP_BEST; name a step instead")
    metrics = {record["step"]: record.get("metrics", {}) for record in records}
    found = Best.parse(rule).choose(sorted(metrics), metrics.__getitem__)
    if found is None:
        raise CheckpointError(f"{run}: no checkpoint has the metric of KEEP_BEST={rule!r}")
    return found[0]


def resolve_step(run: str | Path, step: int | str | None) -> int:
    """The step of a checkpoint that exists.

    Args:
      run: run folder.
      step: a step; "best" for the best by KEEP_BEST; None for the newest.

    Raises:
      CheckpointError: there is no such checkpoint.
    """
    if isinstance(step, str):
        if step != "best":
            raise CheckpointError(f"STEP={step!r}: must be a number, 'best', or None for the newest")
        return best_step(run)
    steps = checkpoint_steps(run)
    if not steps or (step is not None and step not in steps):
        what = "no complete checkpoint" if step is None else f"no checkpoint of step {step}"
        found = f"; found {', '.join(map(str, steps))}" if steps else ""
        raise CheckpointError(f"{checkpoint_folder(run)}: {what}{found}")
    return steps[-1] if step is None else step


def restore_params(run: str | Path, step: int | None, abstract_params: Any) -> Any:
    """Restore the parameters of a run without its optimiser.

    Args:
      run: run folder.
      step: which checkpoint; None for the newest.
      abstract_params: nested dict or `nnx.State` of shapes and dtypes. Arrays are cast to these dtypes and
        placed by their shardings (on the first device where they have none).

    Returns:
      A tree of the same structure with arrays.

    Raises:
      CheckpointError: there is no such checkpoint, it is damaged, or it holds another model.
    """
    step = resolve_step(run, step)
    folder = checkpoint_folder(run, step) / "params"
    stored: Checksums = {}
    if (folder.parent / "run").exists():
        stored = run_record(run, step).get("checksums", {})
    else:
        log.warning("%s: parameters without their record; they cannot be checked for damage", folder)
    default = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    wanted = {
        path: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None) or default
        )
        for path, leaf in by_path(abstract_params).items()
    }
    try:
        _compare(folder, stored_shapes(folder), wanted)
        with ocp.StandardCheckpointer() as checkpointer:
            restored = read_checked(
                lambda tree: checkpointer.restore(folder, unflatten_dict(tree)), wanted, stored, folder
            )
    except CheckpointError:
        raise
    except Exception as error:  # a cut file makes the readers raise anything
        # One reason is raised; asyncio would log those of all other arrays after it, at the very end.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        what = "damaged, it cannot be read" if is_damage(error) else "cannot be read"
        raise CheckpointError(f"{folder}: {what} ({reason_of(error)})") from error
    return jax.tree.unflatten(jax.tree.structure(abstract_params), [restored[path] for path in wanted])


def array_name(part: str, path: TreePath) -> str:
    """The name under which the checksum of an array is recorded, such as ``params/layers/query``."""
    return "/".join((part, *path))


def read_checked(
    read: Callable[[dict[TreePath, Any]], Any], wanted: Mapping[TreePath, Any], stored: Checksums, folder: Any
) -> dict[TreePath, jax.Array]:
    """Read the arrays of a part of a checkpoint and compare them with their checksums.

    Args:
      read: returns nested arrays for shapes by path.
      wanted: `jax.ShapeDtypeStruct` by path; an array without a checksum of its type is read in the stored
        type and cast after it was checked.
      stored: checksums by ``part/path``; empty in checkpoints of older versions, which are not checked.
      folder: of the part, for the error.

    Raises:
      DamagedError: names the arrays that have changed since they were saved.
    """
    names = {path: array_name(folder.name, path) for path in wanted}
    found = flatten_dict(
        read(
            {
                path: jax.ShapeDtypeStruct(
                    leaf.shape, readable_type(leaf.dtype, stored.get(names[path], {})), sharding=leaf.sharding
                )
                for path, leaf in wanted.items()
            }
        )
    )
    changed = differences({names[path]: leaf for path, leaf in found.items()}, stored)
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise DamagedError(
            f"{folder}: damaged: the checksum of {', '.join(changed[:3])}{more} is not the one that was saved"
        )
    return {path: found[path].astype(leaf.dtype) for path, leaf in wanted.items()}


def _compare(folder: Any, stored: Mapping[TreePath, tuple[int, ...]], wanted: Mapping[TreePath, Any]) -> None:
    """Refuse parameters of other names or shapes."""
    differences = shape_differences(stored, {path: tuple(leaf.shape) for path, leaf in wanted.items()})
    if differences:
        raise CheckpointError(f"{folder}: holds the parameters of another model: {differences}")


def shape_differences(
    stored: Mapping[TreePath, tuple[int, ...]], wanted: Mapping[TreePath, tuple[int, ...]]
) -> str:
    """How two trees of shapes differ, in a few words; "" if they agree."""
    there, here = ({"/".join(path): shape for path, shape in tree.items()} for tree in (stored, wanted))
    found = [
        f"{name} is {there.get(name, 'missing')} there, {here.get(name, 'unknown')} here"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]
    return "; ".join(found[:5]) + (f"; and {len(found) - 5} more" if len(found) > 5 else "")
