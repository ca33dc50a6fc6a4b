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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from inters_jax.inference.generate import Generator
from inters_jax.inference.placement import default_batch_tokens
from inters_jax.inference.score import Scorer
from inters_jax.models.config import DecoderConfig
from inters_jax.models.hf import folder as huggingface
from inters_jax.models.loading import load_model

YES, NO, PAD = 5, 6, 0
AUTHORS_BATCH = 8


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


class Ours:
    """This project."""

    def __init__(self, folder: str, size: Size, work: Work, dtype: str) -> None:
        loaded = load_model(folder, dtype=dtype)
        tokens = max(default_batch_tokens(), size.config.max_position)
        cache = max(tokens, 2 * len(work.prompts) * (size.prompt_tokens + size.new_tokens))
        self._work = work
        # No token ends an answer: both sides generate equally many.
        self._one = Generator(loaded, max_new_tokens=1, batch_tokens=cache, eos_ids=[-1])
        self._all = Generator(loaded, max_new_tokens=size.new_tokens, batch_tokens=cache, eos_ids=[-1])
        self._scorer = Scorer(loaded, batch_tokens=tokens)

    def first_token(self) -> Any:
        return self._one.generate(self._work.prompts)

    def all_tokens(self) -> Any:
        return self._all.generate(self._work.prompts)

    def labels(self) -> Any:
        return self._scorer.loglikelihood(self._work.items)

    def pointwise(self) -> Any:
        logits = self._scorer.label_logits(self._work.documents, (YES, NO))
        return logits[:, 0] - logits[:, 1]


class Theirs:
    """transformers, as one would write it: sorted by length, padded on the left, inference mode."""

    def __init__(self, folder: str, size: Size, work: Work, device: str) -> None:
        import torch
        import transformers

        transformers.logging.set_verbosity_error()
        self._torch, self._work, self._new = torch, work, size.new_tokens
        self._device = "cuda" if device == "gpu" else "cpu"
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        kind = torch.bfloat16 if device == "gpu" else torch.float32
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=kind)
        self._model = model.eval().to(self._device)
        self._model.generation_config.eos_token_id = None
        self._batch = 32 if device == "gpu" else AUTHORS_BATCH

    def first_token(self) -> Any:
        return self._generate(1)

    def all_tokens(self) -> Any:
        return self._generate(self._new)

    def labels(self) -> Any:
        torch = self._torch
        flat = [
            (row, column, prompt, label)
            for row, (prompt, labels) in enumerate(self._work.items)
            for column, label in enumerate(labels)
        ]
        flat.sort(key=lambda one: len(one[2]) + len(one[3]))
        scores = np.zeros((len(self._work.items), 3))
        for start in range(0, len(flat), self._batch):
            part = flat[start : start + self._batch]
            inputs = self._padded([prompt + label for _, _, prompt, label in part])
            with torch.inference_mode():
                logits = self._model(**inputs, logits_to_keep=4).logits.float().log_softmax(-1)
            for at, (row, column, _, label) in enumerate(part):
                places = logits[at, -1 - len(label) : -1]
                scores[row, column] = places[range(len(label)), label].sum().item()
        return scores.tolist()

    def pointwise(self) -> Any:
        order = sorted(range(len(self._work.documents)), key=lambda n: len(self._work.documents[n]))
        return self._differences(order, self._batch, logits_to_keep=1)

    def authors(self) -> Any:
        return self._differences(list(range(len(self._work.documents))), AUTHORS_BATCH)

    def _differences(self, order: Sequence[int], batch: int, **options: Any) -> Any:
        out = np.zeros(len(order), np.float32)
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            inputs = self._padded([self._work.documents[number] for number in part])
            with self._torch.inference_mode():
                logits = self._model(**inputs, **options).logits[:, -1, [YES, NO]].float()
            out[list(part)] = (logits[:, 0] - logits[:, 1]).cpu().numpy()
        return out

    def _generate(self, new: int) -> Any:
        inputs = self._padded(self._work.prompts)
        with self._torch.inference_mode():
            out = self._model.generate(**inputs, max_new_tokens=new, do_sample=False, pad_token_id=PAD)
        return out[:, inputs["input_ids"].shape[1] :].tolist()

    def _padded(self, sequences: Sequence[Sequence[int]]) -> dict[str, Any]:
        width = max(map(len, sequences))
        tokens = np.full((len(sequences), width), PAD)
        mask = np.zeros((len(sequences), width), int)
        for row, sequence in enumerate(sequences):
            tokens[row, width - len(sequence) :] = sequence
            mask[row, width - len(sequence) :] = 1
        torch = self._torch
        arrays = {"input_ids": tokens, "attention_mask": mask}
        return {name: torch.from_numpy(array).to(self._device) for name, array in arrays.items()}


def seconds(run: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def measure(ours: Ours, theirs: Theirs | None, repeats: int) -> dict[str, tuple[float, float | None]]:
    """Median seconds of each task, ours and theirs, run by turns; the first turn is not counted."""
    pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]] = {
        "first_token": (ours.first_token, theirs.first_token if theirs else None),
        "all_tokens": (ours.all_tokens, theirs.all_tokens if theirs else None),
        "labels": (ours.labels, theirs.labels if theirs else None),
        "pointwise": (ours.pointwise, theirs.pointwise if theirs else None),
        "authors": (ours.pointwise, theirs.authors if theirs else None),
    }
    found: dict[str, tuple[float, float | None]] = {}
    for name, (mine, other) in pairs.items():
        answer = mine()
        if other is not None:
            agree(name, answer, other())
        times: list[list[float]] = [[], []]
        for _ in range(repeats):
            times[0].append(seconds(mine))
            if other is not None:
                times[1].append(seconds(other))
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
        theirs = Theirs(f"{folder}/model", size, work, args.device) if comparable(args.device) else None
        found = measure(Ours(f"{folder}/model", size, work, dtype), theirs, args.repeats)
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
