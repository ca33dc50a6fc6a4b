"""Score given continuations without generating.

There are two kinds of scores:

* `Scorer.loglikelihood`: the summed log-probability of each of several continuations of a prompt. The prompt
  is encoded once. Its continuations follow it in the same row as *branches* that do not attend to each other:

      tokens        p0 p1 p2 a0 a1 b0        prompt p, continuations a = a0 a1 a2 and b = b0 b1
      segment_ids    1  1  1  1  1  1        one segment: one prompt
      branch_ids     0  0  0  1  1  2        0 = visible to all, 1 and 2 = visible to themselves
      positions      0  1  2  3  4  3        each branch continues where the prompt ends

  The last token of a continuation is omitted, because nothing that it predicts is scored.

* `Scorer.label_logits`: the logits of a few one-token labels after each prompt (Yes and No of a reranker).
  Prompts have no branches, or, where several begin alike (same instruction, same query), the common prefix is
  the prompt and the rest of each is a branch.

Several prompts share a row as separate segments, rows contain 95-100 % real tokens, and the head runs only on
the positions that are scored. Logits and normalisers are float32, whatever the compute dtype is.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from inters_jax.inference.bucketing import PackedBatch, cost, packed_batches, power_of_two
from inters_jax.inference.placement import default_row_shapes, row_placement

Tokens = Sequence[int]
Progress = Callable[[int], None]  # called with the number of finished prompts of a batch


@dataclass(frozen=True)
class Piece:
    """A prompt with its branches, and the logits to compute.

    `asked` lists (position in the piece, candidate tokens): the logits of the candidates as the next token
    after that position. Positions count the prompt first, then branch after branch.
    """

    prompt: Tokens
    branches: tuple[Tokens, ...]
    asked: tuple[tuple[int, tuple[int, ...]], ...]

    @property
    def length(self) -> int:
        return len(self.prompt) + sum(map(len, self.branches))


@dataclass(frozen=True)
class Assembled:
    """A batch as arrays: four of int32 [rows, length], and what is asked of the flattened positions."""

    tokens: np.ndarray
    segment_ids: np.ndarray
    branch_ids: np.ndarray
    positions: np.ndarray
    asked: np.ndarray  # int32 [slots], index into rows * length; 0 in unused slots
    candidates: np.ndarray  # int32 [slots, width]; token 0 in unused places
    owners: list[tuple[int, int]]  # (piece, question) of each used slot


def assemble(batch: PackedBatch, pieces: Sequence[Piece], width: int) -> Assembled:
    """Arrange the pieces of a batch in rows.

    >>> piece = Piece(prompt=(7, 8, 9), branches=((4, 5), (6,)), asked=((2, (4, 6)), (3, (5,))))
    >>> out = assemble(PackedBatch(bins=((0,),), rows=1, length=8), [piece], width=2)
    >>> print(out.tokens[0], out.segment_ids[0], out.branch_ids[0], out.positions[0], sep=chr(10))
    [7 8 9 4 5 6 0 0]
    [1 1 1 1 1 1 0 0]
    [0 0 0 1 1 2 0 0]
    [0 1 2 3 4 3 0 0]
    >>> out.asked[:2].tolist(), out.candidates[:2].tolist()
    ([2, 3], [[4, 6], [5, 0]])
    """
    shape = (batch.rows, batch.length)
    tokens, segments, branches, positions = (np.zeros(shape, np.int32) for _ in range(4))
    asked: list[int] = []
    candidates: list[tuple[int, ...]] = []
    owners: list[tuple[int, int]] = []
    for row, members in enumerate(batch.bins):
        at = 0
        for segment, index in enumerate(members, 1):
            piece, start = pieces[index], at
            for number, part in enumerate((piece.prompt, *piece.branches)):
                end = at + len(part)
                tokens[row, at:end] = part
                branches[row, at:end] = number
                first = 0 if number == 0 else len(piece.prompt)
                positions[row, at:end] = np.arange(first, first + len(part))
                at = end
            segments[row, start:at] = segment
            for question, (offset, wanted) in enumerate(piece.asked):
                asked.append(row * batch.length + start + offset)
                candidates.append(wanted)
                owners.append((index, question))
    slots = power_of_two(len(asked), smallest=8)
    where = np.zeros(slots, np.int32)
    where[: len(asked)] = asked
    wanted_ids = np.zeros((slots, width), np.int32)
    for slot, wanted in enumerate(candidates):
        wanted_ids[slot, : len(wanted)] = wanted
    return Assembled(tokens, segments, branches, positions, where, wanted_ids, owners)


class Scorer:
    """Score continuations with a decoder.

    Args:
      loaded: a `LoadedModel` (`.model`, a Decoder; `.config`), see `inters_jax.models.loading`.
      batch_tokens: positions per batch; determines memory use (activations of batch_tokens x hidden_size).
      head_block: positions whose logits exist at once (head_block x vocab_size float32).
      max_row: the longest row with branches; a prompt with more continuations is encoded several times.
    """

    def __init__(self, loaded: Any, *, batch_tokens: int = 4096, head_block: int = 128, max_row: int = 4096):
        self.config = loaded.config
        self.batch_tokens, self.max_row = batch_tokens, max_row
        # Every compiled (rows, length), and (rows, length, slots, width) of the head.
        self.shapes: set[tuple[int, ...]] = set()
        self.real_tokens = self.padded_tokens = 0
        self._even, self._within = even_length(loaded.config), loaded.model.attend.within_segments
        graph, self._params = nnx.split(loaded.model, nnx.Param)
        self._parts_of_rows, self._place, self._readable = row_placement(self._params)

        @jax.jit
        def encode(params: Any, tokens: jax.Array, rows: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
            segments, positions, branches = rows
            hidden = nnx.merge(graph, params).hidden(tokens, segments, positions, branch_ids=branches)
            return hidden.reshape(-1, hidden.shape[-1])

        @jax.jit
        def ask(
            params: Any, hidden: jax.Array, where: jax.Array, wanted: jax.Array
        ) -> tuple[jax.Array, jax.Array]:
            model = nnx.merge(graph, params)

            def block(part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
                logits = model.logits(hidden[part[0]]).astype(jnp.float32)
                return jnp.take_along_axis(logits, part[1], axis=1), jax.nn.logsumexp(logits, axis=1)

            size = min(head_block, where.shape[0])
            if where.shape[0] == size:
                return block((where, wanted))
            blocks = where.reshape(-1, size), wanted.reshape(-1, size, wanted.shape[1])
            picked, total = jax.lax.map(block, blocks)
            return picked.reshape(wanted.shape), total.reshape(-1)

        if head_block != power_of_two(head_block):
            raise ValueError(f"head_block must be a power of two, got {head_block}")
        self._encode, self._ask = encode, ask

    @property
    def compilations(self) -> int:
        """The number of array shapes compiled so far.

        At most `default_row_shapes()` x the ladder of lengths, and the same number of small heads.
        """
        return len(self.shapes)

    def use(self, model: Any) -> None:
        """Replace the parameters by others of the same model, without compiling again."""
        self._params = nnx.split(model, nnx.Param)[1]

    def loglikelihood(
        self, items: Sequence[tuple[Tokens, Sequence[Tokens]]], progress: Progress | None = None
    ) -> list[list[float]]:
        """log p(continuation | prompt), summed over the tokens of each continuation.

        Args:
          items: (prompt, continuations).
          progress: called with the number of finished prompts.

        Raises:
          ValueError: tokens are missing or outside the vocabulary.

        >>> # scorer.loglikelihood([([1, 5, 6], [[8, 2], [9, 2]])]) -> [[-3.1, -4.7]]
        """
        pieces: list[Piece] = []
        owners: list[int] = []  # the item of each piece
        serves: list[list[list[tuple[int, int]]]] = []  # per piece and question: (column, continuation)
        for number, (prompt, continuations) in enumerate(items):
            _check_tokens(prompt, f"prompt {number}", self.config.vocab_size)
            for choice, continuation in enumerate(continuations):
                what = f"continuation {choice} of prompt {number}"
                _check_tokens(continuation, what, self.config.vocab_size)
            for part in self._parts(len(prompt), continuations):
                piece, serving = _branching(prompt, [(c, continuations[c]) for c in part])
                pieces.append(piece)
                owners.append(number)
                serves.append(serving)
        sums = [[0.0] * len(continuations) for _, continuations in items]
        left = Counter(owners)
        for index, question, picked, total in self._answers(pieces):
            number = owners[index]
            for column, choice in serves[index][question]:
                sums[number][choice] += float(picked[column]) - float(total)
            if question == len(pieces[index].asked) - 1:
                left[number] -= 1
                if progress and not left[number]:
                    progress(1)
        return sums

    def label_logits(
        self,
        prompts: Sequence[Tokens],
        label_ids: Sequence[int],
        *,
        share_beginnings: bool = True,
        normalised: bool = False,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """The logits of one-token labels as the next token after each prompt, float32 [prompts, labels].

        Args:
          prompts: token sequences.
          label_ids: the labels.
          share_beginnings: encode neighbouring prompts with a common prefix as its branches, where that saves
            tokens. Order the prompts so that similar ones are neighbours (query by query).
          normalised: return log-probabilities instead.
          progress: called with the number of finished prompts.

        Raises:
          ValueError: tokens are missing or outside the vocabulary.
        """
        labels = tuple(int(label) for label in label_ids)
        if not labels:
            raise ValueError("label_logits needs at least one label token")
        _check_tokens(labels, "label_ids", self.config.vocab_size)
        for number, prompt in enumerate(prompts):
            _check_tokens(prompt, f"prompt {number}", self.config.vocab_size)
        groups, pieces = self._grouped(prompts, labels, share_beginnings)
        out = np.full((len(prompts), len(labels)), np.nan, np.float32)
        for index, question, picked, total in self._answers(pieces):
            out[groups[index][question]] = picked[: len(labels)] - (total if normalised else 0)
            if progress:
                progress(1)
        return out

    def _grouped(
        self, prompts: Sequence[Tokens], labels: tuple[int, ...], share_beginnings: bool
    ) -> tuple[list[list[int]], list[Piece]]:
        """Prompts that are encoded together: each alone, in short runs, or in long ones.

        It chooses what packs into the cheapest arrays; longer pieces save tokens but make longer and emptier
        rows.
        """
        options = [[[number] for number in range(len(prompts))]]
        if share_beginnings:
            options += [list(_alike(prompts, self.max_row, self._even * part)) for part in (0.25, 1.0)]
        best: tuple[float, list[list[int]], list[Piece]] | None = None
        for groups in options:
            pieces = [_leaves([prompts[n] for n in group], labels) for group in groups]
            lengths = [piece.length for piece in pieces]
            price = cost(self._packed(lengths), lengths, self._even, self._within)
            if best is None or price < best[0]:
                best = price, groups, pieces
        assert best is not None
        return best[1], best[2]

    def _packed(self, lengths: Sequence[int]) -> list[PackedBatch]:
        parts, shapes = self._parts_of_rows, default_row_shapes()
        return packed_batches(
            lengths, self.batch_tokens, parts=parts, shapes=shapes, even=self._even, within=self._within
        )

    def _parts(self, prompt: int, continuations: Sequence[Tokens]) -> Iterator[list[int]]:
        """The continuations by number, split where a row with all of them would exceed `max_row`."""
        part: list[int] = []
        room = self.max_row - prompt
        for choice, continuation in enumerate(continuations):
            need = len(continuation) - 1
            if part and need > room:
                yield part
                part, room = [], self.max_row - prompt
            part.append(choice)
            room -= need
        if part:
            yield part

    def _answers(self, pieces: Sequence[Piece]) -> Iterator[tuple[int, int, np.ndarray, np.floating[Any]]]:
        """Yield (piece, question, candidate logits, log normaliser), two batches behind the device."""
        if not pieces:
            return
        width = power_of_two(max(len(wanted) for piece in pieces for _, wanted in piece.asked))
        waiting: deque[tuple[list[tuple[int, int]], tuple[jax.Array, jax.Array]]] = deque()
        lengths = [piece.length for piece in pieces]
        for batch in self._packed(lengths):
            arrays = assemble(batch, pieces, width)
            self.shapes |= {(batch.rows, batch.length), (batch.rows, batch.length, *arrays.candidates.shape)}
            self.real_tokens += int(np.count_nonzero(arrays.segment_ids))
            self.padded_tokens += arrays.tokens.size
            where = tuple(map(self._place, (arrays.segment_ids, arrays.positions, arrays.branch_ids)))
            hidden = self._encode(self._params, self._place(arrays.tokens), where)
            answers = self._ask(self._params, hidden, arrays.asked, arrays.candidates)
            waiting.append((arrays.owners, self._readable(answers)))
            if len(waiting) > 2:
                yield from _unpack(*waiting.popleft())
        while waiting:
            yield from _unpack(*waiting.popleft())


def _unpack(
    owners: list[tuple[int, int]], answers: tuple[jax.Array, jax.Array]
) -> Iterator[tuple[int, int, np.ndarray, np.floating[Any]]]:
    picked, total = (np.asarray(array) for array in answers)
    for slot, (piece, question) in enumerate(owners):
        yield piece, question, picked[slot], total[slot]


def _branching(
    prompt: Tokens, continuations: Sequence[tuple[int, Tokens]]
) -> tuple[Piece, list[list[tuple[int, int]]]]:
    """A prompt with its continuations as branches; for each question, the (column, continuation) it serves.

    >>> piece, serves = _branching([1, 5], [(0, [8, 9, 2]), (1, [7])])
    >>> piece.branches, piece.asked, serves
    (([8, 9],), ((1, (8, 7)), (2, (9,)), (3, (2,))), [[(0, 0), (1, 1)], [(0, 0)], [(0, 0)]])
    """
    first_tokens = tuple(int(continuation[0]) for _, continuation in continuations)
    asked = [(len(prompt) - 1, first_tokens)]
    serves = [[(column, number) for column, (number, _) in enumerate(continuations)]]
    branches: list[Tokens] = []
    at = len(prompt)
    for number, continuation in continuations:
        if len(continuation) == 1:
            continue
        branches.append(continuation[:-1])
        for offset, token in enumerate(continuation[1:]):
            asked.append((at + offset, (int(token),)))
            serves.append([(0, number)])
        at += len(continuation) - 1
    return Piece(prompt, tuple(branches), tuple(asked)), serves


def _leaves(prompts: Sequence[Tokens], labels: tuple[int, ...]) -> Piece:
    """Prompts as branches of their common prefix, with the labels asked at the end of each.

    >>> _leaves([(1, 5, 6), (1, 5, 7, 8)], (3, 4))
    Piece(prompt=(1, 5), branches=((6,), (7, 8)), asked=((2, (3, 4)), (4, (3, 4))))
    """
    if len(prompts) == 1:
        return Piece(prompts[0], (), ((len(prompts[0]) - 1, labels),))
    shared = min(_common(prompts[0], other) for other in prompts[1:])
    shared = min(shared, min(map(len, prompts)) - 1)  # the last token of every prompt is asked
    branches = tuple(prompt[shared:] for prompt in prompts)
    ends = shared + np.cumsum([len(branch) for branch in branches]) - 1
    return Piece(prompts[0][:shared], branches, tuple((int(end), labels) for end in ends))


def even_length(config: Any) -> float:
    """The length of a prompt at which attention costs as much as everything else in a layer.

    For each pair of positions and head: the two products (4 K operations) and the softmax, measured to cost
    as much as about 60.
    """
    width = config.vocab_size * config.hidden_size * (1 if config.tie_embeddings else 2)
    others = 2 * (config.parameter_count - width) / config.num_layers
    return float(others / (config.num_heads * (4 * config.head_dim + 60)))


def _alike(prompts: Sequence[Tokens], max_row: int, even: float, least: float = 0.05) -> Iterator[list[int]]:
    """Runs of neighbouring prompts whose common prefix is at least the fraction `least` of each.

    A prompt joins the run if that saves more than it costs: its prefix is not encoded again, but every
    position of the longer row is compared with more masked positions. The cost of a piece of p tokens is
    assumed to be p * (1 + max(p, 128) / even); see `even_length`.

    >>> list(_alike([[1, 2, 3, 4], [1, 2, 3, 5], [9, 9]], 100, even=1000.0))
    [[0, 1], [2]]
    """

    def cost(tokens: int) -> float:
        return tokens * (1 + max(tokens, 128) / even)

    group: list[int] = []
    shared = longest = own = 0
    for number, prompt in enumerate(prompts):
        if group:
            common = min(shared, _common(prompts[group[0]], prompt), len(prompt) - 1)
            peak = max(longest, len(prompt))
            now = own - (len(group) - 1) * shared  # tokens of the run, its prefix once
            grown = own + len(prompt) - len(group) * common
            worth = cost(grown) < cost(now) + cost(len(prompt))
            if common >= max(1, least * peak) and grown <= max_row and worth:
                group.append(number)
                shared, longest, own = common, peak, own + len(prompt)
                continue
            yield group
        group, shared, longest, own = [number], len(prompt) - 1, len(prompt), len(prompt)
    if group:
        yield group


def _common(one: Tokens, other: Tokens) -> int:
    """The length of the common prefix of two sequences."""
    size = min(len(one), len(other))
    different = np.nonzero(np.asarray(one[:size]) != np.asarray(other[:size]))[0]
    return int(different[0]) if different.size else size


def _check_tokens(tokens: Tokens, what: str, vocab_size: int) -> None:
    if len(tokens) == 0:
        raise ValueError(f"{what} is empty: a score needs a token to score and one before it")
    low, high = int(min(tokens)), int(max(tokens))
    if low < 0 or high >= vocab_size:
        raise ValueError(
            f"{what} has token {low if low < 0 else high}, the model has 0..{vocab_size - 1}; "
            "is this the tokenizer that the model was trained with?"
        )
