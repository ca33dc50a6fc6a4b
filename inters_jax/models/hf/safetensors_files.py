"""The safetensors files of a model folder: which tensors it has, and reading them in pieces.

Nothing is unpickled and no code from the folder runs. A file is memory-mapped only while a piece of it is
read, so that pieces read earlier do not count as memory in use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from inters_jax.models.config import ModelError
from inters_jax.models.hf.tensors import Shape, Tensor
from inters_jax.trees import TreePath
from seqio_tasks.base import read_json_object, some

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
FLOATS = ("F32", "BF16", "F16", "F64")
# Buffers in older files; they follow from the configuration.
IGNORED_SUFFIXES = (
    ".rotary_emb.inv_freq",
    ".attn.masked_bias",
    ".attn.bias",
    ".attention.masked_bias",
    ".attention.bias",
    ".attention.rotary_emb.inv_freq",
)
# A multimodal model: the prefixes of its text decoder, and of what belongs to images.
TEXT_PREFIXES = (
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("model.language_model.", "model."),
)
IMAGE_PREFIXES = (
    "vision_tower.",
    "multi_modal_projector.",
    "model.vision_tower.",
    "model.multi_modal_projector.",
)


class Checkpoint:
    """The tensors of a folder by name.

    Args:
      folder: a local model folder.
      nested: whether the decoder is part of a multimodal model; its tensors then have their plain names here.

    Raises:
      ModelError: weights are missing or damaged.
    """

    def __init__(self, folder: Path, *, nested: bool = False) -> None:
        self.folder = folder
        self._headers: dict[str, dict[str, tuple[tuple[int, ...], str]]] = {}  # file -> tensor -> shape, type
        located = self._locate()
        self._stored = (
            {_plain(name): name for name in located} if nested else {name: name for name in located}
        )
        if nested:
            self._stored = {
                plain: name for plain, name in self._stored.items() if not name.startswith(IMAGE_PREFIXES)
            }
        self.files = {plain: located[name] for plain, name in self._stored.items()}

    def _locate(self) -> dict[str, str]:
        """Tensor name -> file name. As in transformers, a single file wins over an index beside it."""
        if (self.folder / SINGLE).is_file():
            return dict.fromkeys(self._header(SINGLE), SINGLE)
        index = self.folder / INDEX
        if index.is_file():
            listed = read_json_object(index, ModelError).get("weight_map")
            if not isinstance(listed, dict) or not all(isinstance(file, str) for file in listed.values()):
                raise ModelError(
                    f"{index}: no weight_map with a file for each tensor; download the folder again"
                )
            for file in sorted(set(listed.values())):
                if not file or Path(file).name != file:
                    raise ModelError(
                        f"{index}: {file!r} is outside the folder; weights must be next to the index"
                    )
                if not (self.folder / file).is_file():
                    raise ModelError(
                        f"{self.folder / file}: missing, but {INDEX} names it; download the folder again"
                    )
                held = self._header(file)
                absent = sorted(name for name, where in listed.items() if where == file and name not in held)
                if absent:
                    raise ModelError(
                        f"{self.folder / file}: {INDEX} lists {some(absent)} here, but it is missing"
                    )
            return listed
        pickled = [path.name for path in self.folder.glob("*.bin")]
        hint = "convert it with transformers' save_pretrained" if pickled else "is the download complete?"
        found = f"only pickled weights ({some(pickled)}), which are never loaded" if pickled else "no weights"
        raise ModelError(f"{self.folder}: {found}; {SINGLE} or {INDEX} is needed, {hint}")

    def _open(self, file: str) -> Any:
        try:
            return safe_open(self.folder / file, framework="numpy")
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"{self.folder / file}: not a complete safetensors file ({error}); download it again"
            ) from error

    def _header(self, file: str) -> dict[str, tuple[tuple[int, ...], str]]:
        if file not in self._headers:
            with self._open(file) as handle:
                slices = {name: handle.get_slice(name) for name in handle.keys()}  # noqa: SIM118
                self._headers[file] = {
                    name: (tuple(one.get_shape()), str(one.get_dtype())) for name, one in slices.items()
                }
        return self._headers[file]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, from the header of its file."""
        return self._header(self.files[name])[self._stored[name]][0]

    def dtype(self, name: str) -> str:
        """The type of a tensor as its file names it, such as BF16."""
        return self._header(self.files[name])[self._stored[name]][1]

    def read(self, name: str, rows: slice | None = None) -> np.ndarray:
        """A tensor, or some rows of it, in the dtype of the file."""
        file = self.files[name]
        with self._open(file) as handle:
            array: np.ndarray = (
                handle.get_tensor(self._stored[name])
                if rows is None
                else handle.get_slice(self._stored[name])[rows]
            )
        return array

    def name_of(self, row: Tensor, layer: int = 0) -> str:
        """The name of a tensor in this folder: its own, or the alias that the folder uses."""
        for name in (row.name, *row.aliases):
            if name.format(layer=layer) in self.files:
                return name.format(layer=layer)
        return row.name.format(layer=layer)

    def check(
        self,
        rows: Sequence[Tensor],
        shapes: Mapping[TreePath, Shape],
        layers: int,
        family: str,
    ) -> None:
        """Check that every tensor exists in its shape, as floating-point numbers, and no other.

        Args:
          rows: the tensors of the model.
          shapes: of the parameters by path, with the layers axis.
          layers: the number of layers.
          family: for error messages.

        Raises:
          ModelError: tensors are missing, unknown, quantised, or of another shape.
        """
        expected = {}
        for row in rows:
            parts = [tuple(shapes[path][1 if row.stacked else 0 :]) for path in row.paths]
            for layer in range(layers if row.stacked else 1):
                expected[self.name_of(row, layer)] = row.file_shape(parts)
        missing = [name for name in expected if name not in self.files]
        if missing:
            raise ModelError(f"{self.folder}: {len(missing)} tensors missing: {some(missing)}")
        extra = [name for name in self.files if name not in expected and not name.endswith(IGNORED_SUFFIXES)]
        extra = [name for name in extra if not self._repeats_embedding(name, rows)]
        if extra:
            raise ModelError(
                f"{self.folder}: {len(extra)} tensors are not part of the {family} model of this"
                f" config.json: {some(extra)}"
            )
        for name in expected:
            if self.dtype(name) not in FLOATS:
                raise ModelError(
                    f"{self.folder / self.files[name]}: {name} holds {self.dtype(name)}, not"
                    f" {', '.join(FLOATS)}; quantised weights are not supported, use the model they were"
                    " quantised from"
                )
        wrong = [
            f"{name} is {list(self.shape(name))}, expected {list(shape)}"
            for name, shape in expected.items()
            if self.shape(name) != shape
        ]
        if wrong:
            raise ModelError(
                f"{self.folder}: {len(wrong)} tensors do not fit config.json: {some(wrong, '; ')}"
            )

    def _repeats_embedding(self, name: str, rows: Sequence[Tensor]) -> bool:
        """Whether a tensor is the head of a model that ties it to the embedding: a redundant copy."""
        embedding = rows[0].name
        tied = not any(row.paths[0][0] == "head" for row in rows)
        if not tied or name not in ("lm_head.weight", "embed_out.weight") or embedding not in self.files:
            return False
        same = self.shape(name) == self.shape(embedding)
        if not same or not np.array_equal(self.read(name), self.read(embedding)):
            raise ModelError(
                f"{self.folder}: config.json ties the head to the embedding, but {name} differs"
                " from it; set tie_word_embeddings to false"
            )
        return True


def _plain(name: str) -> str:
    for prefix, plain in TEXT_PREFIXES:
        if name.startswith(prefix):
            return plain + name[len(prefix) :]
    return name
