"""Model folders in the Hugging Face layout: `config.json`, safetensors files, tokenizer files.

Reading streams (`streaming.py`): one piece of a parameter is on the host at a time, then on its devices.
Nothing is unpickled, no code from a folder is run, and writing keeps every bit if the dtype is kept.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from safetensors.numpy import save_file

from inters_jax import paths
from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.decoder import Decoder, abstract_model
from inters_jax.models.hf import streaming
from inters_jax.models.hf.config_json import tensors, text_prefix
from inters_jax.models.hf.safetensors_files import INDEX, SINGLE, Checkpoint
from inters_jax.models.hf.tensors import Tensor

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
HUB_PATTERNS = ("*.safetensors", "*.json", "*.model", "*.jinja", "merges.txt")
# Some hub folders hold the weights a second time: in one more file, or in another layout in a subfolder.
HUB_DUPLICATES = ("consolidated*", "*/*")
MAX_SHARD_BYTES = 5_000_000_000


def folder_of(source: str | Path) -> Path:
    """The local folder of a model: `source` itself, or the download of that hub name."""
    path = paths.local(source).expanduser()
    if path.is_dir():
        return path
    if path.exists() or str(source).count("/") > 1 or str(source).startswith((".", "~", "/")):
        raise ModelError(f"{source}: no such folder; a model is a folder with a config.json, or a hub name")
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                str(source), allow_patterns=list(HUB_PATTERNS), ignore_patterns=list(HUB_DUPLICATES)
            )
        )
    except Exception as error:  # the hub client raises many unrelated types
        raise ModelError(
            f"{source}: neither a folder here nor a model that the Hugging Face hub gave us"
            f" ({type(error).__name__}: {error}); check the name, the network and HF_TOKEN"
        ) from error


def load(
    source: str | Path,
    *,
    dtype: DTypeLike = jnp.float32,
    param_dtype: DTypeLike | None = None,
    param_shardings: Any = None,
    **options: Any,
) -> Decoder:
    """A decoder with the weights of a folder or hub name.

    Args:
      source: a local folder, or a hub name such as "mistralai/Mistral-7B-v0.1".
      dtype: compute dtype.
      param_dtype: how parameters are kept; the same as `dtype` unless given (training wants float32).
      param_shardings: a tree like `nnx.state(model, nnx.Param)`, or like its plain dict, with a
        `jax.sharding.Sharding` per parameter, which goes straight there. None: the default device.
      options: further options of `Decoder` (remat, constrain, flatten).
    """
    folder = folder_of(source)
    config = DecoderConfig.from_hf(folder)
    param_dtype = dtype if param_dtype is None else param_dtype
    graphdef, params = abstract_model(config, dtype=dtype, param_dtype=param_dtype, **options)
    shardings = {} if param_shardings is None else _flat(param_shardings)
    flat = _flat(params)
    rows, checkpoint = _checked(folder, config, flat)
    loaded = streaming.fill(checkpoint, rows, flat, shardings, config.num_layers)
    filled = jax.tree_util.tree_map_with_path(lambda path, _: loaded[_names(path)], params)
    return nnx.merge(graphdef, filled)


def stream(
    folder: Path, config: DecoderConfig, params: Any, dtype: DTypeLike
) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    """The parameters of a folder one after another on the host: (path, array), layers stacked.

    Args:
      folder: a local model folder.
      config: its shape.
      params: a tree like `nnx.state(model, nnx.Param)`; only shapes are read.
      dtype: of the arrays.
    """
    flat = _flat(params)
    rows, checkpoint = _checked(folder, config, flat)
    for row in rows:
        arrays = streaming.gather(checkpoint, row, flat, dtype, config.num_layers)
        yield from zip(row.paths, arrays, strict=True)


def _checked(
    folder: Path, config: DecoderConfig, flat: Mapping[tuple[str, ...], Any]
) -> tuple[list[Tensor], Checkpoint]:
    """The tensors of a folder, all of which are there and fit. flat: our parameters by path."""
    described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    checkpoint = Checkpoint(folder, nested=text_prefix(described))
    rows = tensors(config)
    checkpoint.check(
        rows, {path: tuple(leaf.shape) for path, leaf in flat.items()}, config.num_layers, config.family
    )
    return rows, checkpoint


def save(
    model: Decoder,
    folder: str | Path,
    *,
    tokenizer: str | Path | None = None,
    dtype: DTypeLike | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    extra: Mapping[str, str] | None = None,
) -> Path:
    """Writes a model folder that transformers and `load` read; it appears under its name when it is whole.

    Args:
      model: the decoder; its parameters must be reachable from this process.
      folder: must not exist or be empty.
      tokenizer: a folder with tokenizer files, or one tokenizer.json; copied beside the weights.
      dtype: of the written weights; that of the parameters unless given.
      max_shard_bytes: files grow no larger (a single larger tensor gets its own).
      extra: further text files, {name: content}.
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ModelError(f"{target}: exists and is not an empty folder; name another, or remove it first")
    target.parent.mkdir(parents=True, exist_ok=True)
    flat = _flat(nnx.state(model, nnx.Param))
    kept = np.dtype(dtype) if dtype is not None else np.dtype(model.embedding.dtype)
    description = {**model.config.to_hf(), "torch_dtype": kept.name}
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as work:
        made = Path(work) / "model"
        made.mkdir()
        _write_weights(made, model.config, flat, kept, max_shard_bytes)
        _write_json(made / "config.json", description)
        ends = {key: description[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
        _write_json(made / "generation_config.json", {k: v for k, v in ends.items() if v is not None})
        if tokenizer is not None:
            copy_tokenizer(tokenizer, made)
        for name, text in (extra or {}).items():
            (made / name).write_text(text, encoding="utf-8")
        if target.exists():
            target.rmdir()
        made.rename(target)
    return target


def copy_tokenizer(source: str | Path, folder: Path) -> None:
    """Copies the tokenizer files of a folder (or those beside a tokenizer.json) into another folder."""
    source = Path(source)
    source = source.parent if source.is_file() else source
    found = [name for name in TOKENIZER_FILES if (source / name).is_file()]
    if not {"tokenizer.json", "tokenizer.model", "vocab.json"} & set(found):
        raise ModelError(f"{source}: no tokenizer.json, tokenizer.model or vocab.json to copy")
    for name in found:
        shutil.copyfile(source / name, folder / name)


def _write_weights(
    folder: Path, config: DecoderConfig, flat: Mapping[tuple[str, ...], Any], dtype: np.dtype, limit: int
) -> None:
    """One file, or numbered files and an index; the host holds one file's tensors at a time."""
    planned = [
        (name, row, layer, row.file_shape(_shapes(row, flat)))
        for row in tensors(config)
        for layer, name in enumerate(_files_names(row, config))
    ]
    files: list[list[tuple[str, Tensor, int, tuple[int, ...]]]] = [[]]
    size = 0
    for item in planned:
        weight = math.prod(item[3]) * dtype.itemsize
        if files[-1] and size + weight > limit:
            files.append([])
            size = 0
        files[-1].append(item)
        size += weight
    places: dict[str, str] = {}
    for number, items in enumerate(files, start=1):
        file = SINGLE if len(files) == 1 else f"model-{number:05d}-of-{len(files):05d}.safetensors"
        arrays = {name: _to_file(flat, row, layer, dtype) for name, row, layer, _ in items}
        save_file(arrays, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(arrays, file)
    if len(files) > 1:
        total = sum(math.prod(shape) for _, _, _, shape in planned) * dtype.itemsize
        _write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": places})


def _shapes(row: Tensor, flat: Mapping[tuple[str, ...], Any]) -> list[tuple[int, ...]]:
    """The shapes of a row's parameters, of one layer."""
    return [tuple(flat[path].shape[1 if row.stacked else 0 :]) for path in row.paths]


def _to_file(
    flat: Mapping[tuple[str, ...], jax.Array], row: Tensor, layer: int, dtype: np.dtype
) -> np.ndarray:
    parts = []
    for path, shape in zip(row.paths, _shapes(row, flat), strict=True):
        value = flat[path]
        array = np.asarray(value[layer] if row.stacked else value).astype(dtype, copy=False)
        kept = row.part_shape(shape)
        parts.append(array.reshape(kept[::-1]).T if row.inputs is not None else array.reshape(kept))
    # The writer stores memory as it lies, so the transposed matrix must really be laid out that way.
    return np.ascontiguousarray(row.join(parts))


def _files_names(row: Tensor, config: DecoderConfig) -> Iterator[str]:
    """The names of a row: one per layer, or just the one."""
    return (row.name.format(layer=layer) for layer in range(config.num_layers if row.stacked else 1))


def _flat(tree: Any) -> dict[tuple[str, ...], Any]:
    """{path: leaf} of a tree of parameters or shardings (an nnx state, or a nested dict)."""
    return {_names(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def shapes_by_path(params: Any) -> dict[tuple[str, ...], tuple[int, ...]]:
    """{path: shape} of a tree like `nnx.state(model, nnx.Param)`."""
    return {path: tuple(leaf.shape) for path, leaf in _flat(params).items()}


def _names(path: tuple[Any, ...]) -> tuple[str, ...]:
    """Dict keys along a tree path; the wrapper of an nnx variable adds nothing."""
    return tuple(str(key.key) for key in path if hasattr(key, "key") and isinstance(key.key, str))


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
