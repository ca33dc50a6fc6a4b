"""The base of an adapter: where it is loaded from, whether it is still the same, and how it is stored.

A LoRA run has `model/lora.json`: its settings, the source of its base, and a fingerprint of the base's
weights. The base is streamed through the host parameter by parameter in float32, and rounded or quantised
there layer by layer before it goes to its devices, which never hold more than what is stored.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.traverse_util import unflatten_dict

from inters_jax import run_folder
from inters_jax.field_types import check_field_types
from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.decoder import abstract_model, random_parameters
from inters_jax.models.fingerprint import Fingerprint
from inters_jax.models.hf import folder
from inters_jax.models.lora import layers as lora
from inters_jax.models.lora import quantisation, trainable
from inters_jax.models.lora.peft import Factors
from inters_jax.trees import TreePath, by_path
from seqio_tasks import hub_names
from seqio_tasks.base import read_json_object

RECORD = "lora.json"  # in the `model` folder of a run

Parameter = tuple[TreePath, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Base:
    """Where the weights of a base come from."""

    # A folder, a run folder, or a hub name (with the commit if it is known); "" for random weights.
    source: str
    seed: int | None = None  # of random weights
    step: int | None = None  # of a run
    # The place of `source` as seen from the run folder, for runs that are moved together with their base.
    relative: str | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_field_types(self, ModelError)

    @property
    def name(self) -> str:
        """Its name in messages and model cards."""
        step = "" if self.step is None else f", step {self.step}"
        return f"random weights, seed {self.seed}" if self.seed is not None else f"{self.source}{step}"

    @property
    def for_libraries(self) -> tuple[str | None, str | None]:
        """The folder or hub name and the revision by which Hugging Face libraries load it, if they can."""
        if self.seed is not None or self.step is not None:
            return None, None
        return (self.source, None) if Path(self.source).is_absolute() else hub_names.split(self.source)


@dataclasses.dataclass(frozen=True)
class LoraRecord:
    """The settings and the base of a LoRA run."""

    settings: lora.LoRA
    base: Base
    fingerprint: str  # of the base

    def to_json(self) -> dict[str, Any]:
        """The content of `model/lora.json`."""
        return {
            "lora": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in dataclasses.asdict(self.settings).items()
            },
            "base": dataclasses.asdict(self.base),
            "fingerprint": self.fingerprint,
        }


def record_of(run: str | Path) -> LoraRecord | None:
    """The record of a LoRA run; None for a run that trains every parameter.

    Raises:
        ModelError: the record cannot be read.
    """
    file = Path(run) / run_folder.MODEL / RECORD
    if not file.is_file():
        return None
    content = read_json_object(file, ModelError)
    try:
        base = found_from(Base(**content["base"]), Path(run))
        return LoraRecord(lora.LoRA(**content["lora"]), base, content["fingerprint"])
    except (KeyError, TypeError, ModelError) as error:
        raise ModelError(f"{file}: not the record of a LoRA run ({error})") from error


def seen_from(base: Base, run: Path) -> Base:
    """The same base, with its place relative to a run folder."""
    if not Path(base.source).is_absolute():  # a hub name, or random weights
        return base
    return dataclasses.replace(base, relative=os.path.relpath(base.source, run.resolve()))


def found_from(base: Base, run: Path) -> Base:
    """The same base, at its relative place if it is no longer at its absolute one."""
    if base.relative is None or not _is_gone(base):
        return base
    place = Path(os.path.normpath(run.resolve() / base.relative))
    return dataclasses.replace(base, source=str(place)) if place.is_dir() else base


def _is_gone(base: Base) -> bool:
    return Path(base.source).is_absolute() and not Path(base.source).is_dir()


def _check_present(base: Base, run: str | Path) -> None:
    if _is_gone(base):
        raise ModelError(
            f"{run}: its adapter was trained on the base {base.source}, which is not there. If it was moved, "
            f"write its new place as base.source into {Path(run) / run_folder.MODEL / RECORD}, or continue "
            "the run with MODEL=<new place>; its weights are compared"
        )


def base_of(
    source: str | Path | DecoderConfig,
    *,
    random: bool = False,
    seed: int = 0,
    step: int | str | None = None,
) -> Base:
    """The base that a model source names, with its full path.

    Args:
        source: a Hugging Face folder or hub name, a run folder, or a `DecoderConfig`.
        random: whether the weights are random nevertheless.
        seed: of random weights.
        step: checkpoint of a run; None for the newest, "best" for the best.

    Raises:
        CheckpointError: the run has no such checkpoint.
    """
    if random or isinstance(source, DecoderConfig):
        return Base("", seed=seed)
    path = Path(source)
    if run_folder.is_run(path):
        return Base(str(path.resolve()), step=run_folder.resolve_step(path, step))
    if not path.is_dir():
        return Base(str(source))
    return Base(hub_names.of_folder(path) or str(path.resolve()))


def stream(base: Base, config: DecoderConfig) -> Iterator[Parameter]:
    """Yield the parameters of a base one by one on the host: float32, layers stacked."""
    if base.seed is None and base.step is None:
        _, params = abstract_model(config)
        yield from folder.stream(folder.folder_of(base.source), config, params, jnp.float32)
    elif base.seed is None and record_of(base.source) is not None:
        yield from stream_run(base.source, config, base.step)
    else:
        for path, value in by_path(_on_host(base, config)).items():
            yield path, np.asarray(value)


def _on_host(base: Base, config: DecoderConfig) -> dict[str, Any]:
    """All parameters on the host; random ones are then the same whatever the accelerator is."""
    shapes = _host_shapes(nnx.to_pure_dict(abstract_model(config)[1]))
    if base.seed is not None:
        return random_parameters(config, base.seed, jax.tree.map(lambda leaf: leaf.sharding, shapes))
    restored: dict[str, Any] = run_folder.restore_params(base.source, base.step, shapes)
    return restored


def _host_shapes(shapes: dict[str, Any]) -> dict[str, Any]:
    """Float32 shapes that are to be placed on the host."""
    host = jax.sharding.SingleDeviceSharding(jax.local_devices(backend="cpu")[0])
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.float32, sharding=host), shapes)


def stream_run(run: str | Path, config: DecoderConfig, step: int | None) -> Iterator[Parameter]:
    """Yield the parameters of a LoRA run one by one: its base, as stored in training, with the update added.

    Raises:
        ModelError: after the last parameter, if the base is not the one that the run was trained on.
    """
    record = _expect_record(run)
    _check_present(record.base, run)
    factors = factors_of(run, config, step)
    seen = Fingerprint(config)
    for path, array in stream(record.base, config):
        seen.add(path, array)
        yield path, factors.merge(path, as_stored(path, array, config, record.settings))
    check(record, seen.digest(), str(run))


def check(record: LoraRecord, fingerprint: str, where: str) -> None:
    """Refuse a base whose weights differ from those that the adapter was trained on."""
    if fingerprint != record.fingerprint:
        raise ModelError(
            f"{where}: its adapter was trained on the base {record.base.name} with fingerprint"
            f" {record.fingerprint}, which now has fingerprint {fingerprint}. Restore the original base"
        )


def factors_of(run: str | Path, config: DecoderConfig, step: int | None) -> Factors:
    """The trained part of a LoRA run, on the host. step: None for the newest checkpoint.

    Raises:
        ModelError: `model/lora.json` has other settings than the run was trained with.
    """
    record = _expect_record(run)
    step = run_folder.resolve_step(run, step)
    trained_with = run_folder.run_record(run, step).get("lora")
    if trained_with not in (None, record.to_json()["lora"]):
        raise ModelError(
            f"{Path(run) / run_folder.MODEL / RECORD}: changed since the run wrote it: checkpoint {step} was "
            f"trained with {trained_with}; write this as its value of 'lora'"
        )
    _, params = lora.abstract_model(config, record.settings)
    trained, _ = trainable.split(nnx.to_pure_dict(params))
    restored = run_folder.restore_params(run, step, _host_shapes(trained))
    return Factors.of_parameters(restored, record.settings.scale)


def _expect_record(run: str | Path) -> LoraRecord:
    record = record_of(run)
    if record is None:
        raise ModelError(f"{run}: not a LoRA run, {run_folder.MODEL}/{RECORD} is missing")
    return record


def stored_parts(
    path: TreePath, array: np.ndarray, config: DecoderConfig, settings: lora.LoRA
) -> Iterator[Parameter]:
    """Convert a float32 parameter to how a LoRA run stores it: rounded, or quantised to values and scales."""
    if not settings.quantised or path[-1] != "kernel" or path[:-1] not in lora.linear_maps(config):
        yield path, array.astype(settings.float_dtype)
        return
    inputs = lora.input_axes(config, path[:-1])
    shape = quantisation.value_shape(array.shape, inputs, settings.base_dtype)
    values = np.empty(shape, quantisation.stored_dtype(settings.base_dtype))
    scales = np.empty(quantisation.scale_shape(array.shape, inputs, settings.base_dtype), np.float32)
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        for layer in range(len(array)):
            one = jnp.asarray(array[layer : layer + 1])
            made = _quantise(one, inputs, settings.base_dtype)
            values[layer], scales[layer] = (np.asarray(part)[0] for part in made)
    yield (*path[:-1], "kernel_values"), values
    yield (*path[:-1], "kernel_scales"), scales


_quantise = jax.jit(quantisation.quantise, static_argnums=(1, 2))
_dequantise = jax.jit(quantisation.dequantise, static_argnums=(2, 3))


def as_stored(path: TreePath, array: np.ndarray, config: DecoderConfig, settings: lora.LoRA) -> np.ndarray:
    """A float32 parameter after the rounding or quantisation of `stored_parts`, in float32 again."""
    stored = [value for _, value in stored_parts(path, array, config, settings)]
    if len(stored) == 1:
        return stored[0].astype(np.float32)
    inputs = lora.input_axes(config, path[:-1])
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        layers = [
            np.asarray(_dequantise(values[None], scales[None], inputs, settings.base_dtype))
            for values, scales in zip(*stored, strict=True)
        ]
    return np.concatenate(layers)


def read_frozen(
    base: Base, config: DecoderConfig, settings: lora.LoRA, like: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    """Load the frozen part of an adapted decoder onto its devices.

    Args:
        base: where it comes from.
        config: of the decoder.
        settings: how it is stored.
        like: nested dict of shapes with shardings (`Program.frozen`).
    """
    seen = Fingerprint(config)

    def stored() -> Iterator[Parameter]:
        for path, array in stream(base, config):
            seen.add(path, array)
            yield from stored_parts(path, array, config, settings)

    frozen = place(stored(), like, jax.tree.map(lambda leaf: leaf.sharding, like))
    return frozen, seen.digest()


def place(parameters: Iterable[Parameter], like: dict[str, Any], shardings: Any) -> dict[str, Any]:
    """Put streamed parameters on their devices, each in its dtype.

    Args:
        parameters: (path, array on the host).
        like: nested dict of shapes and dtypes.
        shardings: tree like it; None: the default device.
    """
    wanted, placements = by_path(like), {} if shardings is None else by_path(shardings)

    def put(path: TreePath, array: np.ndarray) -> jax.Array:
        value = array.astype(wanted[path].dtype)
        if path not in placements:
            return jnp.asarray(value)
        return jax.make_array_from_callback(value.shape, placements[path], lambda index: value[index])

    return unflatten_dict({path: put(path, array) for path, array in parameters})
