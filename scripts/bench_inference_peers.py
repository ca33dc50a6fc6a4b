"""The contenders of bench_scoring.py as a process: this project and other engines, on given token ids.

    ours, transformers, authors    bench_inference_engines.py
    vllm                           vLLM with prefix caching; the cache is emptied before every round
    llama.cpp, llama.cpp-q8        llama-cpp-python; the tokens that a prompt shares with the one before it
                                   stay in the cache. Its weights are those of the folder (gguf_from_model.py)
    cross-encoder                  sentence-transformers' CrossEncoder: the same body with a head for one
                                   score, on texts; its scores are of another model, only its speed counts

A task is "score" or "generate N" (the first N prompts). Imports nothing of ours unless it runs ours.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bench_process
import numpy as np
from bench_inference_engines import Ours, Tokens, Transformers

GGML_BF16 = 30  # ggml.h; the Python package names only older types


class VLLM:
    """vLLM, offline, in this process."""

    def __init__(self, folder: str, *, dtype: str, labels: tuple[int, int], longest: int) -> None:
        from vllm import LLM, SamplingParams

        self._labels, self._parameters = labels, SamplingParams
        self._llm = LLM(folder, dtype=dtype, enable_prefix_caching=True, max_model_len=longest)

    def generate(self, prompts: Sequence[Tokens], new: int) -> list[list[int]]:
        wanted = self._parameters(temperature=0, max_tokens=new, ignore_eos=True, detokenize=False)
        return [list(one.outputs[0].token_ids) for one in self._run(prompts, wanted)]

    def differences(self, documents: Sequence[Tokens]) -> np.ndarray:
        wanted = self._parameters(
            temperature=0, max_tokens=1, logprob_token_ids=list(self._labels), detokenize=False
        )
        found = [one.outputs[0].logprobs[0] for one in self._run(documents, wanted)]
        yes, no = self._labels
        return np.asarray([logs[yes].logprob - logs[no].logprob for logs in found], np.float32)

    def _run(self, prompts: Sequence[Tokens], wanted: Any) -> Any:
        self._llm.reset_prefix_cache()
        given = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        return self._llm.generate(given, wanted, use_tqdm=False)


class LlamaCpp:
    """llama.cpp, with a context for each number of sequences."""

    def __init__(self, file: Path, *, dtype: str, labels: tuple[int, int], longest: int) -> None:
        import llama_cpp

        self._api, self._labels, self._longest = llama_cpp, labels, longest
        self._silent = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self._silent, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.llama_model_load_from_file(
            str(file).encode(), llama_cpp.llama_model_default_params()
        )
        if not self._model:
            raise SystemExit(f"{file}: llama.cpp cannot load it")
        self._vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        types = {"float32": llama_cpp.GGML_TYPE_F32, "bfloat16": GGML_BF16}
        self._cache_type = types[dtype]
        # Its flash attention rounds to float16.
        exact = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._flash = exact if dtype == "float32" else llama_cpp.LLAMA_FLASH_ATTN_TYPE_AUTO
        self._contexts: dict[int, Any] = {}

    def generate(self, prompts: Sequence[Tokens], new: int) -> list[list[int]]:
        context = self._context(len(prompts))
        owners = [number for number, prompt in enumerate(prompts) for _ in prompt]
        places = [place for prompt in prompts for place in range(len(prompt))]
        ends = np.cumsum([len(prompt) for prompt in prompts]) - 1
        flat = [token for prompt in prompts for token in prompt]
        out: list[list[int]] = [[] for _ in prompts]
        wanted: Sequence[int] = ends.tolist()
        for step in range(new):
            self._decode(context, flat, places, owners, wanted)
            flat = [int(self._logits(context, place).argmax()) for place in wanted]
            for own, token in zip(out, flat, strict=True):
                own.append(token)
            owners = wanted = list(range(len(prompts)))
            places = [len(prompt) + step for prompt in prompts]
        return out

    def differences(self, documents: Sequence[Tokens]) -> np.ndarray:
        context = self._context(1)
        out = np.zeros(len(documents), np.float32)
        before: list[int] = []
        for number, document in enumerate(documents):
            tokens = list(document)
            shared = common(before, tokens[:-1])
            self._forget(context, shared)
            rest = tokens[shared:]
            places = list(range(shared, len(tokens)))
            self._decode(context, rest, places, [0] * len(rest), [len(rest) - 1])
            logits = self._logits(context, len(rest) - 1)
            out[number] = logits[self._labels[0]] - logits[self._labels[1]]
            before = tokens
        return out

    def _context(self, sequences: int) -> Any:
        """An empty context for so many sequences of the longest length."""
        api = self._api
        if sequences not in self._contexts:
            wanted = api.llama_context_default_params()
            # Each sequence has a cache of its own, whose size is rounded up.
            wanted.n_ctx = wanted.n_batch = sequences * -(-self._longest // 256) * 256
            wanted.n_seq_max, wanted.kv_unified = sequences, False
            wanted.n_threads = wanted.n_threads_batch = len(os.sched_getaffinity(0))
            wanted.type_k = wanted.type_v = self._cache_type
            wanted.flash_attn_type = self._flash
            self._contexts[sequences] = api.llama_init_from_model(self._model, wanted)
            if not self._contexts[sequences]:
                raise SystemExit(f"llama.cpp has no memory for {sequences} sequences of {self._longest}")
        api.llama_memory_clear(api.llama_get_memory(self._contexts[sequences]), True)
        return self._contexts[sequences]

    def _forget(self, context: Any, kept: int) -> None:
        """Remove all tokens of sequence 0 from position `kept` on."""
        self._api.llama_memory_seq_rm(self._api.llama_get_memory(context), 0, kept, -1)

    def _decode(
        self,
        context: Any,
        tokens: Sequence[int],
        positions: Sequence[int],
        sequences: Sequence[int],
        wanted: Sequence[int],
    ) -> None:
        """Run tokens through the model; logits are kept of the places `wanted`."""
        batch = self._api.llama_batch_init(len(tokens), 0, 1)
        try:
            batch.n_tokens = len(tokens)
            for place, (token, position, owner) in enumerate(zip(tokens, positions, sequences, strict=True)):
                batch.token[place], batch.pos[place] = token, position
                batch.n_seq_id[place], batch.seq_id[place][0] = 1, owner
                batch.logits[place] = 0
            for place in wanted:
                batch.logits[place] = 1
            if code := self._api.llama_decode(context, batch):
                raise SystemExit(f"llama_decode of {len(tokens)} tokens failed with code {code}")
        finally:
            self._api.llama_batch_free(batch)

    def _logits(self, context: Any, place: int) -> np.ndarray:
        found = self._api.llama_get_logits_ith(context, place)
        return np.ctypeslib.as_array(found, (self._vocabulary,))


def common(a: Tokens, b: Tokens) -> int:
    """The number of tokens that two sequences begin with alike.

    >>> common([1, 5, 6, 7], [1, 5, 8])
    2
    """
    shared = min(len(a), len(b))
    different = np.flatnonzero(np.asarray(a[:shared]) != np.asarray(b[:shared]))
    return int(different[0]) if len(different) else shared


class CrossEncoder:
    """sentence-transformers, its own batches and order."""

    def __init__(self, folder: str, *, dtype: str, longest: int, pairs: Sequence[Sequence[str]]) -> None:
        import sentence_transformers
        import torch

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self._pairs = [tuple(pair) for pair in pairs]
        kinds = {"dtype": getattr(torch, dtype)}
        self._model = sentence_transformers.CrossEncoder(
            folder, num_labels=1, max_length=longest, device="cpu", model_kwargs=kinds
        )

    def differences(self, documents: Sequence[Tokens]) -> np.ndarray:
        """The scores of the texts; `documents` are the same as tokens, in another wording."""
        scores = self._model.predict(self._pairs[: len(documents)], show_progress_bar=False)
        return np.asarray(scores, np.float32)


def engine_of(name: str, folder: str, dtype: str, work: dict[str, Any], scratch: Path) -> Any:
    """The engine of a contender."""
    labels = (work["labels"][0], work["labels"][1])
    new, prompts = work["new"], work["prompts"]
    longest = max(max(map(len, work["documents"])) + 1, len(prompts[0]) + new)
    if name == "ours":
        slots = 2 * len(prompts) * (len(prompts[0]) + new)
        # What DTYPE='auto' chooses on a CPU that multiplies bfloat16; weights are stored in it, too.
        own = "bfloat16_products" if dtype == "bfloat16" else dtype
        return Ours(folder, dtype=own, labels=labels, cache_tokens=slots)
    if name in ("transformers", "authors"):
        return Transformers(folder, dtype=dtype, labels=labels)
    if name == "vllm":
        return VLLM(folder, dtype=dtype, labels=labels, longest=longest)
    if name == "cross-encoder":
        return CrossEncoder(folder, dtype=dtype, longest=longest, pairs=work["pairs"])
    from gguf_from_model import convert

    kind = "q8_0" if name.endswith("-q8") else {"float32": "f32", "bfloat16": "bf16"}[dtype]
    file = scratch / f"{kind}.gguf"
    if not file.exists():
        convert(Path(folder), file, kind)
    return LlamaCpp(file, dtype=dtype, labels=labels, longest=longest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", required=True)
    parser.add_argument("--folder", type=Path, required=True, help="of work.json")
    options = parser.parse_args()
    work = json.loads((options.folder / "work.json").read_text(encoding="utf-8"))
    engine = engine_of(options.worker, options.model, options.dtype, work, options.folder)

    def answer(task: str) -> dict[str, Any]:
        if task == "score":
            score = engine.authors if options.worker == "authors" else engine.differences
            return {"scores": np.asarray(score(work["documents"])).tolist()}
        count = int(task.removeprefix("generate "))
        return {"tokens": engine.generate(work["prompts"][:count], work["new"])}

    bench_process.serve(answer)


if __name__ == "__main__":
    main()
