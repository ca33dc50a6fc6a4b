"""The base of an adapter: where it is read from, what proves that it is the same, and how it is kept.

A LoRA run holds `model/lora.json`: its settings, the source of its base, and a fingerprint of the base's
weights. The base is streamed parameter by parameter on the host in float32, rounded or quantised there layer
by layer, and goes straight to its devices; no device ever holds more of it than what is kept.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.decoder import Decoder, abstract_model
from inters_jax.models.hf import folder
from inters_jax.models.lora import layers as lora
from inters_jax.models.lora.peft import Factors

RECORD = "lora.json"  # in the `model` folder of a run
SAMPLES = 4096  # values per parameter that enter a fingerprint

Parameter = tuple[tuple[str, ...], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Base:
    """Where the weights of a base come from."""

    source: str  # a Hugging Face folder or hub name, a run folder of ours; "" for a random start
    seed: int | None = None  # of a random start
    step: int | None = None  # of a run

    @property
    def name(self) -> str:
        """For messages and cards."""
        step = "" if self.step is None else f", step {self.step}"
        return f"random weights, seed {self.seed}" if self.seed is not None else f"{self.source}{step}"


@dataclasses.dataclass(frozen=True)
class LoraRecord:
    """What a LoRA run is made of."""

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
    """The record of a LoRA run; None for a run that trains every parameter."""
    file = Path(run) / "model" / RECORD
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return LoraRecord(lora.LoRA(**content["lora"]), Base(**content["base"]), content["fingerprint"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ModelError(f"{file}: not the record of a LoRA run ({error})") from error


def base_of(
    source: str | Path | DecoderConfig, *, random: bool = False, seed: int = 0, step: int | None = None
) -> Base:
    """The base that a model source of `train` means, folders in full. step: of a run; None for the newest."""
    from inters_jax.training.checkpoints import checkpoint_steps

    if random or isinstance(source, DecoderConfig):
        return Base("", seed=seed)
    path = Path(source)
    if (path / "model" / "config.json").is_file():
        steps = checkpoint_steps(path)
        if not steps:
            raise ModelError(f"{path}: a run without a finished checkpoint cannot be a base")
        return Base(str(path.resolve()), step=steps[-1] if step is None else step)
    return Base(str(path.resolve()) if path.is_dir() else str(source))


def stream(base: Base, config: DecoderConfig) -> Iterator[Parameter]:
    """The parameters of a base one after another on the host, float32, layers stacked."""
    if base.seed is None and base.step is None:
        _, params = abstract_model(config)
        yield from folder.stream(folder.folder_of(base.source), config, params, jnp.float32)
    elif base.seed is None and record_of(base.source) is not None:
        yield from stream_run(base.source, config, base.step)
    else:
        yield from _flat(_on_host(base, config))


def _on_host(base: Base, config: DecoderConfig) -> dict[str, Any]:
    from inters_jax.training.checkpoints import restore_params

    host = jax.sharding.SingleDeviceSharding(jax.local_devices(backend="cpu")[0])
    _, params = abstract_model(config)
    shapes = nnx.to_pure_dict(params)
    seed = base.seed
    if seed is not None:
        # As `training.start.random_parameters`, but on the host: the same whatever the accelerator is.
        def start() -> dict[str, Any]:
            return nnx.to_pure_dict(nnx.state(Decoder(config, rngs=nnx.Rngs(params=seed)), nnx.Param))

        options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
        return jax.jit(start, out_shardings=jax.tree.map(lambda _: host, shapes), compiler_options=options)()
    placed = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.float32, sharding=host), shapes)
    restored: dict[str, Any] = restore_params(base.source, base.step, placed)
    return restored


def stream_run(run: str | Path, config: DecoderConfig, step: int | None) -> Iterator[Parameter]:
    """The parameters of a LoRA run one after another: its base as it was trained on, the update added.

    Raises:
        ModelError: after the last parameter, when the base is not the one of the run.
    """
    record = record_of(run)
    if record is None:
        raise ModelError(f"{run}: no LoRA run, model/{RECORD} is not there")
    factors = factors_of(run, config, step)
    seen = Fingerprint(config)
    for path, array in stream(record.base, config):
        seen.add(path, array)
        yield path, factors.merge(path, as_kept(path, array, config, record.settings))
    check(record, seen.digest(), str(run))


def check(record: LoraRecord, fingerprint: str, where: str) -> None:
    """Refuses a base whose weights are not those that the adapter was trained on."""
    if fingerprint != record.fingerprint:
        raise ModelError(
            f"{where}: its adapter was trained on the base {record.base.name} with the fingerprint"
            f" {record.fingerprint}; what is there now has {fingerprint}. Put the base back"
        )


def factors_of(run: str | Path, config: DecoderConfig, step: int | None) -> Factors:
    """The trained part of a LoRA run, on the host."""
    from inters_jax.training import checkpoints, trainable

    record = record_of(run)
    if record is None:
        raise ModelError(f"{run}: no LoRA run, model/{RECORD} is not there")
    _, params = lora.abstract_model(config, record.settings)
    trained, _ = trainable.split(nnx.to_pure_dict(params))
    host = jax.sharding.SingleDeviceSharding(jax.local_devices(backend="cpu")[0])
    placed = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=host), trained)
    return Factors.of_parameters(checkpoints.restore_params(run, step, placed), record.settings.scale)


class Fingerprint:
    """16 hex digits of a config and of up to 4,096 values of each float32 parameter, in whatever order."""

    def __init__(self, config: DecoderConfig) -> None:
        self._config = json.dumps(config.to_hf(), sort_keys=True)
        self._parts: dict[str, bytes] = {}

    def add(self, path: tuple[str, ...], array: np.ndarray) -> None:
        """Takes note of one parameter."""
        flat = array.reshape(-1)
        sample = flat[:: -(-flat.size // SAMPLES)]
        self._parts["/".join(path)] = f"{array.shape}".encode() + sample.astype("<f4").tobytes()

    def digest(self) -> str:
        """The fingerprint of everything added."""
        whole = hashlib.sha256(self._config.encode())
        for name, part in sorted(self._parts.items()):
            whole.update(name.encode() + hashlib.sha256(part).digest())
        return whole.hexdigest()[:16]


def keep(
    path: tuple[str, ...], array: np.ndarray, config: DecoderConfig, settings: lora.LoRA
) -> Iterator[Parameter]:
    """A float32 parameter as a LoRA run keeps it: rounded, or quantised to values and scales."""
    if not settings.quantised or path[-1] != "kernel" or path[:-1] not in lora.linear_maps(config):
        yield path, array.astype(settings.float_dtype)
        return
    inputs = lora.input_axes(config, path[:-1])
    shape = lora.value_shape(array.shape, inputs, settings.base_dtype)
    values = np.empty(shape, lora.stored_dtype(settings.base_dtype))
    scales = np.empty(lora.scale_shape(array.shape, inputs, settings.base_dtype), np.float32)
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        for layer in range(len(array)):
            one = jnp.asarray(array[layer : layer + 1])
            made = _quantise(one, inputs, settings.base_dtype)
            values[layer], scales[layer] = (np.asarray(part)[0] for part in made)
    yield (*path[:-1], "kernel_values"), values
    yield (*path[:-1], "kernel_scales"), scales


_quantise = jax.jit(lora.quantise, static_argnums=(1, 2))
_dequantise = jax.jit(lora.dequantise, static_argnums=(2, 3))


def as_kept(
    path: tuple[str, ...], array: np.ndarray, config: DecoderConfig, settings: lora.LoRA
) -> np.ndarray:
    """A float32 parameter with what `keep` loses of it, in float32 again."""
    kept = [value for _, value in keep(path, array, config, settings)]
    if len(kept) == 1:
        return kept[0].astype(np.float32)
    inputs = lora.input_axes(config, path[:-1])
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        layers = [
            np.asarray(_dequantise(values[None], scales[None], inputs, settings.base_dtype))
            for values, scales in zip(*kept, strict=True)
        ]
    return np.concatenate(layers)


def read_frozen(
    base: Base, config: DecoderConfig, settings: lora.LoRA, like: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    """The frozen part of an adapted decoder on its devices, and the fingerprint of the base.

    Args:
        base: where it comes from.
        config: its shape.
        settings: how it is kept.
        like: nested dict of shapes with shardings (`Program.frozen`).
    """
    seen = Fingerprint(config)

    def kept() -> Iterator[Parameter]:
        for path, array in stream(base, config):
            seen.add(path, array)
            yield from keep(path, array, config, settings)

    frozen = place(kept(), like, jax.tree.map(lambda leaf: leaf.sharding, like))
    return frozen, seen.digest()


def place(parameters: Iterable[Parameter], like: dict[str, Any], shardings: Any) -> dict[str, Any]:
    """Streamed parameters on their devices, each in its dtype.

    Args:
        parameters: (path, array on the host).
        like: nested dict of shapes and dtypes.
        shardings: tree like it; None: the default device.
    """
    placed: dict[str, Any] = {}
    for path, array in parameters:
        target, sharding, node = like, shardings, placed
        for name in path[:-1]:
            target, node = target[name], node.setdefault(name, {})
            sharding = None if sharding is None else sharding[name]
        value = array.astype(target[path[-1]].dtype)
        where = None if sharding is None else sharding[path[-1]]
        node[path[-1]] = _put(value, where)
    return placed


def _put(value: np.ndarray, sharding: jax.sharding.Sharding | None) -> jax.Array:
    if sharding is None:
        return jnp.asarray(value)
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])


def _flat(tree: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[Parameter]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, (*path, name))
        else:
            yield (*path, name), np.asarray(value)
