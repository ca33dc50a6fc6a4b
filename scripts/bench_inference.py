"""How fast are generation and scoring: this project beside transformers, same weights, same machine.

    python scripts/bench_inference.py [--size tiny|100m|all] [--repeats 3] [--device cpu|gpu] [--scale 1.0]
                                      [--threads 1]

A model with random weights is saved as a Hugging Face folder and loaded by both. Each task is run once to
compile and warm up and then by turns, `--repeats` times; medians are printed, and their ratio (ours / theirs,
more is better for us), which a busy machine disturbs less than the figures. Answers are compared, too.

    prefill     tokens/s     prompts of one length, one new token each
    decode      tokens/s     the tokens after it, greedy, no end token
    labels      items/s      a prompt with three labels of one to three tokens; transformers: every
                             (prompt, label) pair as a sequence, padded batches sorted by length
    pointwise   documents/s  Yes and No after instruction + query + document, 50 documents to a query
                             (theirs: padded batches sorted by length, logits of the last position only)
    authors     documents/s  the same as the loop of the INTERS authors goes: one padded batch of 8 after
                             another, in the given order, logits of all positions

Where other programs use the cores, compare on one of them (--threads 1): threads that wait for each other
make torch many times slower there, which says nothing about either program.

On a GPU everything computes in bfloat16 and needs a torch with CUDA for their side; without it only our
figures are printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from bench_inference_engines import Ours, Transformers

from inters_jax.models.config import DecoderConfig
from inters_jax.models.hf import folder as huggingface
from inters_jax.models.loading import load_model

LABELS = 5, 6  # Yes and No


@dataclass(frozen=True)
class Size:
    """A model and how much work it is given (multiplied by --scale)."""

    config: DecoderConfig
    prompts: int  # of generation
    prompt_tokens: int
    new_tokens: int
    items: int  # of label scoring
    documents: int


SIZES = {
    "tiny": Size(
        DecoderConfig(
            vocab_size=4096, hidden_size=128, intermediate_size=384, num_layers=4, num_heads=4,
            num_kv_heads=2, max_position=2048, bos_id=1, eos_id=2,
        ),
        prompts=16, prompt_tokens=256, new_tokens=64, items=96, documents=200,
    ),
    "100m": Size(
        DecoderConfig(
            vocab_size=16000, hidden_size=768, intermediate_size=2048, num_layers=12, num_heads=12,
            num_kv_heads=4, max_position=2048, bos_id=1, eos_id=2,
        ),
        prompts=8, prompt_tokens=128, new_tokens=24, items=10, documents=32,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Work:
    """The same token sequences for both sides."""

    prompts: list[list[int]]
    items: list[tuple[list[int], list[list[int]]]]
    documents: list[list[int]]

    @classmethod
    def draw(cls, size: Size, scale: float) -> Work:
        """Label prompts have lognormal lengths (median 120), documents too (median 180, at most 512)."""
        random = np.random.default_rng(0)

        def text(length: int) -> list[int]:
            return [int(token) for token in random.integers(7, size.config.vocab_size, length)]

        def lengths(count: int, median: float, most: int) -> list[int]:
            drawn = np.clip(random.lognormal(np.log(median), 0.7, count), 16, most)
            return [int(length) for length in drawn]

        count = {name: max(2, round(getattr(size, name) * scale)) for name in ("prompts", "items")}
        labels = [text(1), text(2), text(3)]
        documents, query = [], text(12)
        instruction = text(60)
        for number, length in enumerate(lengths(max(2, round(size.documents * scale)), 180, 512)):
            if number % 50 == 0:
                query = text(12)
            documents.append([1, *instruction, *query, *text(length), *text(6)])
        return cls(
            prompts=[[1, *text(size.prompt_tokens - 1)] for _ in range(count["prompts"])],
            items=[([1, *text(length)], labels) for length in lengths(count["items"], 120, 800)],
            documents=documents,
        )


def seconds(run: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def measure(
    work: Work, size: Size, ours: Ours, theirs: Transformers | None, repeats: int
) -> dict[str, tuple[float, float | None]]:
    """Median seconds of each task, ours and theirs, run by turns; the first turn is not counted."""
    tasks: dict[str, Callable[[Any], Any]] = {
        "first_token": lambda engine: engine.generate(work.prompts, 1),
        "all_tokens": lambda engine: engine.generate(work.prompts, size.new_tokens),
        "labels": lambda engine: engine.loglikelihood(work.items),
        "pointwise": lambda engine: engine.differences(work.documents),
        "authors": lambda engine: getattr(engine, "authors", engine.differences)(work.documents),
    }
    found: dict[str, tuple[float, float | None]] = {}
    for name, task in tasks.items():
        answer = task(ours)
        if theirs is not None:
            agree(name, answer, task(theirs))
        times: list[list[float]] = [[], []]
        for _ in range(repeats):
            times[0].append(seconds(partial(task, ours)))
            if theirs is not None:
                times[1].append(seconds(partial(task, theirs)))
        found[name] = statistics.median(times[0]), statistics.median(times[1]) if times[1] else None
    return found


def agree(name: str, ours: Any, theirs: Any) -> None:
    """Says where answers differ; in float32 they should not."""
    if name in ("first_token", "all_tokens"):
        same = sum(a == b for a, b in zip(ours, theirs, strict=True))
        if same < len(ours):
            print(f"  {name}: {same} of {len(ours)} generations are equal")
    else:
        largest = float(np.abs(np.asarray(ours) - np.asarray(theirs)).max())
        print(f"  {name}: largest difference of a score {largest:.1e}")


def bench(name: str, size: Size, args: argparse.Namespace) -> None:
    work = Work.draw(size, args.scale)
    dtype = "bfloat16" if args.device == "gpu" else "float32"
    with tempfile.TemporaryDirectory() as folder:
        made = load_model(size.config, dtype=dtype)
        huggingface.save(made.model, f"{folder}/model")
        print(f"{name}: {size.config.parameter_count / 1e6:.1f} M parameters, {dtype}", flush=True)
        theirs = None
        if comparable(args.device):
            theirs = Transformers(f"{folder}/model", dtype=dtype, labels=LABELS, device=args.device)
        slots = 2 * len(work.prompts) * (size.prompt_tokens + size.new_tokens)
        ours = Ours(f"{folder}/model", dtype=dtype, labels=LABELS, cache_tokens=slots)
        found = measure(work, size, ours, theirs, args.repeats)
    new = len(work.prompts) * (size.new_tokens - 1)
    first, every = found["first_token"], found["all_tokens"]
    rows = {
        "prefill tokens/s": (len(work.prompts) * size.prompt_tokens, first),
        "decode tokens/s": (
            new,
            (every[0] - first[0], None if every[1] is None or first[1] is None else every[1] - first[1]),
        ),
        "label scoring items/s": (len(work.items), found["labels"]),
        "pointwise documents/s": (len(work.documents), found["pointwise"]),
        "pointwise, authors' loop": (len(work.documents), found["authors"]),
    }
    print(f"  {'':26}{'ours':>12}{'theirs':>12}{'ratio':>8}")
    for title, (amount, (mine, other)) in rows.items():
        line = f"  {title:26}{amount / mine:12,.1f}"
        if other is not None:
            line += f"{amount / other:12,.1f}{other / mine:8.2f}"
        print(line, flush=True)


def comparable(device: str) -> bool:
    """Whether torch is here, and can use the device."""
    try:
        import torch
    except ImportError:
        print("torch is not installed: our figures only")
        return False
    if device == "gpu" and not torch.cuda.is_available():
        print("this torch has no CUDA: our figures only")
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", choices=[*SIZES, "all"], default="all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the amount of work")
    parser.add_argument("--threads", type=int, help="CPU cores that both sides may use; default all")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    args = parser.parse_args()
    if args.threads:  # before any thread pool is made
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    jax.config.update("jax_platforms", "cpu" if args.device == "cpu" else "cuda")
    print(f"device: {jax.devices()[0].device_kind}; {len(os.sched_getaffinity(0))} CPU cores")
    for name in SIZES if args.size == "all" else [args.size]:
        bench(name, SIZES[name], args)


if __name__ == "__main__":
    main()
