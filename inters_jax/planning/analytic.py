"""Estimates of a training step from shapes alone: FLOPs, memory, traffic, time.

If a program can be compiled, the planner shows these estimates next to the compiler's figures.

FLOPs of a step (2 for a multiply-add; a backward pass costs twice its forward pass):

    blocks     6 x parameters of the blocks x positions
    head       6 x hidden x vocabulary x loss positions        (the head runs at these positions only)
    LoRA       4 instead of 6 for the frozen base, and 6 x trained parameters x positions
    attention  12 x layers x heads x head size x pairs         (pairs of positions that attend to each other:
               causal, within the window, one document per row; packed documents have fewer)

These are the FLOPs of the model (``model_flops``), on which model-FLOPs utilisation (MFU) is based.
Recomputation (remat) adds a forward pass of the blocks to the FLOPs of the hardware.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from inters_jax.models.config import DecoderConfig
from inters_jax.models.lora.layers import ALL_LINEAR, NAMES
from inters_jax.models.lora.quantisation import BLOCK
from inters_jax.planning.settings import Settings
from inters_jax.planning.topologies import Topology

# Assumed share of the peak that an attention kernel reaches: the compiler has no estimate for kernels.
KERNEL_EFFICIENCY = 0.5
# Matrix products of a kernel per pair, in units of 2 x head size: forward twice (remat) 2 + 2, backward 3 for
# the queries and 4 for keys and values.
KERNEL_PRODUCTS = 11
# Arrays alive at once in the backward pass of a block, in units of the block's matrix products. Measured in
# compiled steps of Mistral-7B for v4, v5e, v5p and v6e, one to eight rows a device (docs/choosing_a_mesh.md).
WORKING_SET = 5


@dataclasses.dataclass(frozen=True)
class Parameters:
    """Numbers of parameters, by part of the model."""

    blocks: int
    embeddings: int  # table and head

    @property
    def total(self) -> int:
        """All parameters."""
        return self.blocks + self.embeddings


def parameters(config: DecoderConfig) -> Parameters:
    """Parameters of the blocks, and of the embedding table with the head."""
    embeddings = config.vocab_size * config.hidden_size * (1 if config.tie_embeddings else 2)
    return Parameters(config.parameter_count - embeddings, embeddings)


def trained_values(settings: Settings) -> int:
    """Number of trained values: all, or with LoRA rank x (inputs + outputs) of each adapted projection."""
    config, lora = settings.config, settings.lora
    if lora is None:
        return config.parameter_count
    d, f = config.hidden_size, config.intermediate_size
    heads, groups = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    maps = {
        "query": d + heads, "key": d + groups, "value": d + groups, "output": heads + d,
        "gate": d + f, "up": d + f, "down": f + d,
    }  # fmt: skip
    wanted = maps if lora.targets == ALL_LINEAR else {
        name: size for name, size in maps.items() if name in lora.targets or NAMES[name] in lora.targets
    }  # fmt: skip
    return lora.rank * config.num_layers * sum(wanted.values())


def parameter_bytes(settings: Settings) -> float:
    """Bytes of all parameters: float32, or with LoRA the base in its own type and float32 adapters."""
    values, lora = parameters(settings.config), settings.lora
    if lora is None:
        return 4.0 * values.total
    # nf4: half a byte, and a float32 scale for every 64 inputs.
    width = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "nf4": 0.5 + 4 / BLOCK}[lora.base_dtype]
    rest = 4.0 if lora.base_dtype == "float32" else 2.0
    return width * values.blocks + rest * values.embeddings + 4.0 * trained_values(settings)


def seen_pairs(length: int, window: int | None = None) -> int:
    """Number of (query, key) pairs of a causal row.

    >>> seen_pairs(4), seen_pairs(4, window=2), seen_pairs(4, window=9)
    (10, 7, 10)
    """
    reach = np.arange(1, length + 1, dtype=np.int64)
    return int(np.minimum(reach, window).sum() if window else reach.sum())


def model_flops(settings: Settings) -> float:
    """FLOPs of the model in a step, over all devices."""
    config = settings.config
    # Gradients pass through a frozen base (4), but its weights have none.
    frozen = settings.lora is not None
    blocks = (4.0 if frozen else 6.0) * parameters(config).blocks * settings.tokens
    blocks += 6.0 * trained_values(settings) * settings.tokens if frozen else 0.0
    head = (
        (4.0 if frozen else 6.0)
        * config.hidden_size
        * config.vocab_size
        * settings.batch_size
        * settings.loss_positions
    )
    return blocks + head + 3 * attention_forward_flops(settings)


def attention_forward_flops(settings: Settings) -> float:
    """FLOPs of attention in one forward pass, over all devices: scores and weighted values."""
    config = settings.config
    pairs = seen_pairs(settings.max_length, config.sliding_window) * settings.batch_size
    return 4.0 * config.num_layers * config.num_heads * config.head_dim * pairs


def hardware_flops(settings: Settings) -> float:
    """FLOPs of the hardware: the model's, and those that the backward pass recomputes."""
    again = 0.0
    if settings.remat == "full":
        again = 2.0 * parameters(settings.config).blocks * settings.tokens
    return model_flops(settings) + again + attention_forward_flops(settings)  # scores are always recomputed


def kernel_seconds(settings: Settings, topology: Topology, block: int = 512) -> float:
    """Seconds of the attention kernels on one device at `KERNEL_EFFICIENCY`; edge blocks count in full."""
    config, length = settings.config, settings.max_length
    edge = block / 2 * length * (2 if config.sliding_window and config.sliding_window < length else 1)
    pairs = (seen_pairs(length, config.sliding_window) + edge) * settings.batch_size
    flops = KERNEL_PRODUCTS * 2.0 * config.num_layers * config.num_heads * config.head_dim * pairs
    return flops / topology.count / (KERNEL_EFFICIENCY * topology.device.peak_flops)


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes per device, by kind."""

    parameters: float
    optimizer: float
    gradients: float
    activations: float  # everything temporary except the gradients
    code: float = 0.0

    @property
    def total(self) -> float:
        """Their sum."""
        return self.parameters + self.optimizer + self.gradients + self.activations + self.code


def memory(settings: Settings, topology: Topology) -> Memory:
    """Bytes per device.

    Parameters and gradients are float32, sharded over fsdp and tensor. Temporaries: a bfloat16 copy of the
    blocks' weights (the compiler makes it once, before the loop over the layers), the input of every block
    (and its matrix products with remat "dots", everything with "none"), the largest set of arrays alive in
    one block with its gathered weights, and the logits.
    """
    config, axes = settings.config, settings.axes(topology)
    values = parameters(config)
    shards = axes["fsdp"] * axes["tensor"]
    compute = 2 if settings.dtype == "bfloat16" else 4
    positions = settings.rows(topology) * settings.max_length / axes["sequence"]
    d, f, tensor = config.hidden_size, config.intermediate_size, axes["tensor"]
    heads = (config.num_heads + 2 * config.num_kv_heads) * config.head_dim

    quantised = settings.lora is not None and settings.lora.quantised
    same = settings.lora is not None and settings.lora.base_dtype == settings.dtype
    copy = 0.0 if compute == 4 or same or quantised else compute * values.blocks / shards
    kept_inputs = config.num_layers * positions * d * compute
    block_products = (
        positions * (heads + config.num_heads * config.head_dim + 2 * d + 3 * f) / tensor * compute
    )
    kept = {
        "full": 0.0,
        "dots": config.num_layers * block_products,
        "none": 1.6 * config.num_layers * block_products,
    }
    layer_weights = values.blocks / config.num_layers / tensor * compute
    working = WORKING_SET * block_products + (2 * layer_weights if axes["fsdp"] > 1 else 0.0)
    logits = min(
        settings.max_logits, settings.rows(topology) * settings.loss_positions * config.vocab_size / tensor
    )
    head = config.vocab_size * d / tensor * (compute + 4)
    activations = copy + kept_inputs + kept.get(settings.remat, 0.0) + max(working, 12 * logits + head)
    trained = trained_values(settings) / shards
    return Memory(
        parameters=parameter_bytes(settings) / shards,
        optimizer=settings.moments * settings.moment_bytes * trained,
        gradients=4 * trained * (2 if settings.microbatches > 1 else 1),
        activations=activations,
    )


@dataclasses.dataclass(frozen=True)
class Time:
    """Seconds of a step on one device, by limiting resource."""

    compute: float
    memory: float
    network: float

    @property
    def overlapped(self) -> float:
        """All three overlap completely: the roofline, a lower bound."""
        return max(self.compute, self.memory, self.network)

    @property
    def serial(self) -> float:
        """Computation and network do not overlap at all."""
        return max(self.compute, self.memory) + self.network


def sent(settings: Settings, topology: Topology) -> float:
    """Bytes that a device sends in a step: gathered weights, scattered gradients, activations."""
    config, axes = settings.config, settings.axes(topology)
    compute = 2 if settings.dtype == "bfloat16" else 4
    fsdp, tensor, copies = axes["fsdp"], axes["tensor"], axes["data"] * axes["replica"]
    weights = parameters(config).total / tensor * compute
    trained = trained_values(settings) / tensor * compute
    gather = settings.microbatches * (2 * weights + trained) * (fsdp - 1) / fsdp
    share = trained / fsdp
    reduce = 2 * share * (copies - 1) / copies
    positions = settings.rows(topology) * settings.microbatches * settings.max_length
    passes = 6 if settings.remat == "full" else 4
    shared = passes * config.num_layers * positions * config.hidden_size * compute * 2 * (tensor - 1) / tensor
    return gather + reduce + shared


def time(settings: Settings, topology: Topology) -> Time:
    """Roofline of a step, from FLOPs, traffic of weights and activations, and network."""
    device, axes = topology.device, settings.axes(topology)
    shards = axes["fsdp"] * axes["tensor"]
    values = parameters(settings.config)
    compute = 2 if settings.dtype == "bfloat16" else 4
    passes = 3 if settings.remat == "none" else 4
    weights = passes * settings.microbatches * values.total / axes["tensor"] * compute
    optimizer = trained_values(settings) / shards * (4 * 4 + 2 * settings.moments * settings.moment_bytes)
    positions = settings.rows(topology) * settings.microbatches * settings.max_length / axes["sequence"]
    width = 12 * settings.config.hidden_size + 6 * settings.config.intermediate_size / axes["tensor"]
    activations = passes * settings.config.num_layers * positions * width * compute
    network = sent(settings, topology)
    return Time(
        compute=hardware_flops(settings) / topology.count / device.peak_flops if device.peak_flops else 0.0,
        memory=(weights + optimizer + activations) / device.bandwidth if device.bandwidth else 0.0,
        network=network / topology.links if topology.links and network else 0.0,
    )
