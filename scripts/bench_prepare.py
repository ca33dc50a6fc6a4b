"""How fast `prepare` is on its real path: official file -> rows -> prompts -> token ids -> store on disk.

    python scripts/bench_prepare.py [--rows 20000] [--tokenizer FOLDER]
    python scripts/bench_prepare.py --raw-dir FOLDER --name inters --workers 2

Writes a reading-comprehension file in SQuAD's format (invented texts, up to 10,000 questions), then prepares
the task `inters_reading_comprehension_squad` from it in as many passes as give the rows asked for: every pass
renders each row again, with its own template and 0 to 5 demonstrations, so prompts are as long and as
varied as those of INTERS (mean about 450 tokens). Prints rows/s, tokens/s and the time projected to 200,000.
The bar is 180 s on 2 cores.

With `--raw-dir` it prepares a task or mixture from official files, as a new store. `--workers` is the setting
WORKERS: processes take whole tasks, so only a mixture shows what they gain. The time includes their start.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from inters_jax.config import call
from inters_jax.data.provenance import package_folder, tokenizer_source
from inters_jax.prepare import prepare

TASK = "inters_reading_comprehension_squad"
FULL = 200_000
# The split rule of the task: 200 questions go to validation and 10,000 to train at most.
TRAIN, VALIDATION = 10_000, 200


class Writer:
    """Invented text: words of the packaged sample by their frequency, and one in eight never seen before."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        sample = package_folder("seqio_tasks")
        assert sample is not None
        texts = [path.read_text(encoding="utf-8") for path in (sample / "sample").rglob("*.jsonl")]
        counts = Counter(re.findall(r"[A-Za-z]{2,}", " ".join(texts)))
        self.words = np.array(list(counts))
        self.shares = np.array(list(counts.values()), np.float64) / sum(counts.values())
        self.syllables = np.array(["ba", "ce", "di", "fo", "gu", "ka", "le", "mi", "no", "pu", "str", "ing"])

    def text(self, length: int) -> list[str]:
        words = self.random.choice(self.words, length, p=self.shares).tolist()
        for place in np.flatnonzero(self.random.random(length) < 0.125).tolist():
            words[place] = "".join(self.random.choice(self.syllables, 4))
        for place in range(11, length, 12):
            words[place] += "."
        return words


def write_raw(folder: Path, questions: int, mean_words: float, seed: int) -> None:
    """squad_v1/train-v1.1.json with `questions` questions, and a small dev file beside it."""
    writer = Writer(seed)
    folder.mkdir(parents=True)
    for name, count in (("train", questions), ("dev", 10)):
        paragraphs = []
        lengths = writer.random.lognormal(np.log(mean_words) - 0.5 * 0.7**2, 0.7, count).astype(int) + 12
        for number, length in enumerate(lengths.tolist()):
            words = writer.text(length)
            start = int(writer.random.integers(0, length - 3))
            answer = " ".join(words[start : start + 3])
            context = " ".join(words)
            question = {
                "id": f"{name}-{number}",
                "question": " ".join(writer.text(9)) + "?",
                "answers": [{"text": answer, "answer_start": context.index(answer)}],
            }
            paragraphs.append({"context": context, "qas": [question]})
        data = {"version": "1.1", "data": [{"title": "Invented", "paragraphs": paragraphs}]}
        (folder / f"{name}-v1.1.json").write_text(json.dumps(data), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="rows to prepare; 200000 is the bar's size")
    parser.add_argument("--tokenizer", help="tokenizer.json, folder or hub name; default: the sample's")
    parser.add_argument("--max-length", type=int, default=2048)
    parser.add_argument("--mean-words", type=float, default=22.0, help="of a paragraph")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes that prepare")
    parser.add_argument("--raw-dir", help="official files to prepare, in place of the invented one")
    parser.add_argument("--name", default="inters", help="with --raw-dir: the task or mixture")
    parser.add_argument("--epoch-examples", type=int, help="with --raw-dir: examples of an epoch")
    arguments = parser.parse_args()
    settings: dict[str, Any] = {
        "tokenizer": tokenizer_source(arguments.tokenizer),
        "max_length": arguments.max_length,
        "seed": arguments.seed,
        "workers": arguments.workers,
    }
    with tempfile.TemporaryDirectory() as folder:
        if arguments.raw_dir is None:
            questions = min(arguments.rows, TRAIN) + VALIDATION
            write_raw(Path(folder) / "raw" / "squad_v1", questions, arguments.mean_words, arguments.seed)
            settings |= {"mixture_or_task_name": TASK, "raw_dir": str(Path(folder) / "raw")}
            settings |= {"passes": max(1, round(arguments.rows / TRAIN))}
        else:
            settings |= {"mixture_or_task_name": arguments.name, "raw_dir": arguments.raw_dir}
            settings |= {"epoch_examples": arguments.epoch_examples}
        begin = time.perf_counter()
        import inters_jax.data.building  # noqa: F401

        imported, before = time.perf_counter(), processor_seconds()
        store = call(prepare, store_dir=str(Path(folder) / "store"), **settings)
        seconds, cpu = time.perf_counter() - imported, processor_seconds() - before
        counts = [one for entry in store.manifest["tasks"].values() for one in entry["passes"]]
    rows = sum(count["rows"] for count in counts)
    tokens = sum(count["tokens"] for count in counts)
    kept = sum(count["kept"] for count in counts)
    print(f"import of SeqIO and TensorFlow: {imported - begin:.1f} s")
    print(f"{rows:,} rows, {tokens:,} tokens (mean {tokens / kept:.0f}) in {seconds:.1f} s")
    print(f"{rows / seconds:,.0f} rows/s, {tokens / seconds:,.0f} tokens/s")
    print(f"{cpu:.1f} s of processor time: {rows / cpu:,.0f} rows and {tokens / cpu:,.0f} tokens a second")
    if arguments.raw_dir is None:
        projected = imported - begin + seconds * FULL / rows
        print(f"{FULL:,} rows at this rate: {projected:.0f} s (bar: 180 s on 2 cores)")


def processor_seconds() -> float:
    """Of this process, and of those that it has started and that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


if __name__ == "__main__":
    main()
