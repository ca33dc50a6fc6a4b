"""Batch ragged sequences into arrays of few shapes, so that jit compiles only a few times.

Every new array shape costs a compilation, and every padded position costs arithmetic. Both are bounded:

* `ladder` lists the allowed lengths of arrays (64, 96, 128, 192, ...: steps of 1.5x and 1.33x), so at most a
  third of a padded sequence is padding, and a limit of 32,768 tokens needs 19 shapes;
* `length_batches` groups sequences of similar length into padded batches (generation: one sequence per row);
* `packed_batches` puts several sequences into a row (scoring: rows are 95-100 % full).

All of it is plain Python on integers, independent of tokens, models and devices.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WIDE = 1024  # rows of this length still cost little more for their attention


def ladder(maximum: int, smallest: int = 64) -> tuple[int, ...]:
    """Array lengths up to the first that is at least `maximum`: powers of two and the midpoints between them.

    >>> ladder(300, smallest=64)
    (64, 96, 128, 192, 256, 384)
    """
    if maximum < 1 or smallest < 2:
        raise ValueError(f"ladder needs maximum >= 1 and smallest >= 2, got {maximum} and {smallest}")
    steps: list[int] = []
    power = 1 << (smallest - 1).bit_length()
    while not steps or steps[-1] < maximum:
        steps.append(power)
        if steps[-1] < maximum:
            steps.append(power + power // 2)
        power *= 2
    return tuple(steps)


def bucket(length: int, steps: Sequence[int]) -> int:
    """The smallest step that is at least `length`.

    >>> bucket(65, (64, 96, 128)), bucket(64, (64, 96, 128))
    (96, 64)
    """
    index = bisect.bisect_left(steps, length)
    if index == len(steps):
        raise ValueError(f"a sequence of {length} tokens exceeds the largest array length, {steps[-1]}")
    return steps[index]


def rows_for(length: int, batch_tokens: int, parts: int = 1) -> int:
    """Rows of a batch: `parts` times the largest power of two with rows * length <= batch_tokens, or `parts`.

    >>> rows_for(96, 1024), rows_for(4096, 1024), rows_for(96, 1024, parts=3)
    (8, 1, 6)
    """
    return parts << max(0, (batch_tokens // (max(1, length) * parts)).bit_length() - 1)


def power_of_two(count: int, smallest: int = 1) -> int:
    """The smallest power of two that is at least `count` and `smallest`.

    >>> power_of_two(5), power_of_two(2, smallest=8)
    (8, 8)
    """
    return max(smallest, 1 << max(0, count - 1).bit_length())


@dataclass(frozen=True)
class LengthBatch:
    """One sequence per row: `indices[r]` is in row r of an array [rows, length]; later rows are empty."""

    indices: tuple[int, ...]
    rows: int
    length: int


def length_batches(
    lengths: Sequence[int],
    batch_tokens: int,
    *,
    extra: int = 0,
    smallest: int = 64,
    parts: int = 1,
    shapes: int = 3,
) -> list[LengthBatch]:
    """Batches of similar length, longest first, so that a lack of memory shows at once.

    The last batch of a length may be smaller: a half, a quarter, ... of the rows of a full one.

    Args:
      lengths: of the sequences.
      batch_tokens: most positions per batch.
      extra: tokens that every row needs in addition to its sequence (the answer to be generated).
      smallest: shortest array length.
      parts: devices that shard the rows; the number of rows is a multiple of it.
      shapes: most row counts of a length. Fewer are compiled less often; more leave fewer rows empty.

    >>> [(b.indices, b.rows, b.length) for b in length_batches([5, 70, 3, 4], 256, smallest=64)]
    [((1,), 1, 96), ((0, 3, 2), 4, 64)]
    """
    if not lengths:
        return []
    steps = ladder(max(lengths), smallest)
    groups: dict[int, list[int]] = {}
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        groups.setdefault(bucket(lengths[index], steps), []).append(index)
    batches = []
    for length, members in groups.items():
        full = rows_for(length + extra, batch_tokens, parts)
        for start in range(0, len(members), full):
            part = tuple(members[start : start + full])
            batches.append(LengthBatch(part, _rows(len(part), full, parts, shapes), length))
    return batches


@dataclass(frozen=True)
class PackedBatch:
    """Several sequences per row: `bins[r]` are those of row r, in order, of an array [rows, length]."""

    bins: tuple[tuple[int, ...], ...]
    rows: int
    length: int

    @property
    def indices(self) -> Iterator[int]:
        return (index for one in self.bins for index in one)


def packed_batches(
    lengths: Sequence[int],
    batch_tokens: int,
    *,
    smallest: int = 256,
    max_segments: int = 64,
    parts: int = 1,
    shapes: int = 3,
    even: float = 12_288.0,
    within: bool = False,
) -> list[PackedBatch]:
    """Best-fit-decreasing bin packing into rows whose length depends on their longest sequence.

    The longest remaining sequence opens a row of about twice its length. Every shorter one goes to the open
    row that it fills best. Short prompts thus do not pay for the quadratic attention of the longest prompt,
    and the gaps after long ones are filled. Rows are at most as long as the longest sequence of all needs, or
    as two of it need (up to `WIDE`), whichever costs less: sequences of 187 tokens fill three quarters of
    rows of 256, and nearly all of rows of 384.

    Args:
      lengths: of the sequences.
      batch_tokens: most positions per batch.
      smallest: shortest row.
      max_segments: most sequences per row.
      parts: devices that shard the rows; the number of rows is a multiple of it.
      shapes: most row counts of a length; see `length_batches`.
      even, within: see `cost`.

    >>> [(b.bins, b.length) for b in packed_batches([187, 186, 185, 184], 1024)]
    [(((0, 1), (2, 3)), 384)]
    >>> [(b.bins, b.length) for b in packed_batches([500, 300, 200, 150, 60], 2048)]
    [(((0,), (1, 2)), 512), (((3, 4),), 384)]
    """
    if not lengths:
        return []
    longest = max(lengths)
    tried = [
        _packed(lengths, batch_tokens, ladder(widest, smallest), max_segments, parts, shapes)
        for widest in sorted({longest, max(longest, min(2 * longest, WIDE))})
    ]
    return min(tried, key=lambda found: cost(found, lengths, even, within))


def cost(batches: Sequence[PackedBatch], lengths: Sequence[int], even: float, within: bool = False) -> float:
    """What batches cost, in positions without attention.

    Args:
      batches: from `packed_batches`.
      lengths: of the sequences.
      even: the position whose attention to those before it costs as much as the rest of its work.
      within: attention computes nothing outside of a sequence: long rows cost no more than short ones.

    >>> batches = [PackedBatch(((0, 1),), rows=1, length=384)]
    >>> cost(batches, [187, 186], even=1000.0), cost(batches, [187, 186], even=1000.0, within=True)
    (457.728, 418.7825)
    """
    attended = sum(batch.rows * batch.length**2 for batch in batches)
    if within:
        attended = sum(lengths[index] ** 2 for batch in batches for index in batch.indices)
    return sum(batch.rows * batch.length for batch in batches) + attended / 2 / even


def _packed(
    lengths: Sequence[int],
    batch_tokens: int,
    steps: Sequence[int],
    max_segments: int,
    parts: int,
    shapes: int,
) -> list[PackedBatch]:
    """`packed_batches` in rows of these lengths."""
    room: list[tuple[int, int]] = []  # (free positions, row number), sorted
    rows: list[list[int]] = []
    capacities: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        need = lengths[index]
        at = bisect.bisect_left(room, (need, -1))
        if at < len(room):
            free, row = room.pop(at)
        else:
            free, row = bucket(min(2 * need, steps[-1]), steps), len(rows)
            rows.append([])
            capacities.append(free)
        rows[row].append(index)
        if free - need > 0 and len(rows[row]) < max_segments:
            bisect.insort(room, (free - need, row))
    groups: dict[int, list[tuple[int, ...]]] = {}
    for row, members in enumerate(rows):
        groups.setdefault(capacities[row], []).append(tuple(members))
    batches = []
    for length, bins in groups.items():
        full = rows_for(length, batch_tokens, parts)
        for start in range(0, len(bins), full):
            part = tuple(bins[start : start + full])
            batches.append(PackedBatch(part, _rows(len(part), full, parts, shapes), length))
    return batches


def _rows(count: int, full: int, parts: int, shapes: int) -> int:
    """Rows of a batch that needs `count`: of `full`, its half, its quarter, ..., the least that is enough."""
    least = max(1, full // parts >> (shapes - 1))
    return min(full, parts * power_of_two(-(-count // parts), smallest=least))
