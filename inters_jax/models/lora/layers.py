"""LoRA: a frozen base, and beside each chosen linear map a small trained product `scale * (x @ A) @ B`.

The base is kept in float32, bfloat16, or quantised: int8 with one scale per output, nf4 with one scale per
64 inputs (QLoRA). The block's linear maps change their class (`AdaptedLinear`, `QuantisedLinear`) and keep
their place and the names of their parameters, so the decoder itself knows nothing of this.

qwix quantises and dequantises (`qwix.quantize`, `qwix.dequantize`, its nf4 table); its LoRA provider is not
used. It intercepts matrix products, compares operands with the attributes of the module on the call stack,
and creates the new parameters there and then. Our blocks live inside `jax.lax.scan`, where such a module is
a copy made of tracers that is thrown away after one layer; and qwix 0.1.8 applied to our decoder ends in an
IndexError of the scan (a leaf without an axis of layers; by its source, the random state that it gives
every module). Written out, the update has its own parameters with that axis, axis names for the mesh, PEFT's
starting values, and a dropout that a resumed run repeats to the bit. nf4 values are packed in pairs into
uint8: uint4 arrays from the host lie in another layout than a program compiled ahead of time asks for.

An adapted decoder exists only as a structure and shapes (`abstract_model`); arrays come from
`inters_jax.models.lora.base` (the frozen part) and from `start` (the trained part).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import gin
import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.decoder import Decoder
from inters_jax.models.hf import config_json
from inters_jax.models.hf.tensors import Tensor
from inters_jax.models.layers import Linear

Path = tuple[str, ...]

ALL_LINEAR = "all-linear"
FLOATS = ("float32", "bfloat16")
QUANTISED = ("int8", "nf4")
BLOCK = 64  # inputs that share a scale in nf4

# PEFT's usual names for our linear maps; a family's own names are known as well.
NAMES: Mapping[str, str] = {
    "query": "q_proj",
    "key": "k_proj",
    "value": "v_proj",
    "output": "o_proj",
    "gate": "gate_proj",
    "up": "up_proj",
    "down": "down_proj",
}


@gin.configurable(module="inters_jax")
@dataclasses.dataclass(frozen=True)
class LoRA:
    """What is trained beside a frozen base; every field can be bound in gin, as in ``LoRA.rank = 8``."""

    rank: int = 16
    alpha: float = 32.0  # the update is multiplied by alpha / rank
    targets: str | tuple[str, ...] = ALL_LINEAR  # or names as in PEFT: ('q_proj', 'v_proj')
    base_dtype: str = "bfloat16"  # how the base is kept: float32, bfloat16, int8, nf4
    dropout: float = 0.0  # of the inputs of A, in training
    rslora: bool = False  # alpha / sqrt(rank) in place of alpha / rank

    def __post_init__(self) -> None:
        if not isinstance(self.targets, str):
            object.__setattr__(self, "targets", tuple(self.targets))
        if self.rank < 1:
            raise ModelError(f"LoRA.rank must be positive, not {self.rank}")
        if not 0.0 <= self.dropout < 1.0:
            raise ModelError(f"LoRA.dropout must be at least 0 and below 1, not {self.dropout}")
        if self.base_dtype not in FLOATS + QUANTISED:
            known = ", ".join(FLOATS + QUANTISED)
            raise ModelError(f"LoRA.base_dtype {self.base_dtype!r} is not known; choose one of {known}")

    @property
    def scale(self) -> float:
        """What the update is multiplied by."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    @property
    def quantised(self) -> bool:
        """Whether the linear maps of the base are quantised."""
        return self.base_dtype in QUANTISED

    @property
    def float_dtype(self) -> jnp.dtype:
        """The dtype of what is not quantised: all of the base, or its embeddings, norms, biases and head."""
        return jnp.dtype("bfloat16" if self.quantised else self.base_dtype)


def linear_maps(config: DecoderConfig) -> dict[Path, Tensor]:
    """The linear maps of the blocks: path of the module -> the checkpoint tensor that holds its kernel."""
    return {
        path[:-1]: row
        for row in config_json.tensors(config)
        for path in row.paths
        if row.stacked and path[-1] == "kernel"
    }


def input_axes(config: DecoderConfig, path: Path) -> int:
    """Leading input axes of the kernel (of one layer) of a linear map of the blocks."""
    inputs = linear_maps(config)[path].inputs
    assert inputs is not None, path
    return inputs


def module_name(row: Tensor) -> str:
    """What PEFT calls the module of a tensor: ``q_proj``."""
    return row.name.removesuffix(".weight").rsplit(".", 1)[-1]


def target_paths(config: DecoderConfig, targets: str | tuple[str, ...]) -> list[Path]:
    """The modules that `LoRA.targets` means.

    >>> config = DecoderConfig(vocab_size=8, hidden_size=8, intermediate_size=8, num_layers=1, num_heads=2)
    >>> target_paths(config, ("q_proj", "down_proj"))
    [('layers', 'attention', 'query'), ('layers', 'mlp', 'down')]
    """
    maps = linear_maps(config)
    if targets == ALL_LINEAR:
        return list(maps)
    asked = (targets,) if isinstance(targets, str) else targets
    names = {path: {NAMES[path[-1]], module_name(row)} for path, row in maps.items()}
    known = sorted(set().union(*names.values()))
    unknown = [name for name in asked if name not in known]
    if unknown or not asked:
        raise ModelError(
            f"LoRA.targets: {', '.join(unknown) or 'none given'}; a {config.family} model has"
            f" {', '.join(known)}, or '{ALL_LINEAR}' for all of them"
        )
    return [path for path in maps if names[path] & set(asked)]


class QuantisedLinear(Linear):
    """A linear map whose kernel is quantised; `kernel` is made of `kernel_values` and `kernel_scales`."""

    kernel_values: nnx.Param  # int8 [*inputs, *outputs], or uint8 with half as many entries on the last input
    kernel_scales: nnx.Param  # float32, as many axes
    base_dtype: str
    recompute: bool  # make the kernel again in the backward pass, which would keep it otherwise

    def __call__(self, x: jax.Array) -> jax.Array:
        """x: [..., *inputs] -> [..., *outputs]."""

        def product(x: jax.Array, values: jax.Array, scales: jax.Array) -> jax.Array:
            kernel = dequantise(values[None], scales[None], self.rank, self.base_dtype)
            return self.multiply(x, kernel[0])

        if self.recompute:
            product = jax.checkpoint(product, prevent_cse=False)
        y = product(x, self.kernel_values[...], self.kernel_scales[...])
        return y if self.bias is None else y + self.bias[...].astype(x.dtype)


class AdaptedLinear(Linear):
    """A linear map and its low-rank update.

    lora_a: [*inputs, rank]; lora_b: [rank, *outputs]; both float32, used in the dtype of the activations.
    """

    lora_a: nnx.LoRAParam
    lora_b: nnx.LoRAParam
    scale: float
    dropout: float
    dropout_key: nnx.Param | None  # raw key, uint32; new at every step

    def __call__(self, x: jax.Array) -> jax.Array:
        """x: [..., *inputs] -> [..., *outputs]."""
        y = super().__call__(x)
        if self.dropout_key is not None:
            key = jax.random.wrap_key_data(self.dropout_key[...])
            keep = jax.random.bernoulli(key, 1.0 - self.dropout, x.shape)
            x = jnp.where(keep, x / (1.0 - self.dropout), 0).astype(x.dtype)
        # [rows, in] x [in, rank] is the product that `multiply` computes for an output of one axis.
        inner = self.multiply(x, self.lora_a[...])
        lora_b = self.lora_b[...].astype(x.dtype)
        if not self.flatten:
            return y + self.scale * jnp.tensordot(inner, lora_b, axes=1)
        flat = inner.reshape(-1, inner.shape[-1]) @ lora_b.reshape(lora_b.shape[0], -1)
        return y + (self.scale * flat).reshape(y.shape)


class QuantisedAdaptedLinear(AdaptedLinear, QuantisedLinear):
    """A quantised linear map and its low-rank update."""


def abstract_model(config: DecoderConfig, lora: LoRA, **options: Any) -> tuple[nnx.GraphDef, nnx.State]:
    """The structure of an adapted decoder and the shapes of its parameters.

    `options` are those of `Decoder`; `param_dtype` follows from `lora.base_dtype`.
    """

    def make() -> Decoder:
        options["param_dtype"] = lora.float_dtype
        model = Decoder(config, rngs=nnx.Rngs(params=0), **options)
        adapted = target_paths(config, lora.targets)
        for path in linear_maps(config):
            linear = model
            for name in path:
                linear = getattr(linear, name)
            _convert(linear, lora, path in adapted, recompute=model.remat != "full")
        return model

    return nnx.split(nnx.eval_shape(make), nnx.Param)


def _convert(linear: Any, lora: LoRA, adapted: bool, recompute: bool) -> None:
    """Gives a stacked `Linear` the class and the parameters that it has beside or in place of its own."""
    shape, axes = linear.kernel.shape, linear.kernel.get_metadata()["out_sharding"]
    inputs = linear.rank

    def param(kind: type[nnx.Param], shape: tuple[int, ...], dtype: DTypeLike, axes: Any) -> nnx.Param:
        return kind(jnp.zeros(shape, dtype), out_sharding=axes, eager_sharding=False)

    if lora.quantised:
        del linear.kernel
        linear.__class__ = QuantisedAdaptedLinear if adapted else QuantisedLinear
        values = value_shape(shape, inputs, lora.base_dtype)
        linear.kernel_values = param(nnx.Param, values, stored_dtype(lora.base_dtype), axes)
        scales = scale_shape(shape, inputs, lora.base_dtype)
        linear.kernel_scales = param(nnx.Param, scales, jnp.float32, axes)
        linear.base_dtype, linear.recompute = lora.base_dtype, recompute
    elif adapted:
        linear.__class__ = AdaptedLinear
    if adapted:
        layers, ins, outs = shape[0], shape[1 : 1 + inputs], shape[1 + inputs :]
        ahead, behind = axes[: 1 + inputs], axes[1 + inputs :]
        linear.lora_a = param(nnx.LoRAParam, (layers, *ins, lora.rank), jnp.float32, (*ahead, None))
        linear.lora_b = param(
            nnx.LoRAParam, (layers, lora.rank, *outs), jnp.float32, (axes[0], None, *behind)
        )
        linear.scale, linear.dropout = lora.scale, lora.dropout
        drops = lora.dropout > 0
        linear.dropout_key = param(nnx.Param, (layers, 2), jnp.uint32, (axes[0], None)) if drops else None


def start(abstract: Mapping[str, Any], seed: int, shardings: Any) -> dict[str, Any]:
    """The trained part of a fresh run, as PEFT starts it: A uniform within 1 / sqrt(inputs), B zero.

    Args:
      abstract: nested dict of the shapes of `lora_a` and `lora_b`.
      seed: of A.
      shardings: tree like `abstract`.
    """

    def make() -> dict[str, Any]:
        flat, structure = jax.tree_util.tree_flatten_with_path(abstract)
        leaves = []
        for number, (path, leaf) in enumerate(flat):
            if path[-1].key == "lora_b":
                leaves.append(jnp.zeros(leaf.shape, leaf.dtype))
                continue
            bound = 1.0 / math.sqrt(math.prod(leaf.shape[1:-1]))
            key = jax.random.fold_in(jax.random.key(seed), number)
            leaves.append(jax.random.uniform(key, leaf.shape, leaf.dtype, -bound, bound))
        return jax.tree.unflatten(structure, leaves)

    return jax.jit(make, out_shardings=shardings)()


def stored_dtype(base_dtype: str) -> jnp.dtype:
    """What quantised values are stored as; two of nf4 share a byte."""
    return jnp.dtype("int8" if base_dtype == "int8" else "uint8")


def _tiling(shape: tuple[int, ...], inputs: int, base_dtype: str) -> tuple[tuple[int, ...], dict[int, int]]:
    """Axes of a stacked kernel [layers, *inputs, *outputs] that keep all their scales, and tiled axes."""
    if base_dtype == "int8":
        return (0, *range(1 + inputs, len(shape))), {}
    tile = next(size for size in range(min(BLOCK, shape[inputs]), 0, -1) if shape[inputs] % size == 0)
    return tuple(axis for axis in range(len(shape)) if axis != inputs), {inputs: tile}


def value_shape(shape: tuple[int, ...], inputs: int, base_dtype: str) -> tuple[int, ...]:
    """The shape of the stored values of a stacked kernel: nf4 packs neighbours on its last input axis.

    >>> value_shape((2, 256, 4, 16), 1, "nf4"), value_shape((2, 256, 4, 16), 1, "int8")
    ((2, 128, 4, 16), (2, 256, 4, 16))
    """
    if base_dtype == "int8":
        return shape
    if shape[inputs] % 2:
        raise ModelError(f"nf4 needs an even number of inputs, a kernel of {list(shape)} has {shape[inputs]}")
    return (*shape[:inputs], shape[inputs] // 2, *shape[inputs + 1 :])


def scale_shape(shape: tuple[int, ...], inputs: int, base_dtype: str) -> tuple[int, ...]:
    """The shape of the scales of a stacked kernel.

    >>> scale_shape((2, 256, 4, 16), 1, "nf4"), scale_shape((2, 4, 96, 64), 2, "nf4")
    ((2, 4, 4, 16), (2, 4, 2, 64))
    >>> scale_shape((2, 4, 96, 64), 2, "int8")
    (2, 1, 1, 64)
    """
    whole, tiles = _tiling(shape, inputs, base_dtype)
    return tuple(
        size if axis in whole else size // tiles[axis] if axis in tiles else 1
        for axis, size in enumerate(shape)
    )


def quantise(kernel: jax.Array, inputs: int, base_dtype: str) -> tuple[jax.Array, jax.Array]:
    """A stacked kernel float32 [layers, *inputs, *outputs] -> its values and its float32 scales."""
    import qwix

    whole, tiles = _tiling(kernel.shape, inputs, base_dtype)
    qtype = jnp.int8 if base_dtype == "int8" else base_dtype
    array = qwix.quantize(kernel, qtype, channelwise_axes=whole, tiled_axes=tiles)
    values = array.qvalue
    if base_dtype == "nf4":
        size = kernel.shape[inputs]
        first = jax.lax.slice_in_dim(values, 0, size, 2, axis=inputs).astype(jnp.uint8)
        second = jax.lax.slice_in_dim(values, 1, size, 2, axis=inputs).astype(jnp.uint8)
        values = first | (second << 4)
    return values, array.scale


def dequantise(values: jax.Array, scales: jax.Array, inputs: int, base_dtype: str) -> jax.Array:
    """The stacked kernel float32 [layers, *inputs, *outputs] that stored values and scales stand for."""
    import qwix

    if base_dtype == "int8":
        return qwix.dequantize(qwix.QArray(values, scales, None, jnp.int8))
    pairs = jnp.stack((values & 15, values >> 4), axis=inputs + 1)
    shape = (*values.shape[:inputs], 2 * values.shape[inputs], *values.shape[inputs + 1 :])
    return qwix.dequantize(qwix.QArray(pairs.reshape(shape), scales, None, base_dtype))
