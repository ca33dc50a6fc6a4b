"""How full are packed rows, and how fast are they made: this project's packing beside SeqIO's own.

    python scripts/bench_packing.py [--examples 20000] [--max-length 2048]

Lengths are drawn to look like INTERS prompts with demonstrations: lognormal, mean about 450 tokens, clipped
at the row length, 4 % of the tokens being targets. Both packers get the same examples in the same order, as
token arrays in memory, and must return whole batches of the same feature names. One line per packer:

    density     real tokens / positions of the rows used
    examples/s  examples turned into rows, on one thread here and on whatever tf.data takes there
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from bench_examples import VOCABULARY, examples

from inters_jax.data.loader import PackedBatches
from inters_jax.data.packing import plan
from inters_jax.data.token_store import TokenStore


def ours(made: list[tuple[np.ndarray, int]], max_length: int, rows: int) -> tuple[float, float]:
    """(density, examples/s) from an opened store to the arrays of every batch of an epoch."""
    with tempfile.TemporaryDirectory() as folder:
        series = ((tokens, start, f"{i}") for i, (tokens, start) in enumerate(made))
        store = TokenStore.create(Path(folder) / "store", {"bench": [series]}, vocab_size=VOCABULARY)
        begin = time.perf_counter()
        batches = PackedBatches(store, batch_rows=rows, max_length=max_length, seed=0, epochs=1)
        real = positions = 0
        for batch in batches.iterate(prefetch=0):
            used = (batch["decoder_segment_ids"] > 0).any(axis=1).sum()
            real += int((batch["decoder_segment_ids"] > 0).sum())
            positions += int(used) * max_length
        seconds = time.perf_counter() - begin
    return real / positions, len(made) / seconds


def theirs(made: list[tuple[np.ndarray, int]], max_length: int, rows: int) -> tuple[float, float]:
    """(density, examples/s) of seqio.DecoderFeatureConverter(pack=True), batched by tf.data."""
    import seqio
    import tensorflow as tf

    # Its rows are as long as both features together, and each must fit its own share of them.
    answer = max(len(tokens) - start for tokens, start in made)

    def stream() -> Iterator[dict[str, np.ndarray]]:
        # SeqIO adds BOS by shifting the targets, so it gets the sequence without it.
        for tokens, start in made:
            yield {"inputs": tokens[1:start][: max_length - answer], "targets": tokens[start:]}

    spec = {key: tf.TensorSpec([None], tf.int32) for key in ("inputs", "targets")}
    dataset = tf.data.Dataset.from_generator(stream, output_signature=spec)
    # from_generator is slow by itself; in memory, only the packing is measured.
    dataset = dataset.cache()
    for _ in dataset:
        pass
    converter = seqio.DecoderFeatureConverter(pack=True, loss_on_targets_only=True)
    packed = converter(dataset, {"inputs": max_length - answer, "targets": answer})
    begin = time.perf_counter()
    real = positions = 0
    for batch in packed.batch(rows).as_numpy_iterator():
        segments = batch["decoder_segment_ids"]
        real += int((segments > 0).sum())
        positions += segments.size
    seconds = time.perf_counter() - begin
    return real / positions, len(made) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--max-length", type=int, default=2048)
    parser.add_argument("--batch-rows", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip-seqio", action="store_true", help="measure this project's packing only")
    arguments = parser.parse_args()
    made = examples(arguments.examples, arguments.max_length, arguments.seed)
    lengths = np.array([len(tokens) for tokens, _ in made])
    print(
        f"{len(made):,} examples of mean {lengths.mean():.0f} tokens (95 % below "
        f"{np.percentile(lengths, 95):.0f}), rows of {arguments.max_length}"
    )
    many = np.resize(lengths - 1, 200_000)
    begin = time.perf_counter()
    rows = plan(many, arguments.max_length, seed=0, epoch=0)
    print(
        f"plan alone, 200,000 examples: {time.perf_counter() - begin:.2f} s, density "
        f"{many.sum() / (len(rows) * arguments.max_length):.4f}"
    )
    print(f"{'packer':<28}{'density':>9}{'examples/s':>14}")
    packers = {"inters_jax": ours}
    if not arguments.skip_seqio:
        packers["seqio DecoderFeatureConverter"] = theirs
    for name, packer in packers.items():
        density, rate = packer(made, arguments.max_length, arguments.batch_rows)
        print(f"{name:<30}{density:>7.4f}{rate:>14,.0f}")


if __name__ == "__main__":
    main()
