"""The names of the tensors of a checkpoint, and which parameters of the decoder each of them holds.

The decoder has one set of parameters for every family. A file may fuse several of them into one tensor
(query, key and value; gate and up). Reading splits it, so that each can be sharded over a mesh, and writing
joins it again.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from inters_jax.models.config import DecoderConfig
from inters_jax.trees import TreePath

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint and the parameters (of one layer) that it holds.

    Several parameters are concatenated along the file's first axis, in `groups` repetitions: with one group,
    all of the first and then all of the second; with one group per head, the rows of each parameter for the
    first head, then for the second.

    Args:
      name: in the file; "{layer}" stands for the number of the layer.
      paths: the parameters, as paths in `nnx.state(model)`.
      inputs: the number of leading input axes of the parameters where the file keeps a matrix
        [outputs, inputs]; None where it keeps the same order (vectors and the embedding).
      groups: see above.
      aliases: its names in older or newer files.
    """

    name: str
    paths: tuple[TreePath, ...]
    inputs: int | None = None
    groups: int = 1
    aliases: tuple[str, ...] = ()

    @property
    def stacked(self) -> bool:
        """Whether there is one such tensor per layer."""
        return "{layer}" in self.name

    def part_shape(self, shape: Shape) -> Shape:
        """The shape in the file of one parameter (of one layer) of this shape.

        >>> Tensor("q_proj.weight", (("query", "kernel"),), inputs=1).part_shape((64, 8, 16))
        (128, 64)
        """
        if self.inputs is None:
            return (math.prod(shape),) if self.paths[0][-1] in ("bias", "scale") else shape
        return math.prod(shape[self.inputs :]), math.prod(shape[: self.inputs])

    def file_shape(self, shapes: Sequence[Shape]) -> Shape:
        """The shape of the tensor in the file. shapes: of the parameters, of one layer."""
        parts = [self.part_shape(shape) for shape in shapes]
        return sum(part[0] for part in parts), *parts[0][1:]

    def split(self, array: np.ndarray, shapes: Sequence[Shape]) -> list[np.ndarray]:
        """Split a tensor of the file into its parameters, each in `part_shape`. shapes: of the parameters.

        >>> fused = Tensor("qkv", (("q", "bias"), ("k", "bias")), groups=2)
        >>> [part.tolist() for part in fused.split(np.array([1, 2, 10, 3, 4, 20]), [(2, 2), (2, 1)])]
        [[1, 2, 3, 4], [10, 20]]
        """
        if len(self.paths) == 1:
            return [array]
        parts = [self.part_shape(shape) for shape in shapes]
        rows = array.reshape(self.groups, -1, *array.shape[1:])
        ends = np.cumsum([part[0] // self.groups for part in parts])
        pieces = np.split(rows, ends[:-1], axis=1)
        return [piece.reshape(part) for piece, part in zip(pieces, parts, strict=True)]

    def join(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """Join parameters into the tensor of the file: the inverse of `split`."""
        if len(parts) == 1:
            return parts[0]
        rows = [part.reshape(self.groups, -1, *part.shape[1:]) for part in parts]
        return np.concatenate(rows, axis=1).reshape(-1, *parts[0].shape[1:])


@dataclasses.dataclass(frozen=True)
class Names:
    """The tensor names of a family; the defaults are those of Llama. A fused name replaces its parts."""

    embedding: str = "model.embed_tokens"
    layer: str = "model.layers.{layer}"
    attention: str = "self_attn"
    query: str = "q_proj"
    key: str = "k_proj"
    value: str = "v_proj"
    output: str = "o_proj"
    fused: str = ""  # query, key and value in one tensor
    fused_by_group: bool = False  # ... group by group: the query heads of a key head, its key, its value
    gate: str = "gate_proj"
    up: str = "up_proj"
    down: str = "down_proj"
    fused_gate: str = ""  # gate and up in one tensor
    norms: Mapping[str, str] = dataclasses.field(
        default_factory=lambda: {
            "attention_norm": "input_layernorm",
            "mlp_norm": "post_attention_layernorm",
        }
    )
    final_norm: str = "model.norm"
    head: str = "lm_head"
    head_alias: str = ""


def tensor_rows(names: Names, config: DecoderConfig) -> list[Tensor]:
    """Every tensor of a checkpoint with these names and this shape."""
    rows = [Tensor(f"{names.embedding}.weight", (("embedding",),))]
    attention, mlp = f"{names.layer}.{names.attention}", f"{names.layer}.mlp"

    def linear(name: str, paths: Sequence[TreePath], bias: bool, inputs: int = 1, groups: int = 1) -> None:
        kernels = tuple((*path, "kernel") for path in paths)
        rows.append(Tensor(f"{name}.weight", kernels, inputs, groups))
        if bias:
            rows.append(Tensor(f"{name}.bias", tuple((*path, "bias") for path in paths), None, groups))

    def norm(name: str, path: TreePath, bias: bool = config.norm == "layer") -> None:
        rows.append(Tensor(f"{name}.weight", ((*path, "scale"),)))
        if bias:
            rows.append(Tensor(f"{name}.bias", ((*path, "bias"),)))

    for ours in config.block_norms:
        norm(f"{names.layer}.{names.norms[ours]}", ("layers", ours))
    parts = [("layers", "attention", part) for part in ("query", "key", "value")]
    if names.fused:
        groups = config.num_kv_heads if names.fused_by_group else 1
        linear(f"{attention}.{names.fused}", parts, config.attention_bias, groups=groups)
    else:
        for theirs, path in zip((names.query, names.key, names.value), parts, strict=True):
            linear(f"{attention}.{theirs}", [path], config.attention_bias)
    output = ("layers", "attention", "output")
    linear(f"{attention}.{names.output}", [output], config.attention_output_bias, inputs=2)
    if config.qk_norm:
        norm(f"{attention}.q_norm", ("layers", "attention", "query_norm"))
        norm(f"{attention}.k_norm", ("layers", "attention", "key_norm"))
    gate, up, down = (("layers", "mlp", part) for part in ("gate", "up", "down"))
    if names.fused_gate:
        linear(f"{mlp}.{names.fused_gate}", [gate, up], config.mlp_bias)
    else:
        if config.gated_mlp:
            linear(f"{mlp}.{names.gate}", [gate], config.mlp_bias)
        linear(f"{mlp}.{names.up}", [up], config.mlp_bias)
    linear(f"{mlp}.{names.down}", [down], config.mlp_bias)
    norm(names.final_norm, ("final_norm",))
    if not config.tie_embeddings:
        start = len(rows)
        linear(names.head, [("head",)], config.head_bias)
        if names.head_alias:
            rows[start:] = [
                dataclasses.replace(row, aliases=(names.head_alias + row.name[len(names.head) :],))
                for row in rows[start:]
            ]
    return rows
