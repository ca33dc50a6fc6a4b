"""Devices as a mesh, and where every array lives on it.

The mesh has five axes, always all of them, so that every sharding can name every axis:

    replica    whole copies of the model; the outermost axis, between slices or hosts
    data       copies of the parameters, different rows of the batch
    fsdp       different rows of the batch, and each device keeps a slice of every parameter
    tensor     heads, feed-forward units and vocabulary are divided
    sequence   positions of a row are divided (activations only)

One line describes it: ``"fsdp=-1"`` (all devices), ``"fsdp=4,tensor=2"``; what is not named is 1, one axis
may be -1 for "whatever is left".

Parameters and activations name their axes logically (`inters_jax.models.decoder`); `RULES` and
`ACTIVATION_RULES` are the two tables that map these names to the mesh.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXES = ("replica", "data", "fsdp", "tensor", "sequence")

# Rows of a batch are divided over all of these; each of their devices sees other examples.
ROW_AXES = ("replica", "data", "fsdp")

RULES: Mapping[str, str | None] = {
    "layers": None,
    "vocab": "tensor",
    "embed": "fsdp",
    "heads": "tensor",
    "kv_heads": "tensor",
    "head_dim": None,
    "mlp": "tensor",
    "norm": None,
}

# Activations are divided by rows and positions; their embedding is whole where a parameter's is sliced.
ACTIVATION_RULES: Mapping[str, str | tuple[str, ...] | None] = {
    "batch": ROW_AXES,
    "length": "sequence",
    "embed": None,
    "heads": "tensor",
    "kv_heads": "tensor",
    "head_dim": None,
    "mlp": "tensor",
    "vocab": "tensor",
}


class MeshError(ValueError):
    """A mesh description that does not fit the devices, or a batch that does not fit the mesh."""


def parse_mesh(description: str, device_count: int) -> dict[str, int]:
    """Sizes of all five axes for a number of devices.

    >>> parse_mesh("fsdp=-1,tensor=2", 8)
    {'replica': 1, 'data': 1, 'fsdp': 4, 'tensor': 2, 'sequence': 1}
    """
    sizes = dict.fromkeys(AXES, 1)
    for part in filter(None, (part.strip() for part in description.replace(" ", ",").split(","))):
        name, equals, value = part.partition("=")
        if name not in sizes:
            raise MeshError(f"mesh {description!r}: no axis {name!r}; the axes are {', '.join(AXES)}")
        try:
            sizes[name] = int(value)
        except ValueError:
            raise MeshError(f"mesh {description!r}: {part!r} must read {name}=NUMBER") from None
        if not equals or (sizes[name] < 1 and sizes[name] != -1):
            raise MeshError(f"mesh {description!r}: {name} must be a positive number or -1")
    free = [name for name, size in sizes.items() if size == -1]
    if len(free) > 1:
        raise MeshError(f"mesh {description!r}: only one axis may be -1, found {' and '.join(free)}")
    fixed = prod(size for size in sizes.values() if size != -1)
    if free:
        if device_count % fixed:
            raise MeshError(f"mesh {description!r}: {device_count} devices are not divisible by {fixed}")
        sizes[free[0]] = device_count // fixed
    elif fixed != device_count:
        raise MeshError(
            f"mesh {description!r} needs {fixed} devices, {device_count} were found; "
            f"let one axis be -1, such as fsdp=-1"
        )
    return sizes


def make_mesh(description: str = "fsdp=-1", devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh over the given devices, by default all of them.

    TPU slices joined by a data-centre network are laid along the outermost axis that they divide, so that
    only this axis crosses the slow network.
    """
    devices = jax.devices() if devices is None else list(devices)
    sizes = parse_mesh(description, len(devices))
    shape = tuple(sizes[name] for name in AXES)
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    if devices[0].platform == "cpu":
        grid = np.asarray(devices).reshape(shape)
    elif slices == 1:
        grid = mesh_utils.create_device_mesh(shape, devices=devices)
    else:
        across = next((name for name in ROW_AXES if sizes[name] % slices == 0), None)
        if across is None:
            raise MeshError(
                f"mesh {description!r}: {slices} slices need replica, data or fsdp to be a multiple of it"
            )
        inside = tuple(sizes[name] // (slices if name == across else 1) for name in AXES)
        between = tuple(slices if name == across else 1 for name in AXES)
        grid = mesh_utils.create_hybrid_device_mesh(inside, between, devices=devices)
    return Mesh(grid, AXES)


def initialize_hosts() -> None:
    """Join the other hosts of the run, if the environment says that there are any; harmless to repeat.

    JAX finds the coordinator by itself on Cloud TPU pods, under SLURM and Open MPI; elsewhere
    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID say it.
    """
    several = (
        "JAX_COORDINATOR_ADDRESS" in os.environ
        or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")
        or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1
        or int(os.environ.get("OMPI_COMM_WORLD_SIZE", "1")) > 1
    )
    if several and not jax.distributed.is_initialized():
        jax.distributed.initialize()


def describe(mesh: Mesh) -> str:
    """``8 TPU v5 lite: fsdp=4 x tensor=2`` for the log."""
    kinds = sorted({device.device_kind for device in mesh.devices.flat})
    parts = [f"{name}={size}" for name, size in mesh.shape.items() if size > 1] or ["one device"]
    return f"{mesh.size} {'/'.join(kinds)}: {' x '.join(parts)}"


def row_shards(mesh: Mesh) -> int:
    """The number of parts into which the rows of a batch are divided."""
    return prod(mesh.shape[name] for name in ROW_AXES)


def check_batch(mesh: Mesh, batch_rows: int, microbatches: int = 1) -> None:
    """Refuse a batch whose rows cannot be divided over the microbatches and the devices."""
    parts = row_shards(mesh) * microbatches
    if batch_rows % parts:
        up = -(-batch_rows // parts) * parts
        raise MeshError(
            f"BATCH_SIZE={batch_rows} rows cannot be divided over {row_shards(mesh)} devices"
            f" x {microbatches} microbatches; use {up}, or another MESH"
        )


def partition_spec(mesh: Mesh, logical_axes: Sequence[str | None], shape: Sequence[int]) -> PartitionSpec:
    """Where a parameter lives: its logical axes through `RULES`.

    A dimension that the mesh axis does not divide (two key heads on four devices) stays whole: correct, and
    only memory is lost.
    """
    if len(logical_axes) != len(shape):
        raise MeshError(f"axes {tuple(logical_axes)} do not fit shape {tuple(shape)}")
    entries: list[str | None] = []
    for name, size in zip(logical_axes, shape, strict=True):
        if name is not None and name not in RULES:
            raise MeshError(f"unknown logical axis {name!r}; mesh.RULES knows {', '.join(RULES)}")
        axis = None if name is None else RULES[name]
        usable = axis is not None and axis not in entries and size % mesh.shape[axis] == 0
        entries.append(axis if usable else None)
    return PartitionSpec(*entries)


def parameter_shardings(mesh: Mesh, logical_axes: Any, parameters: Any) -> Any:
    """A tree like `parameters` of `NamedSharding`; `logical_axes` has a tuple of names at each leaf."""
    return jax.tree.map(
        lambda axes, leaf: NamedSharding(mesh, partition_spec(mesh, axes, leaf.shape)),
        logical_axes,
        parameters,
        is_leaf=lambda node: isinstance(node, tuple),
    )


def activation_constraint(mesh: Mesh) -> Callable[[jax.Array, tuple[str, ...]], jax.Array]:
    """What `Decoder(constrain=...)` calls on its activations: pins them to the mesh by `ACTIVATION_RULES`.

    Without it the compiler may gather the rows of a batch instead of the slices of a weight.
    """

    def constrain(activation: jax.Array, axes: tuple[str, ...]) -> jax.Array:
        entries = []
        for name, size in zip(axes, activation.shape, strict=True):
            rule = ACTIVATION_RULES[name]
            parts = prod(mesh.shape[axis] for axis in ((rule,) if isinstance(rule, str) else rule or ()))
            entries.append(rule if size % parts == 0 else None)
        return jax.lax.with_sharding_constraint(activation, NamedSharding(mesh, PartitionSpec(*entries)))

    return constrain


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of scalars and of whatever every device holds."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh, name: str) -> NamedSharding:
    """Rows over the row axes; arrays of [rows, length] also divide the length over ``sequence``.

    Loss positions are [rows, K] and index into the whole length, so K is never divided.
    """
    along = None if name == "decoder_loss_positions" or mesh.shape["sequence"] == 1 else "sequence"
    return NamedSharding(mesh, PartitionSpec(ROW_AXES, along))


def to_devices(mesh: Mesh, batch: Mapping[str, np.ndarray], global_rows: int) -> dict[str, jax.Array]:
    """The rows of this process as global arrays, divided over the mesh.

    Args:
        mesh: the mesh.
        batch: arrays [rows of this process, ...].
        global_rows: rows of the batch over all processes.
    """
    return {
        name: jax.make_array_from_process_local_data(
            batch_sharding(mesh, name), array, (global_rows, *array.shape[1:])
        )
        for name, array in batch.items()
    }
