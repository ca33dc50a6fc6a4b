"""Opens a model from wherever it is: a Hugging Face folder or hub name, a run of ours, or a random start."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jax.typing import DTypeLike

from inters_jax import mesh as meshes
from inters_jax import paths
from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.decoder import Decoder, abstract_model, logical_axes
from inters_jax.models.hf import folder as huggingface
from inters_jax.models.lora import base as bases
from inters_jax.models.lora import peft

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# A run folder of ours: <run>/model/config.json and the tokenizer beside it, <run>/checkpoints/<step>/.
RUN_MODEL = "model"
SAMPLES = 4096  # values per parameter that enter a fingerprint


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A decoder with what belongs to it.

    tokenizer is None when the model came without one (a random start, or a bare sentencepiece file, which
    `tokenizer_path` then holds). bos_id and eos_id are the tokenizer's, or the model's where it is silent.
    """

    config: DecoderConfig
    model: Decoder
    tokenizer: Tokenizer | None
    tokenizer_path: str | None  # the folder of the tokenizer files, or the one file
    bos_id: int | None
    eos_id: int | None
    description: str  # one line for reports
    fingerprint: str  # the same for the same weights in the same dtype, whatever they were read from


def is_run(folder: str | Path) -> bool:
    """Whether a folder is a run of ours."""
    return (Path(folder) / RUN_MODEL / "config.json").is_file()


def config_of(source: str | Path | DecoderConfig) -> DecoderConfig:
    """The shape of a model, without its weights."""
    source = paths.localized(source)
    if isinstance(source, DecoderConfig):
        return source
    if is_run(source):
        return DecoderConfig.from_hf(Path(source) / RUN_MODEL)
    return DecoderConfig.from_hf(huggingface.folder_of(source))


def load_model(
    source: str | Path | DecoderConfig,
    *,
    dtype: DTypeLike = "float32",
    param_dtype: DTypeLike | None = None,
    mesh: Mesh | None = None,
    step: int | str | None = None,
    seed: int = 0,
    tokenizer: str | Path | None = None,
    adapter: str | Path | None = None,
    **options: Any,
) -> LoadedModel:
    """A decoder ready for use.

    A LoRA run is merged: its update is added to the weights of its base as they were in training (rounded, or
    quantised and dequantised), in float32 and one parameter at a time. The result is a plain decoder.

    Args:
      source: a Hugging Face folder, a hub name, a run folder of ours, or a `DecoderConfig` (random weights).
      dtype: compute dtype.
      param_dtype: how parameters are kept; `dtype` unless given.
      mesh: where parameters go, each straight to its devices; None: the default device.
      step: the checkpoint of a run; None: the newest; "best": the best by its KEEP_BEST.
      seed: of random weights.
      tokenizer: a tokenizer.json or its folder, instead of the model's own.
      adapter: a PEFT folder (adapter_config.json, adapter_model.safetensors) whose update is added.
      options: further options of `Decoder` (remat, constrain, flatten, attention).
    """
    kinds = {"dtype": jnp.dtype(dtype), "param_dtype": jnp.dtype(param_dtype or dtype)}
    kinds |= {"attention": "auto", "mesh": mesh} | options
    source = paths.localized(source)
    run: Path | None = None
    folder: Path | None = None
    if isinstance(source, DecoderConfig):
        config, name = source, f"random weights, seed {seed}"
    elif is_run(source):
        run, folder = Path(source), Path(source) / RUN_MODEL
        config, name = DecoderConfig.from_hf(folder), paths.origin(run.resolve()).name
    else:
        folder = huggingface.folder_of(source)
        name = Path(source).resolve().name if Path(source).is_dir() else str(source)
        config = DecoderConfig.from_hf(folder)
    if step is not None and run is None:
        raise ModelError(f"{name}: step {step} is asked for, but only a run folder has steps")
    if isinstance(step, str):
        step = named_step(source, step)
    # Before the weights: a tokenizer that does not fit is told in a second, not after minutes.
    found = folder if tokenizer is None else Path(tokenizer)
    opened, path, special = _tokenizer(found, config, required=tokenizer is not None)

    if adapter is not None:
        base = bases.base_of(source, seed=seed, step=step)
        factors = peft.read(adapter, config)
        merged = ((path, factors.merge(path, array)) for path, array in bases.stream(base, config))
        model = _streamed(merged, config, mesh, kinds)
        name = f"{name} with the adapter {Path(adapter).resolve().name}"
    elif folder is None:
        model = _random(config, seed, mesh, kinds)
    elif run is not None:
        model, at = _from_run(run, config, step, mesh, kinds)
        name = f"{name}, step {at}"
    else:
        _, params = abstract_model(config, **kinds)
        model = huggingface.load(folder, param_shardings=_shardings(mesh, params), **kinds)
    return LoadedModel(
        config=config,
        model=model,
        tokenizer=opened,
        tokenizer_path=path,
        bos_id=special["bos"],
        eos_id=special["eos"],
        description=f"{name} ({config.family}, {_count(config.parameter_count)} parameters)",
        fingerprint=fingerprint(model),
    )


def named_step(run: Any, step: str) -> int:
    """The step that "best" stands for."""
    from inters_jax.training.checkpoints import best_step

    if step != "best":
        raise ModelError(f"STEP={step!r} is not known; give a number, 'best', or None for the newest")
    return best_step(run)


def fingerprint(model: Decoder) -> str:
    """16 hex digits of the config and of up to 4,096 values of each parameter, spread evenly over it.

    Any training step changes every parameter, so two models that differ have different fingerprints; the same
    weights have one fingerprint in a run, in an exported folder and on any mesh.
    """
    digest = hashlib.sha256(json.dumps(model.config.to_hf(), sort_keys=True).encode())
    flat, _ = jax.tree_util.tree_flatten_with_path(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    steps = [_spread(value.shape) for _, value in flat]
    take = jax.jit(lambda values: [value[at] for value, at in zip(values, steps, strict=True)])
    for (path, value), sample in zip(flat, take([value for _, value in flat]), strict=True):
        digest.update(f"{jax.tree_util.keystr(path)} {value.shape} {value.dtype}".encode())
        digest.update(_on_host(sample).tobytes())
    return digest.hexdigest()[:16]


def _spread(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Steps along each axis that leave about `SAMPLES` values.

    >>> [len(range(size)[step]) for size, step in zip((2, 300, 700), _spread((2, 300, 700)))]
    [2, 43, 44]
    """
    left = SAMPLES
    steps: list[slice] = []
    for axis, size in enumerate(shape):
        taken = min(size, max(1, round(left ** (1 / (len(shape) - axis)))))
        steps.append(slice(None, None, -(-size // taken)))
        left = max(1, left // taken)
    return tuple(steps)


def _on_host(value: jax.Array) -> np.ndarray:
    if not value.is_fully_addressable:
        from jax.experimental import multihost_utils

        value = multihost_utils.process_allgather(value, tiled=True)
    return np.asarray(value)


def _shardings(mesh: Mesh | None, params: nnx.State) -> Any:
    return None if mesh is None else meshes.parameter_shardings(mesh, logical_axes(params), params)


def _random(config: DecoderConfig, seed: int, mesh: Mesh | None, kinds: dict[str, Any]) -> Decoder:
    graphdef, params = abstract_model(config, **kinds)

    def start() -> nnx.State:
        return nnx.state(Decoder(config, rngs=nnx.Rngs(params=seed), **kinds), nnx.Param)

    # Compiled, so that each device makes its own part and nothing else.
    return nnx.merge(graphdef, jax.jit(start, out_shardings=_shardings(mesh, params))())


def _streamed(
    parameters: Iterable[bases.Parameter], config: DecoderConfig, mesh: Mesh | None, kinds: dict[str, Any]
) -> Decoder:
    graphdef, params = abstract_model(config, **kinds)
    shardings = _shardings(mesh, params)
    like = nnx.to_pure_dict(params)
    placed = bases.place(parameters, like, None if shardings is None else nnx.to_pure_dict(shardings))
    nnx.replace_by_pure_dict(params, placed)
    return nnx.merge(graphdef, params)


def _from_run(
    run: Path, config: DecoderConfig, step: int | None, mesh: Mesh | None, kinds: dict[str, Any]
) -> tuple[Decoder, int]:
    from inters_jax.training import checkpoints

    steps = checkpoints.checkpoint_steps(run)
    chosen = steps[-1] if step is None and steps else step
    if bases.record_of(run) is not None:
        return _streamed(bases.stream_run(run, config, chosen), config, mesh, kinds), int(chosen or 0)
    graphdef, params = abstract_model(config, **kinds)
    shardings = _shardings(mesh, params)
    if shardings is not None:
        leaves, structure = jax.tree.flatten(params)
        placed = [
            jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
            for leaf, sharding in zip(leaves, jax.tree.leaves(shardings), strict=True)
        ]
        params = jax.tree.unflatten(structure, placed)
    restored = checkpoints.restore_params(run, chosen, params)  # says what is there when `chosen` is not
    return nnx.merge(graphdef, restored), int(chosen or 0)


def _tokenizer(
    source: Path | None, config: DecoderConfig, required: bool
) -> tuple[Tokenizer | None, str | None, dict[str, int | None]]:
    """The tokenizer of a folder (or one file), its path, and its bos and eos."""
    ids: dict[str, int | None] = {"bos": config.bos_id, "eos": config.eos_id}
    if source is None:
        return None, None, ids
    folder = source if source.is_dir() else source.parent
    file = folder / "tokenizer.json" if source.is_dir() else source
    if not file.is_file() or file.suffix != ".json":
        bare = [path for path in (file, folder / "tokenizer.model") if path.is_file()]
        if required and not bare:
            raise ModelError(f"{source}: no tokenizer.json here; name a folder that has one, or the file")
        return None, str(bare[0]) if bare else None, ids
    from tokenizers import Tokenizer

    opened = Tokenizer.from_file(str(file))
    size = opened.get_vocab_size(with_added_tokens=True)
    if size > config.vocab_size:
        raise ModelError(
            f"{file}: {size} tokens, but the model has embeddings for {config.vocab_size} only;"
            " they do not belong together"
        )
    for name, token in _special_tokens(folder).items():
        ids[name] = None if token is None else opened.token_to_id(token)
        if token is not None and ids[name] is None:
            raise ModelError(f"{file}: has no token {token!r}, which {folder.name} names as its {name} token")
    return opened, str(source), ids


def _special_tokens(folder: Path) -> dict[str, str | None]:
    """What the tokenizer's own files say about bos and eos; a name they do not mention is left out."""
    out: dict[str, str | None] = {}
    for file in ("special_tokens_map.json", "tokenizer_config.json"):  # the later one wins
        path = folder / file
        if not path.is_file():
            continue
        content = json.loads(path.read_text(encoding="utf-8"))
        for name in ("bos", "eos"):
            if f"{name}_token" in content:
                token = content[f"{name}_token"]
                out[name] = token["content"] if isinstance(token, dict) else token
    return out


def _count(number: int) -> str:
    """
    >>> _count(7_241_732_096), _count(8_100_000), _count(950)
    ('7.24 B', '8.1 M', '950')
    """
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)
