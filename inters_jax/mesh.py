"""The device mesh, and how arrays are sharded over it.

The mesh always has all five axes, so that every sharding can name every axis:

    replica    full copies of the model; the outermost axis, across slices or hosts
    data       copies of the parameters, different rows of the batch
    fsdp       different rows of the batch; each device holds a shard of every parameter
    tensor     heads, MLP units and vocabulary are sharded
    sequence   positions of a row are sharded (activations only)

A mesh is described in one line: ``"fsdp=-1"`` (all devices), ``"fsdp=4,tensor=2"``. Axes that are not named
have size 1; one axis may be -1, which takes the remaining devices. Slices connected only by a data-centre
network lie along the outermost row axes: ``"replica=2,fsdp=-1"`` on two slices keeps one copy of the model in
each.

Parameters and activations have logical axis names (`inters_jax.models.decoder`). `AxisRules` maps these names
to mesh axes; `STANDARD_RULES` are the defaults.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import gcd, prod
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils  # hybrid meshes have no other public name
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from seqio_tasks.base import UserError, nearest

AXES = ("replica", "data", "fsdp", "tensor", "sequence")

# The rows of a batch are sharded over all of these; each of their devices gets different examples.
ROW_AXES = ("replica", "data", "fsdp")

# A mesh axis, several (the first varies slowest), or None: the dimension is not sharded.
Rule = str | tuple[str, ...] | None

RULES: Mapping[str, Rule] = {
    "layers": None,
    "vocab": "tensor",
    "embed": "fsdp",
    "heads": "tensor",
    "kv_heads": "tensor",
    "head_dim": None,
    "mlp": "tensor",
    "norm": None,
}

# Activations are sharded by rows and positions, and not along their embedding.
ACTIVATION_RULES: Mapping[str, Rule] = {
    "batch": ROW_AXES,
    "length": "sequence",
    "embed": None,
    "heads": "tensor",
    "kv_heads": "tensor",
    "head_dim": None,
    "mlp": "tensor",
    "vocab": "tensor",
}


class MeshError(UserError):
    """A mesh description does not fit the devices, or a batch or a rule does not fit the mesh."""


@dataclasses.dataclass(frozen=True, init=False)
class AxisRules:
    """Logical axis -> mesh axes, for parameters and for activations.

    Args:
      parameters: entries that replace those of `RULES`.
      activations: entries that replace those of `ACTIVATION_RULES`; "batch" and "length" are fixed, because
        the loader and the loss shard by `ROW_AXES`.

    Raises:
      MeshError: there is no such logical axis or mesh axis.

    >>> AxisRules({"mlp": None, "embed": ["fsdp", "data"]}).parameters["embed"]
    ('fsdp', 'data')
    """

    parameters: Mapping[str, Rule]
    activations: Mapping[str, Rule]

    def __init__(
        self,
        parameters: Mapping[str, Rule] | None = None,
        activations: Mapping[str, Rule] | None = None,
    ) -> None:
        fixed = {"batch", "length"}
        object.__setattr__(self, "parameters", _merged("AXIS_RULES", RULES, parameters or {}))
        activations = _merged("ACTIVATION_AXIS_RULES", ACTIVATION_RULES, activations or {}, fixed)
        object.__setattr__(self, "activations", activations)


def _merged(
    table: str, rules: Mapping[str, Rule], changes: Mapping[str, Any], fixed: Iterable[str] = ()
) -> dict[str, Rule]:
    merged = dict(rules)
    known = [name for name in rules if name not in fixed]
    for name, rule in changes.items():
        if name not in known:
            hint = nearest(str(name), known, most=1)
            raise MeshError(
                f"{table}: no logical axis {name!r} to change; the axes are {', '.join(known)}{hint}"
            )
        axes = tuple(rule) if isinstance(rule, tuple | list) else rule
        if not isinstance(axes, str | tuple | None):
            raise MeshError(f"{table}: {name!r}: {rule!r} is no name of a mesh axis, list of names, or None")
        for axis in _axes(axes):
            if axis not in AXES:
                raise MeshError(f"{table}: {name!r}: no mesh axis {axis!r}; the axes are {', '.join(AXES)}")
        if len(set(_axes(axes))) < len(_axes(axes)):
            raise MeshError(f"{table}: {name!r} names a mesh axis twice: {rule!r}")
        merged[name] = axes
    return merged


def _axes(rule: Rule) -> tuple[str, ...]:
    """
    >>> _axes("fsdp"), _axes(("data", "fsdp")), _axes(None)
    (('fsdp',), ('data', 'fsdp'), ())
    """
    return () if rule is None else (rule,) if isinstance(rule, str) else rule


STANDARD_RULES = AxisRules()


def _partition(mesh: Mesh, rules: Sequence[Rule], shape: Sequence[int]) -> PartitionSpec:
    """Shard each dimension by its rule, unless the size does not divide or a mesh axis is already used."""
    entries: list[Rule] = []
    taken: set[str] = set()
    for rule, size in zip(rules, shape, strict=True):
        axes = _axes(rule)
        fits = bool(axes) and not taken.intersection(axes) and size % prod(mesh.shape[a] for a in axes) == 0
        entries.append(rule if fits else None)
        taken.update(axes if fits else ())
    return PartitionSpec(*entries)


def parse_mesh(description: str, device_count: int) -> dict[str, int]:
    """Parse a mesh description into the sizes of all five axes.

    Raises:
      MeshError: it cannot be parsed, or does not fit the number of devices.

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
    """Make the mesh over the given devices; None: all.

    TPU slices (or GPU hosts) connected by a data-centre network lie along the outermost row axes, so that
    only these cross the slow network.

    Raises:
      MeshError: the description does not fit the devices.
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
        between = slices_by_axis(sizes, slices, description)
        inside = tuple(size // across for size, across in zip(shape, between, strict=True))
        grid = mesh_utils.create_hybrid_device_mesh(inside, between, devices=devices)
    return Mesh(grid, AXES)


def slices_by_axis(sizes: Mapping[str, int], slices: int, description: str = "") -> tuple[int, ...]:
    """How many slices lie along each axis: row axes only, the outermost first.

    >>> slices_by_axis({"replica": 2, "data": 1, "fsdp": 8, "tensor": 4, "sequence": 1}, 4)
    (2, 1, 2, 1, 1)
    """
    left, between = slices, dict.fromkeys(AXES, 1)
    for name in ROW_AXES:
        between[name] = gcd(sizes[name], left)
        left //= between[name]
    if left > 1:
        raise MeshError(
            f"mesh {description!r}: {slices} slices need replica x data x fsdp to be a multiple of {slices}: "
            f"tensor and sequence must stay within a slice; try replica={slices}"
        )
    return tuple(between[name] for name in AXES)


def describe(mesh: Mesh) -> str:
    """A line for the log: ``8 TPU v5 lite: fsdp=4 x tensor=2``."""
    kinds = sorted({device.device_kind for device in mesh.devices.flat})
    parts = [f"{name}={size}" for name, size in mesh.shape.items() if size > 1] or ["one device"]
    return f"{mesh.size} {'/'.join(kinds)}: {' x '.join(parts)}"


def row_shards(mesh: Mesh) -> int:
    """The number of shards of the rows of a batch."""
    return prod(mesh.shape[name] for name in ROW_AXES)


def check_batch(mesh: Mesh, batch_rows: int, microbatches: int = 1) -> None:
    """Refuse a batch whose rows do not divide over the microbatches and the devices.

    Raises:
      MeshError: names the next batch size that does.
    """
    parts = row_shards(mesh) * microbatches
    if batch_rows % parts:
        up = -(-batch_rows // parts) * parts
        raise MeshError(
            f"BATCH_SIZE={batch_rows} rows cannot be divided over {row_shards(mesh)} devices"
            f" x {microbatches} microbatches; use {up}, or another MESH"
        )


def partition_spec(
    mesh: Mesh,
    logical_axes: Sequence[str | None],
    shape: Sequence[int],
    rules: AxisRules = STANDARD_RULES,
) -> PartitionSpec:
    """How a parameter with these logical axes is sharded.

    A dimension that its mesh axes do not divide (two key heads on four devices) is not sharded, which costs
    only memory.

    Raises:
      MeshError: there is no such logical axis.
    """
    if len(logical_axes) != len(shape):
        raise MeshError(f"axes {tuple(logical_axes)} do not fit shape {tuple(shape)}")
    known = rules.parameters
    for name in logical_axes:
        if name is not None and name not in known:
            raise MeshError(f"unknown logical axis {name!r}; mesh.RULES has {', '.join(known)}")
    return _partition(mesh, [None if name is None else known[name] for name in logical_axes], shape)


def parameter_shardings(
    mesh: Mesh, logical_axes: Any, parameters: Any, rules: AxisRules = STANDARD_RULES
) -> Any:
    """The `NamedSharding` of every parameter.

    Args:
      mesh: the mesh.
      logical_axes: tree like `parameters` with a tuple of axis names at each leaf.
      parameters: arrays or shapes.
      rules: how logical axes map to the mesh.
    """
    return jax.tree.map(
        lambda axes, leaf: NamedSharding(mesh, partition_spec(mesh, axes, leaf.shape, rules)),
        logical_axes,
        parameters,
        is_leaf=lambda node: isinstance(node, tuple),
    )


def activation_constraint(
    mesh: Mesh, rules: AxisRules = STANDARD_RULES
) -> Callable[[jax.Array, tuple[str, ...]], jax.Array]:
    """The `Decoder(constrain=...)` that shards activations over a mesh.

    Without it the compiler may gather the rows of a batch instead of the shards of a weight.
    """

    def constrain(activation: jax.Array, axes: tuple[str, ...]) -> jax.Array:
        spec = _partition(mesh, [rules.activations[name] for name in axes], activation.shape)
        return jax.lax.with_sharding_constraint(activation, NamedSharding(mesh, spec))

    return constrain


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of scalars, and of everything else that each device holds in full."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh, name: str) -> NamedSharding:
    """The sharding of a batch array: rows over the row axes, length over ``sequence``.

    Loss positions and what belongs to documents are [rows, K] and index into the whole length, so K is never
    sharded.
    """
    slots = name == "decoder_loss_positions" or name.startswith("decoder_document_")
    along = None if slots or mesh.shape["sequence"] == 1 else "sequence"
    return NamedSharding(mesh, PartitionSpec(ROW_AXES, along))


def host_rows(mesh: Mesh, batch_rows: int) -> list[int]:
    """The rows of a batch that the devices of this process hold, ascending: what its loader must produce.

    Processes that share rows (a tensor or sequence axis that crosses hosts) each get all of them.
    """
    sharding = NamedSharding(mesh, PartitionSpec(ROW_AXES))
    held: set[int] = set()
    for index in sharding.addressable_devices_indices_map((batch_rows,)).values():
        held.update(range(*index[0].indices(batch_rows)) if index else ())
    return sorted(held)


def to_devices(mesh: Mesh, batch: Mapping[str, np.ndarray], global_rows: int) -> dict[str, jax.Array]:
    """Turn the rows of this process into global arrays, sharded over the mesh.

    Args:
        mesh: the mesh.
        batch: arrays [rows of this process, ...]: the rows of `host_rows`.
        global_rows: rows of the batch over all processes.
    """
    rows = np.asarray(host_rows(mesh, global_rows))

    def place(name: str, array: np.ndarray) -> jax.Array:
        def piece(index: tuple[slice, ...] | None) -> np.ndarray:
            assert index is not None  # always given for a mesh
            # The rows of a device are contiguous here too: every row between them is on this host.
            first = int(np.searchsorted(rows, index[0].start or 0))
            count = len(range(*index[0].indices(global_rows)))
            return array[(slice(first, first + count), *index[1:])]

        shape = (global_rows, *array.shape[1:])
        return jax.make_array_from_callback(shape, batch_sharding(mesh, name), piece)

    return {name: place(name, array) for name, array in batch.items()}
