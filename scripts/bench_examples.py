"""Token sequences that look like INTERS examples, for benchmarks; needs numpy only."""

from __future__ import annotations

import numpy as np

BOS, EOS, VOCABULARY = 1, 2, 32_000


def examples(count: int, max_length: int, seed: int) -> list[tuple[np.ndarray, int]]:
    """(sequence int32 [n <= max_length], target_start): BOS, prompt, answer, EOS; no token is 0."""
    random = np.random.default_rng(seed)
    lengths = np.clip(random.lognormal(5.81, 0.8, count).astype(np.int64), 12, max_length)
    targets = np.clip((lengths * random.uniform(0.01, 0.07, count)).astype(np.int64), 2, lengths - 3)
    made = []
    for length, target in zip(lengths.tolist(), targets.tolist(), strict=True):
        tokens = random.integers(3, VOCABULARY, length).astype(np.int32)
        tokens[0], tokens[-1] = BOS, EOS
        made.append((tokens, length - target))
    return made
