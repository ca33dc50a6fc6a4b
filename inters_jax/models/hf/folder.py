"""Model folders in the Hugging Face layout: `config.json`, safetensors files, tokenizer files.

Loading streams (`streaming.py`): the host holds one piece of a parameter at a time. Nothing is unpickled and
no code from a folder runs. Saving keeps every bit unless the dtype changes.
"""

from __future__ import annotations

import contextlib
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
from huggingface_hub import snapshot_download
from jax.typing import DTypeLike
from safetensors.numpy import save_file

from inters_jax import paths
from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.decoder import Decoder, abstract_model
from inters_jax.models.hf import streaming
from inters_jax.models.hf.config_json import config_from_hf, config_to_hf, is_multimodal
from inters_jax.models.hf.families import tensors
from inters_jax.models.hf.safetensors_files import INDEX, SINGLE, Checkpoint
from inters_jax.models.hf.tensors import Tensor
from inters_jax.trees import TreePath, by_path
from seqio_tasks import hub_names
from seqio_tasks.base import read_json_object
from seqio_tasks.expected_errors import is_disk_full, no_space

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
# Some repositories hold the weights twice: in another file, or in another layout in a subfolder.
HUB_DUPLICATES = ("consolidated*", "*/*")
MAX_SHARD_BYTES = 5_000_000_000


def folder_of(source: str | Path) -> Path:
    """The local folder of a model: `source` itself, or the download of a hub name.

    Args:
      source: a folder, ``org/name``, or ``org/name@revision``.

    Raises:
      ModelError: there is neither such a folder nor such a repository.
    """
    path = paths.local(source).expanduser()
    if path.is_dir():
        return path
    name, revision = hub_names.split(str(source))
    if path.exists() or name.count("/") > 1 or name.startswith((".", "~", "/")):
        raise ModelError(f"{source}: no such folder; name a folder with a config.json, or a hub repository")
    try:
        return Path(
            snapshot_download(
                name,
                revision=revision,
                allow_patterns=list(HUB_PATTERNS),
                ignore_patterns=list(HUB_DUPLICATES),
            )
        )
    except Exception as error:  # the hub client raises many unrelated types
        raise ModelError(
            f"{source}: not a local folder, and not available from the Hugging Face hub"
            f" ({type(error).__name__}: {error}); check the name, the revision, the network and HF_TOKEN"
        ) from error


def load(
    source: str | Path,
    *,
    dtype: DTypeLike = jnp.float32,
    param_dtype: DTypeLike | None = None,
    param_shardings: Any = None,
    **options: Any,
) -> Decoder:
    """Load a decoder from a folder or the Hugging Face hub.

    Args:
      source: a local folder, or a hub name such as "mistralai/Mistral-7B-v0.1".
      dtype: compute dtype.
      param_dtype: storage dtype of the parameters; None: `dtype` (training needs float32).
      param_shardings: a tree like `nnx.state(model, nnx.Param)`, or like its plain dict, with a
        `jax.sharding.Sharding` for each parameter. None: the default device.
      options: further options of `Decoder` (remat, constrain, flatten).

    Raises:
      ModelError: the folder is missing, incomplete or not supported.
    """
    folder = folder_of(source)
    config = config_from_hf(folder)
    param_dtype = dtype if param_dtype is None else param_dtype
    graphdef, params = abstract_model(config, dtype=dtype, param_dtype=param_dtype, **options)
    return nnx.merge(graphdef, load_parameters(folder, config, params, param_shardings))


def load_parameters(folder: Path, config: DecoderConfig, params: Any, shardings: Any) -> Any:
    """Load the parameters of a local folder.

    Args:
      folder: the folder.
      config: its configuration.
      params: a tree like `nnx.state(model, nnx.Param)` of shapes and dtypes.
      shardings: as `param_shardings` of `load`.

    Returns:
      A tree like `params` with arrays.
    """
    flat = by_path(params)
    rows, checkpoint = _checked(folder, config, flat)
    placed = {} if shardings is None else by_path(shardings)
    loaded = streaming.fill(checkpoint, rows, flat, placed, config.num_layers)
    return jax.tree.unflatten(jax.tree.structure(params), [loaded[path] for path in flat])


def stream(
    folder: Path, config: DecoderConfig, params: Any, dtype: DTypeLike
) -> Iterator[tuple[TreePath, np.ndarray]]:
    """Yield the parameters of a folder one by one on the host: (path, array), layers stacked.

    Args:
      folder: a local model folder.
      config: its configuration.
      params: a tree like `nnx.state(model, nnx.Param)`; only shapes are used.
      dtype: of the arrays.
    """
    flat = by_path(params)
    rows, checkpoint = _checked(folder, config, flat)
    for row in rows:
        arrays = streaming.gather(checkpoint, row, flat, dtype, config.num_layers)
        yield from zip(row.paths, arrays, strict=True)


def _checked(
    folder: Path, config: DecoderConfig, flat: Mapping[TreePath, Any]
) -> tuple[list[Tensor], Checkpoint]:
    """The tensors of a folder, checked against the parameters. flat: parameters by path."""
    described = read_json_object(folder / "config.json", ModelError)
    checkpoint = Checkpoint(folder, nested=is_multimodal(described))
    rows = tensors(config)
    shapes = {path: tuple(leaf.shape) for path, leaf in flat.items()}
    checkpoint.check(rows, shapes, config.num_layers, config.family)
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
    """Write a model folder that transformers and `load` read; it gets its name when it is complete.

    Args:
      model: the decoder; its parameters must be addressable from this process.
      folder: must be empty or not exist.
      tokenizer: a folder with tokenizer files, or a tokenizer.json; copied next to the weights.
      dtype: of the written weights; None: that of the parameters.
      max_shard_bytes: largest size of a file (a single larger tensor gets a file of its own).
      extra: further text files, {name: content}.

    Raises:
      ModelError: the folder is not empty, or config.json cannot describe the model.
    """
    flat = by_path(nnx.state(model, nnx.Param))
    kept = np.dtype(dtype) if dtype is not None else np.dtype(model.embedding.dtype)
    description = {**config_to_hf(model.config), "torch_dtype": kept.name}
    with new_folder(folder) as made:
        _write_weights(made, model.config, flat, kept, max_shard_bytes)
        _write_json(made / "config.json", description)
        ends = {key: description[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
        _write_json(made / "generation_config.json", {k: v for k, v in ends.items() if v is not None})
        if tokenizer is not None:
            copy_tokenizer(tokenizer, made)
        for name, text in (extra or {}).items():
            (made / name).write_text(text, encoding="utf-8")
    return Path(folder)


@contextlib.contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """A temporary folder that gets the name `folder` when the block succeeds, and is removed otherwise.

    Raises:
      ModelError: `folder` exists and is not empty.
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ModelError(f"{target}: exists and is not an empty folder; choose another name or remove it")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as work:
        made = Path(work) / "new"
        made.mkdir()
        try:
            yield made
        except Exception as error:
            if not is_disk_full(error):
                raise
            raise ModelError(
                f"{target}: {no_space(target.parent)}; free some, or name another folder"
            ) from error
        if target.exists():
            target.rmdir()
        made.rename(target)


def copy_tokenizer(source: str | Path, folder: Path) -> None:
    """Copy tokenizer files into a folder. source: the folder that holds them, or a tokenizer.json in it.

    Raises:
      ModelError: there are none.
    """
    source = Path(source)
    source = source.parent if source.is_file() else source
    found = [name for name in TOKENIZER_FILES if (source / name).is_file()]
    if not {"tokenizer.json", "tokenizer.model", "vocab.json"} & set(found):
        raise ModelError(f"{source}: no tokenizer.json, tokenizer.model or vocab.json to copy")
    for name in found:
        shutil.copyfile(source / name, folder / name)


def _write_weights(
    folder: Path, config: DecoderConfig, flat: Mapping[TreePath, Any], dtype: np.dtype, limit: int
) -> None:
    """Write one file, or numbered files and an index; the host holds the tensors of one file at a time."""
    planned = [
        (name, row, layer, row.file_shape(_shapes(row, flat)))
        for row in tensors(config)
        for layer, name in enumerate(_names_in_file(row, config))
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
        save_tensors(arrays, folder / file)
        places |= dict.fromkeys(arrays, file)
    if len(files) > 1:
        total = sum(math.prod(shape) for _, _, _, shape in planned) * dtype.itemsize
        _write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": places})


def save_tensors(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Write a safetensors file with the permissions of a new file (the library always uses 0600)."""
    path.touch()
    permissions = path.stat().st_mode & 0o777
    save_file(arrays, path, metadata={"format": "pt"})
    path.chmod(permissions)


def _shapes(row: Tensor, flat: Mapping[TreePath, Any]) -> list[tuple[int, ...]]:
    """The shapes of a row's parameters, for one layer."""
    return [tuple(flat[path].shape[1 if row.stacked else 0 :]) for path in row.paths]


def _to_file(flat: Mapping[TreePath, jax.Array], row: Tensor, layer: int, dtype: np.dtype) -> np.ndarray:
    parts = []
    for path, shape in zip(row.paths, _shapes(row, flat), strict=True):
        value = flat[path]
        array = np.asarray(value[layer] if row.stacked else value).astype(dtype, copy=False)
        kept = row.part_shape(shape)
        parts.append(array.reshape(kept[::-1]).T if row.inputs is not None else array.reshape(kept))
    # The writer stores raw memory, so a transposed matrix must be contiguous.
    return np.ascontiguousarray(row.join(parts))


def _names_in_file(row: Tensor, config: DecoderConfig) -> Iterator[str]:
    """The names of a row: one per layer, or only one."""
    return (row.name.format(layer=layer) for layer in range(config.num_layers if row.stacked else 1))


def shapes_by_path(params: Any) -> dict[TreePath, tuple[int, ...]]:
    """{path: shape} of a tree like `nnx.state(model, nnx.Param)`."""
    return {path: tuple(leaf.shape) for path, leaf in by_path(params).items()}


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
