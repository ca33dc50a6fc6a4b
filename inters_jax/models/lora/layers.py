"""LoRA: a frozen base, and for each target linear map a trained low-rank update `scale * (x @ A) @ B`.

The base is stored in float32 or bfloat16, or quantised (QLoRA): int8 or nf4, see `quantisation`. The linear
maps of a block change their class (`AdaptedLinear`, `QuantisedLinear`) but keep their place and the names of
their parameters, so the decoder is not aware of adapters.

qwix quantises and dequantises, but its LoRA provider is not used. It intercepts matrix products, compares
operands with the attributes of the module on the call stack, and creates the new parameters in place. The
blocks of the decoder run inside `jax.lax.scan`, where such a module is a copy made of tracers that is
discarded after one layer. qwix 0.1.8 applied to the decoder fails with an IndexError in the scan (a leaf
without a layers axis: by its source, the random state that it adds to every module). Implemented here, the
update has parameters with that axis, axis names for the mesh, PEFT's initialisation, and a dropout that a
resumed run repeats bit for bit.

An adapted decoder exists only as a structure and shapes (`abstract_model`). Its arrays come from
`inters_jax.models.lora.base` (the frozen part) and `adapter_parameters` (the trained part).
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

from inters_jax.field_types import check_field_types
from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.decoder import Decoder
from inters_jax.models.hf.families import tensors
from inters_jax.models.hf.tensors import Tensor
from inters_jax.models.layers import Linear
from inters_jax.models.lora.quantisation import QUANTISED, dequantise, scale_shape, stored_dtype, value_shape
from inters_jax.trees import TreePath

ALL_LINEAR = "all-linear"
FLOATS = ("float32", "bfloat16")

# PEFT's usual names of the linear maps; the names of the family work as well.
NAMES: Mapping[str, str] = {
    "query": "q_proj",
    "key": "k_proj",
    "value": "v_proj",
    "output": "o_proj",
    "gate": "gate_proj",
    "up": "up_proj",
    "down": "down_proj",
}


@gin.register(module="inters_jax")
@dataclasses.dataclass(frozen=True)
class LoRA:
    """The settings of LoRA.

    Args:
      rank: of the update.
      alpha: the update is multiplied by alpha / rank.
      targets: "all-linear", or module names as in PEFT: ("q_proj", "v_proj").
      base_dtype: how the base is stored: float32, bfloat16, int8 or nf4.
      dropout: of the inputs of A, in training.
      rslora: multiply the update by alpha / sqrt(rank) instead.
    """

    rank: int = 16
    alpha: float = 32.0
    targets: str | tuple[str, ...] = ALL_LINEAR
    base_dtype: str = "bfloat16"
    dropout: float = 0.0
    rslora: bool = False

    def __post_init__(self) -> None:
        check_field_types(self, ModelError)
        if not isinstance(self.targets, str):
            if not isinstance(self.targets, list | tuple):
                raise ModelError(f"LoRA.targets is {self.targets!r:.80}, expected names of modules")
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
        """The factor of the update."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    @property
    def quantised(self) -> bool:
        """Whether the linear maps of the base are quantised."""
        return self.base_dtype in QUANTISED

    @property
    def float_dtype(self) -> jnp.dtype:
        """The dtype of what is not quantised: the whole base, or its embeddings, norms, biases and head."""
        return jnp.dtype("bfloat16" if self.quantised else self.base_dtype)


def linear_maps(config: DecoderConfig) -> dict[TreePath, Tensor]:
    """The linear maps of the blocks: module path -> the checkpoint tensor that holds the kernel."""
    return {
        path[:-1]: row
        for row in tensors(config)
        for path in row.paths
        if row.stacked and path[-1] == "kernel"
    }


def input_axes(config: DecoderConfig, path: TreePath) -> int:
    """The number of leading input axes of a linear map's kernel (of one layer)."""
    inputs = linear_maps(config)[path].inputs
    assert inputs is not None, path
    return inputs


def module_name(row: Tensor) -> str:
    """PEFT's name for the module of a tensor: ``q_proj``."""
    return row.name.removesuffix(".weight").rsplit(".", 1)[-1]


def target_paths(config: DecoderConfig, targets: str | tuple[str, ...]) -> list[TreePath]:
    """The modules that `LoRA.targets` selects.

    Raises:
      ModelError: the model has no such module.

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
        wrong = f"unknown {', '.join(unknown)}" if unknown else "empty"
        raise ModelError(
            f"LoRA.targets: {wrong}; a {config.family} model has {', '.join(known)},"
            f" and '{ALL_LINEAR}' selects all"
        )
    return [path for path in maps if names[path] & set(asked)]


class QuantisedLinear(Linear):
    """A linear map with a quantised kernel: `kernel_values` and `kernel_scales` replace `kernel`."""

    kernel_values: nnx.Param  # int8 [*inputs, *outputs], or uint8 with the last input axis halved
    kernel_scales: nnx.Param  # float32, the same number of axes
    base_dtype: str
    recompute: bool  # dequantise again in the backward pass instead of saving the kernel

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
    """A linear map with a low-rank update.

    lora_a: [*inputs, rank]; lora_b: [rank, *outputs]; both float32, cast to the dtype of the activations.
    """

    lora_a: nnx.LoRAParam
    lora_b: nnx.LoRAParam
    scale: float
    dropout: float
    dropout_key: nnx.Param | None  # raw key, uint32; another one at every step

    def __call__(self, x: jax.Array) -> jax.Array:
        """x: [..., *inputs] -> [..., *outputs]."""
        y = super().__call__(x)
        if self.dropout_key is not None:
            key = jax.random.wrap_key_data(self.dropout_key[...])
            keep = jax.random.bernoulli(key, 1.0 - self.dropout, x.shape)
            x = jnp.where(keep, x / (1.0 - self.dropout), 0).astype(x.dtype)
        # `multiply` for an output of one axis: [rows, in] x [in, rank].
        inner = self.multiply(x, self.lora_a[...])
        lora_b = self.lora_b[...].astype(x.dtype)
        if not self.flatten:
            return y + self.scale * jnp.tensordot(inner, lora_b, axes=1)
        flat = inner.reshape(-1, inner.shape[-1]) @ lora_b.reshape(lora_b.shape[0], -1)
        return y + (self.scale * flat).reshape(y.shape)


class QuantisedAdaptedLinear(AdaptedLinear, QuantisedLinear):
    """A quantised linear map with a low-rank update."""


def abstract_model(config: DecoderConfig, lora: LoRA, **options: Any) -> tuple[nnx.GraphDef, nnx.State]:
    """The structure of an adapted decoder and the shapes of its parameters.

    Args:
      config: of the decoder.
      lora: of the adapters.
      options: of `Decoder`; `param_dtype` follows from `lora.base_dtype`.
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
    """Change the class of a stacked `Linear` and add or replace its parameters."""
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
        key = param(nnx.Param, (layers, 2), jnp.uint32, (axes[0], None)) if lora.dropout > 0 else None
        linear.dropout_key = key


def adapter_parameters(abstract: Mapping[str, Any], seed: int, shardings: Any) -> dict[str, Any]:
    """Initialise the trained part like PEFT: A uniform within 1 / sqrt(inputs), B zero.

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
