"""Reads FLOPs, memory traffic, collectives and estimated cycles of a compiled step from its HLO text.

XLA's own `cost_analysis` counts the body of a loop once. Our layers are one loop, so its figures are too low
by a factor of about the number of layers; here every instruction counts once per iteration. The text of a
program looks like this (shortened):

    %body (p: (s32[], f32[8,16])) -> (s32[], f32[8,16]) {
      %w = f32[16,32]{1,0} all-gather(%shard), dimensions={0}
      ROOT %y = f32[8,32]{1,0} fusion(%x, %w), kind=kOutput, calls=%product, backend_config={... "40017" ...}
    }
    ENTRY %main ... { ... while(%start), condition=%cond, body=%body ... }
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from math import prod

BYTES = {
    "pred": 1, "s8": 1, "u8": 1, "f8e4m3fn": 1, "f8e5m2": 1, "s4": 0.5, "u4": 0.5, "bf16": 2, "f16": 2,
    "s16": 2, "u16": 2, "f32": 4, "s32": 4, "u32": 4, "f64": 8, "s64": 8, "u64": 8, "token": 0,
}  # fmt: skip
COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
# These move and compute nothing by themselves.
FREE = frozenset(
    ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call",
     "after-all", "opt-barrier", "copy-start", "slice-start", "dynamic-slice-start", "async-start")
)  # fmt: skip

_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*)$")
_SHAPE = re.compile(r"([a-z]\w*)\[([\d,]*)\](\{[^}]*\})?")
_OPCODE = re.compile(r"\b([a-z][a-z0-9\-]*)\(")
_CALLED = re.compile(r"\b(calls|to_apply|body|condition|branch_computations)=(\{[^}]*\}|%?[\w.\-]+)")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_NAMES = re.compile(r"%([\w.\-]+)")


@dataclasses.dataclass(frozen=True)
class Shape:
    """The shape of an array."""

    dtype: str
    dims: tuple[int, ...]
    on_chip: bool = False  # not in the device's main memory: "S(1)" in its layout

    @property
    def bytes(self) -> float:
        """Size without layout padding."""
        return prod(self.dims) * BYTES.get(self.dtype, 4)


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation."""

    name: str
    shapes: tuple[Shape, ...]  # of the result; several for a tuple
    opcode: str
    operands: tuple[str, ...]
    called: Mapping[str, tuple[str, ...]]  # calls, body, condition, ... -> names of computations
    text: str

    @property
    def cycles(self) -> int:
        """The compiler's estimate for this instruction; 0 if it has none."""
        match = _CYCLES.search(self.text)
        return int(match[1]) if match else 0

    @property
    def bytes(self) -> float:
        """Size of the part of the result that is in main memory."""
        return sum(shape.bytes for shape in self.shapes if not shape.on_chip)


@dataclasses.dataclass(frozen=True)
class Collective:
    """A transfer between devices with result `shape`, `count` times per step."""

    kind: str
    shape: Shape
    count: int
    group: int  # participating devices; 0 if the text does not say
    source: str  # name of the operation in the model
    fused: bool = False  # a reduce-scatter written as an all-reduce: `shape` is the whole array

    @property
    def sent(self) -> float:
        """Bytes that a device sends per step if the devices of the group form a ring."""
        others = (self.group - 1) / self.group if self.group else 1.0
        whole = self.shape.bytes
        if self.kind == "reduce-scatter" and not self.fused:
            whole *= self.group or 1
        factor = {"all-reduce": 2 * others, "collective-permute": 1.0}.get(self.kind, others)
        return self.count * whole * factor


class Program:
    """A parsed program; every figure is per device and step."""

    def __init__(self, text: str) -> None:
        self.computations, self.entry = _parse(text)

    @cached_property
    def times(self) -> dict[str, int]:
        """How many times each computation runs per step."""
        times = dict.fromkeys(self.computations, 0)
        waiting = [(self.entry, 1)]
        while waiting:
            name, count = waiting.pop()
            if name not in self.computations:
                continue
            times[name] += count
            for instruction in self.computations[name].values():
                for kind, names in instruction.called.items():
                    if kind == "to_apply" and instruction.opcode != "call":
                        continue  # the reducer of a reduction, applied per element
                    trips = self.trips(instruction) if instruction.opcode == "while" else 1
                    waiting += [(called, count * trips) for called in names]
        return times

    def trips(self, loop: Instruction) -> int:
        """Iterations of a while loop: as the compiler recorded, else from bound and stride of its counter."""
        noted = _TRIPS.search(loop.text)
        if noted:
            return int(noted[1])
        condition = self.computations[loop.called["condition"][0]]
        test = next((item for item in condition.values() if item.opcode == "compare"), None)
        if test is None:
            return 1
        constants = [_constant(condition.get(name)) for name in test.operands]
        bound = next((value for value in constants if value is not None), None)
        counter = next(
            (condition[name] for name in test.operands if _index(condition.get(name)) is not None), None
        )
        if bound is None or counter is None:
            return 1
        body = self.computations[loop.called["body"][0]]
        stepped = body.get(list(body.values())[-1].operands[_index(counter) or 0])
        strides = [_constant(body.get(name)) for name in stepped.operands] if stepped else []
        stride = next((value for value in strides if value), 1)
        return max(1, -(-bound // stride))

    def instructions(self) -> Iterator[tuple[str, Instruction, int]]:
        """(computation, instruction, times it runs) of every instruction that runs."""
        for name, count in self.times.items():
            if count:
                for instruction in self.computations[name].values():
                    yield name, instruction, count

    @cached_property
    def flops(self) -> float:
        """Floating-point operations of matrix products and convolutions."""
        return sum(
            count * self._product_flops(computation, instruction)
            for computation, instruction, count in self.instructions()
            if instruction.opcode in ("dot", "convolution")
        )

    @cached_property
    def cycles(self) -> int:
        """The compiler's estimated cycles (TPU only); collectives and custom kernels are not in it."""
        return sum(count * instruction.cycles for _, instruction, count in self.instructions())

    @cached_property
    def traffic(self) -> float:
        """Bytes read and written by all instructions; a fusion counts with its operands and result."""
        inner = self._inside_fusions
        total = 0.0
        for computation, instruction, count in self.instructions():
            if computation in inner or instruction.opcode in FREE or instruction.opcode in COLLECTIVES:
                continue
            total += count * self._operand_and_result_bytes(computation, instruction)
        return total

    def collectives(self) -> list[Collective]:
        """Every transfer between devices, including those in fusions and asynchronous pairs.

        A transfer that the compiler interleaves with other work appears in every part of that work, with the
        same channel: it counts as often as the part that runs least.
        """
        found: dict[str, Collective] = {}
        for computation, instruction, count in self.instructions():
            kind = instruction.opcode.removesuffix("-start")
            if kind not in COLLECTIVES:
                continue
            # A start returns (operand, result, ...); other instructions return their result.
            shapes = instruction.shapes
            if instruction.opcode.endswith("-start") and len(shapes) > 1:
                shapes = shapes[1:2]
            # On TPUs a reduce-scatter is an all-reduce of which each device keeps a slice.
            fused = kind == "all-reduce" and "all-reduce-scatter" in computation
            kind = "reduce-scatter" if fused else kind
            channel = re.search(r"channel_id=(\d+)", instruction.text)
            name = re.search(r'op_name="([^"]*)"', instruction.text)
            for index, shape in enumerate(shapes):
                key = f"{kind} {channel[1] if channel else instruction.name} {index}"
                known = found.get(key)
                found[key] = Collective(
                    kind,
                    shape,
                    min(count, known.count) if known else count,
                    _group_size(instruction.text),
                    name[1] if name else "",
                    fused,
                )
        return list(found.values())

    def custom_calls(self, target: str) -> int:
        """How many times kernels of this kind run per step."""
        return sum(
            count
            for _, instruction, count in self.instructions()
            if instruction.opcode == "custom-call" and f'custom_call_target="{target}"' in instruction.text
        )

    @cached_property
    def _inside_fusions(self) -> set[str]:
        return {
            name
            for instructions in self.computations.values()
            for instruction in instructions.values()
            if instruction.opcode == "fusion"
            for names in instruction.called.values()
            for name in names
        }

    def _operand_and_result_bytes(self, computation: str, instruction: Instruction) -> float:
        """Bytes of the operands and the result; of an operand that is only sliced, those of the slice."""
        known = self.computations[computation]
        if instruction.opcode in ("dynamic-slice", "gather", "slice"):
            return 2 * instruction.bytes
        if instruction.opcode == "dynamic-update-slice":
            update = known.get(instruction.operands[1])
            return 2 * (update.bytes if update else instruction.bytes)
        operands = [known[name].bytes if name in known else 0.0 for name in instruction.operands]
        result = instruction.bytes
        if instruction.opcode == "fusion":
            body = list(self.computations.get(instruction.called.get("calls", ("",))[0], {}).values())
            operands = [_read_by(body, index, whole) for index, whole in enumerate(operands)]
            root = body[-1] if body else None
            if root is not None and root.opcode == "dynamic-update-slice":
                update = {item.name: item for item in body}.get(root.operands[1])
                result = update.bytes if update else result
        return result + sum(operands)

    def _product_flops(self, computation: str, instruction: Instruction) -> float:
        known = self.computations[computation]
        out = prod(instruction.shapes[0].dims)
        left, right = (known[name].shapes[0].dims for name in instruction.operands[:2])
        if instruction.opcode == "dot":
            contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", instruction.text)
            dims = [int(dim) for dim in contracted[1].split(",") if dim] if contracted else []
            return 2.0 * out * prod(left[dim] for dim in dims)
        return _convolution_flops(instruction, left, right)


def _constant(instruction: Instruction | None) -> int | None:
    match = re.search(r"constant\((\d+)\)", instruction.text) if instruction is not None else None
    return int(match[1]) if match else None


def _index(instruction: Instruction | None) -> int | None:
    match = re.search(r", index=(\d+)", instruction.text) if instruction is not None else None
    return (
        int(match[1])
        if match and instruction is not None and instruction.opcode == "get-tuple-element"
        else None
    )


def _read_by(body: list[Instruction], index: int, whole: float) -> float:
    """Bytes that a fusion reads from its `index`-th operand; less than all if it only takes slices."""
    parameter = next(
        (item.name for item in body if item.opcode == "parameter" and f"parameter({index})" in item.text),
        None,
    )
    users = [item for item in body if parameter in item.operands]
    if users and all(item.opcode in ("dynamic-slice", "slice", "gather") for item in users):
        return min(whole, sum(item.bytes for item in users))
    if users and all(
        item.opcode == "dynamic-update-slice" and item.operands[0] == parameter for item in users
    ):
        return 0.0  # updated in place
    return whole


def _convolution_flops(instruction: Instruction, left: tuple[int, ...], right: tuple[int, ...]) -> float:
    """2 x outputs x input features x window positions on a value (TPUs express products like this)."""
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", instruction.text)
    if labels is None:
        return 0.0
    lhs, rhs, out = labels[1], labels[2], labels[3]
    output = instruction.shapes[0].dims
    window = re.search(r"window=\{([^}]*)\}", instruction.text)
    fields = dict(part.split("=") for part in window[1].split()) if window else {}
    spatial = sum(1 for letter in out if letter.isdigit())

    def per_dimension(name: str, default: str) -> list[str]:
        return fields[name].split("x") if name in fields else [default] * spatial

    sizes, strides = per_dimension("size", "1"), per_dimension("stride", "1")
    pads, dilations = per_dimension("pad", "0_0"), per_dimension("lhs_dilate", "1")
    spread = per_dimension("rhs_dilate", "1")
    valid = 1
    for dim in range(spatial):
        valid *= _valid_positions(
            int(left[lhs.index(str(dim))]), int(output[out.index(str(dim))]), int(sizes[dim]),
            int(strides[dim]), int(pads[dim].split("_")[0]), int(dilations[dim]), int(spread[dim]),
        )  # fmt: skip
    groups = re.search(r"batch_group_count=(\d+)", instruction.text)
    batch = left[lhs.index("b")] // (int(groups[1]) if groups else 1)
    return 2.0 * batch * output[out.index("f")] * right[rhs.index("i")] * valid


def _valid_positions(
    size: int, outputs: int, window: int, stride: int, pad: int, dilate: int, spread: int
) -> int:
    """Number of (output, window position) pairs on an input value, not on padding or between values.

    >>> _valid_positions(size=4, outputs=4, window=4, stride=3, pad=0, dilate=4, spread=1)  # a batch of 4
    4
    """
    if window == 1:
        return outputs
    reach = (size - 1) * dilate + 1
    count = 0
    for output in range(outputs):
        for tap in range(window):
            at = output * stride + tap * spread - pad
            count += 0 <= at < reach and at % dilate == 0
    return count


def _group_size(text: str) -> int:
    listed = re.search(r"replica_groups=\{\{([\d,]+)\}", text)
    if listed:
        return listed[1].count(",") + 1
    iota = re.search(r"replica_groups=\[\d+,(\d+)\]", text)
    if iota:
        return int(iota[1])
    named = re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", text)
    if named:
        sizes = dict(part.split("=") for part in named[1].split(","))
        return prod(int(sizes[axis.strip()]) for axis in named[2].split(","))
    return 0


def _parse(text: str) -> tuple[dict[str, dict[str, Instruction]], str]:
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        header = _COMPUTATION.match(line)
        if header and "=" not in line.split("(", 1)[0]:
            current = computations.setdefault(header[1], {})
            if line.startswith("ENTRY"):
                entry = header[1]
        elif line == "}":  # not "}}, metadata=...", which continues a kernel's configuration
            current = None
        elif current is not None and (match := _INSTRUCTION.match(line)):
            instruction = _instruction(match[1], match[2])
            current[instruction.name] = instruction
    return computations, entry


def _instruction(name: str, rest: str) -> Instruction:
    # The type comes first, "(f32[2]{0:T(128)}, s32[])" or "f32[2,3]{1,0}"; the first word followed by a
    # parenthesis is the operation. T( and S( of layouts are upper case, so they do not match.
    opcode = _OPCODE.search(rest)
    if opcode is None:
        return Instruction(name, (), "", (), {}, rest)
    shapes = tuple(
        Shape(match[1], tuple(int(dim) for dim in match[2].split(",") if dim), "S(" in (match[3] or ""))
        for match in _SHAPE.finditer(rest[: opcode.start()])
    )
    depth, end = 1, opcode.end()
    while depth and end < len(rest):
        depth += {"(": 1, ")": -1}.get(rest[end], 0)
        end += 1
    attributes = rest[end:].partition(", metadata=")[0] + " " + rest[end:].partition("backend_config=")[2]
    called = {
        match[1]: tuple(part.strip().lstrip("%") for part in match[2].strip("{}").split(","))
        for match in _CALLED.finditer(attributes)
    }
    operands = tuple(_NAMES.findall(rest[opcode.end() : end - 1]))
    return Instruction(name, shapes, opcode[1], operands, called, rest)
