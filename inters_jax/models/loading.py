"""Load a model from a Hugging Face folder or hub name, a training run, or random initialisation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jax.typing import DTypeLike
from tokenizers import Tokenizer

from inters_jax import mesh as meshes
from inters_jax import paths, run_folder
from inters_jax.mesh import STANDARD_RULES, AxisRules
from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.decoder import Decoder, abstract_model, logical_axes
from inters_jax.models.fingerprint import fingerprint
from inters_jax.models.hf import folder as huggingface
from inters_jax.models.hf.config_json import config_from_hf, config_to_hf
from inters_jax.models.hf.families import family_of
from inters_jax.models.lora import base as bases
from inters_jax.models.lora import peft
from inters_jax.models.precision import precision_of
from inters_jax.run_folder import CheckpointError
from seqio_tasks import hub_names
from seqio_tasks.base import read_json
from seqio_tasks.tokenizer_files import find_tokenizer, read_tokenizer, special_tokens


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A decoder and what belongs to it.

    Attributes:
      config: its configuration.
      model: the decoder.
      tokenizer: None if the model has none (random initialisation, or only a sentencepiece file, which
        `tokenizer_path` then names).
      tokenizer_path: the folder of the tokenizer files, or the one file.
      bos_id, eos_id: of the tokenizer, or of the model where the tokenizer does not define them.
      description: one line for reports.
      fingerprint: the same for the same weights in the same dtype, wherever they were loaded from.
      hub: ``org/name@commit`` of a model from the Hugging Face hub.
    """

    config: DecoderConfig
    model: Decoder
    tokenizer: Tokenizer | None
    tokenizer_path: str | None
    bos_id: int | None
    eos_id: int | None
    description: str
    fingerprint: str
    hub: str | None = None


def config_of(source: str | Path | DecoderConfig, step: int | None = None) -> DecoderConfig:
    """The configuration of a model, without its weights. source, step: as for `load_model`."""
    source = paths.localized(source)
    if isinstance(source, DecoderConfig):
        family_of(source)
        return source
    if run_folder.is_run(source):
        return _config_of_run(Path(source), step)
    return config_from_hf(huggingface.folder_of(source))


def _config_of_run(run: Path, step: int | None) -> DecoderConfig:
    """The configuration in the folder of a run, which must be the one that its checkpoint was trained with.

    Raises:
      CheckpointError: the file was changed since; many changes fit the parameters and give other logits.
    """
    file = run / run_folder.MODEL / "config.json"
    config = config_from_hf(file)
    for saved in [step] if step is not None else reversed(run_folder.checkpoint_steps(run)):
        try:
            recorded = run_folder.run_record(run, saved).get("model")
        except CheckpointError:  # who reads this checkpoint says so
            continue
        # The file as it was written, or one with keys that change nothing.
        found = (read_json(file, ModelError), config_to_hf(config))
        if recorded is not None and recorded not in map(run_folder.config_hash, found):
            raise CheckpointError(
                f"{file}: changed since the run wrote it: checkpoint {saved} was trained with another "
                "configuration. Put back the file as it was"
            )
        break
    return config


def load_model(
    source: str | Path | DecoderConfig,
    *,
    dtype: DTypeLike = "float32",
    param_dtype: DTypeLike | None = None,
    mesh: Mesh | None = None,
    rules: AxisRules = STANDARD_RULES,
    step: int | str | None = None,
    seed: int = 0,
    tokenizer: str | Path | None = None,
    adapter: str | Path | None = None,
    **options: Any,
) -> LoadedModel:
    """Load a decoder, ready for use.

    Args:
      source: a Hugging Face folder or hub name (``org/name``, ``org/name@revision``), a run folder, or a
        `DecoderConfig` for random weights.
      dtype: compute type, a name of `precision.py` except "auto", or a dtype.
      param_dtype: storage dtype of the parameters; None: that of the operands of products.
      mesh: shard the parameters over it while loading; None: the default device.
      rules: how the axes of parameters map to the mesh.
      step: checkpoint of a run; None for the newest, "best" for the best by its KEEP_BEST.
      seed: of random weights.
      tokenizer: a tokenizer.json, its folder or hub name, instead of the model's own.
      adapter: a PEFT folder (adapter_config.json, adapter_model.safetensors) to merge into the weights.
      options: further options of `Decoder` (remat, constrain, flatten, attention).

    Raises:
      ModelError: the model is missing, not supported, or does not fit the tokenizer.
      CheckpointError: the run has no such checkpoint, or it cannot be read.
    """
    kinds = {"dtype": dtype, "param_dtype": jnp.dtype(param_dtype or precision_of(dtype).weights)}
    kinds |= {"attention": "auto", "mesh": mesh} | options
    source = paths.localized(source)
    run, folder, chosen = None, None, None
    if isinstance(source, DecoderConfig):
        config, name = source, f"random weights, seed {seed}"
    elif run_folder.is_run(source):
        run, folder = Path(source), Path(source) / run_folder.MODEL
        chosen = run_folder.resolve_step(run, step)
        config, name = _config_of_run(run, chosen), f"{paths.origin(run.resolve()).name}, step {chosen}"
    else:
        folder = huggingface.folder_of(source)
        config = config_from_hf(folder)
        name = Path(source).resolve().name if Path(source).is_dir() else str(source)
    if run is None and step is not None:
        raise ModelError(f"{name}: STEP={step!r} was given, but only a run folder has steps")
    # Before the weights, so that a tokenizer that does not fit fails at once and not after minutes.
    opened, path, special = _tokenizer(
        folder if tokenizer is None else _here(tokenizer), config, required=tokenizer is not None
    )

    graphdef, params = abstract_model(config, **kinds)
    shardings = None
    if mesh is not None:
        shardings = meshes.parameter_shardings(mesh, logical_axes(params), params, rules)
    if adapter is not None:
        base = bases.base_of(source, seed=seed, step=step)
        factors = peft.read(adapter, config)
        merged = ((path, factors.merge(path, array)) for path, array in bases.stream(base, config))
        loaded = _streamed(merged, params, shardings)
        name = f"{name} with the adapter {Path(adapter).resolve().name}"
    elif folder is None:
        loaded = _random(config, seed, shardings, kinds)
    elif run is None:
        loaded = huggingface.load_parameters(folder, config, params, shardings)
    elif bases.record_of(run) is not None:
        loaded = _streamed(bases.stream_run(run, config, chosen), params, shardings)
    else:
        loaded = run_folder.restore_params(run, chosen, _placed(params, shardings))
    model = nnx.merge(graphdef, loaded)
    return LoadedModel(
        config=config,
        model=model,
        tokenizer=opened,
        tokenizer_path=path,
        bos_id=special["bos"],
        eos_id=special["eos"],
        description=f"{name} ({config.family}, {_count(config.parameter_count)} parameters)",
        fingerprint=fingerprint(model),
        hub=None if folder is None else hub_names.of_folder(folder),
    )


def _random(config: DecoderConfig, seed: int, shardings: Any, kinds: dict[str, Any]) -> nnx.State:
    def start() -> nnx.State:
        return nnx.state(Decoder(config, rngs=nnx.Rngs(params=seed), **kinds), nnx.Param)

    # Compiled, so that each device makes only its own part.
    return jax.jit(start, out_shardings=shardings)()


def _streamed(parameters: Iterable[bases.Parameter], params: nnx.State, shardings: Any) -> nnx.State:
    like = nnx.to_pure_dict(params)
    placed = bases.place(parameters, like, None if shardings is None else nnx.to_pure_dict(shardings))
    nnx.replace_by_pure_dict(params, placed)
    return params


def _placed(params: nnx.State, shardings: Any) -> nnx.State:
    """Shapes with the shardings that their arrays are to have."""
    if shardings is None:
        return params
    # Not with jax.tree.map: parameters are wrapped in nnx variables, shardings are not.
    leaves, structure = jax.tree.flatten(params)
    placed = [
        jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
        for leaf, sharding in zip(leaves, jax.tree.leaves(shardings), strict=True)
    ]
    return jax.tree.unflatten(structure, placed)


def _here(tokenizer: str | Path) -> Path:
    """The path of a tokenizer; a hub name is downloaded."""
    path = Path(tokenizer).expanduser()
    return path if path.exists() else find_tokenizer(str(tokenizer)).parent


def _tokenizer(
    source: Path | None, config: DecoderConfig, required: bool
) -> tuple[Tokenizer | None, str | None, dict[str, int | None]]:
    """The tokenizer of a folder (or a tokenizer file), its path, and its bos and eos."""
    ids: dict[str, int | None] = {"bos": config.bos_id, "eos": config.eos_id}
    if source is None:
        return None, None, ids
    folder = source if source.is_dir() else source.parent
    file = folder / "tokenizer.json" if source.is_dir() else source
    if not file.is_file() or file.suffix != ".json":
        bare = [path for path in (file, folder / "tokenizer.model") if path.is_file()]
        if required and not bare:
            raise ModelError(f"{source}: no tokenizer.json; name a folder that has one, or the file")
        return None, str(bare[0]) if bare else None, ids
    opened = read_tokenizer(file)
    size = opened.get_vocab_size(with_added_tokens=True)
    if size > config.vocab_size:
        raise ModelError(
            f"{file}: {size} tokens, but the model has only {config.vocab_size} embeddings;"
            " they do not belong together"
        )
    names, _ = special_tokens(folder)
    for kind in [kind for kind in ids if kind in names]:
        token = names[kind]
        ids[kind] = None if token is None else opened.token_to_id(token)
        if token is not None and ids[kind] is None:
            raise ModelError(f"{file}: has no token {token!r}, which {folder.name} names as its {kind} token")
    return opened, str(source), ids


def _count(number: int) -> str:
    """
    >>> _count(7_241_732_096), _count(8_100_000), _count(950)
    ('7.24 B', '8.1 M', '950')
    """
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)
