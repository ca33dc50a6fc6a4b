"""Generation and scoring by this project and by transformers, with the same methods.

    engine.generate(prompts, new)     greedy, exactly `new` tokens for each prompt: list[list[int]]
    engine.loglikelihood(items)       log p of continuations: items are (prompt, continuations)
    engine.differences(documents)     float32 [documents]: logit of the first label less that of the second

No token ends an answer, so that all generate equally many. Each engine is given the same token ids.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

AUTHORS_BATCH = 8
_PAD = 0

Tokens = Sequence[int]
Item = tuple[Tokens, Sequence[Tokens]]


class Ours:
    """This project.

    Args:
      folder: of a Hugging Face model.
      dtype: of the computation.
      labels: the two tokens of `differences`.
      cache_tokens: cache slots of a batch of generation.
    """

    def __init__(self, folder: str, *, dtype: str, labels: tuple[int, int], cache_tokens: int) -> None:
        from inters_jax.inference.placement import default_batch_tokens
        from inters_jax.inference.score import Scorer
        from inters_jax.models.loading import load_model

        self._loaded, self._labels = load_model(folder, dtype=dtype), labels
        tokens = max(default_batch_tokens(), min(self._loaded.config.max_position, 2048))
        self._cache_tokens = max(tokens, cache_tokens)
        self._generators: dict[int, Any] = {}
        self._scorer = Scorer(self._loaded, batch_tokens=tokens)

    def generate(self, prompts: Sequence[Tokens], new: int) -> Any:
        from inters_jax.inference.generate import Generator

        if new not in self._generators:
            self._generators[new] = Generator(
                self._loaded, max_new_tokens=new, batch_tokens=self._cache_tokens, eos_ids=[-1]
            )
        return self._generators[new].generate(prompts)

    def loglikelihood(self, items: Sequence[Item]) -> Any:
        return self._scorer.loglikelihood(items)

    def differences(self, documents: Sequence[Tokens]) -> Any:
        logits = self._scorer.label_logits(documents, self._labels)
        return logits[:, 0] - logits[:, 1]


class Transformers:
    """transformers, as one would write it: sorted by length, padded on the left, inference mode.

    Args:
      folder: of a Hugging Face model.
      dtype: of weights and computation.
      labels: the two tokens of `differences`.
      device: "cpu" or "gpu".
    """

    def __init__(self, folder: str, *, dtype: str, labels: tuple[int, int], device: str = "cpu") -> None:
        import torch
        import transformers

        transformers.logging.set_verbosity_error()
        self._torch, self._labels = torch, list(labels)
        self._device = "cuda" if device == "gpu" else "cpu"
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
        self._model = model.eval().to(self._device)
        self._model.generation_config.eos_token_id = None
        self._batch = 32 if device == "gpu" else AUTHORS_BATCH

    def generate(self, prompts: Sequence[Tokens], new: int) -> Any:
        inputs = self._padded(prompts)
        with self._torch.inference_mode():
            out = self._model.generate(**inputs, max_new_tokens=new, do_sample=False, pad_token_id=_PAD)
        return out[:, inputs["input_ids"].shape[1] :].tolist()

    def loglikelihood(self, items: Sequence[Item]) -> Any:
        """Every (prompt, continuation) is a sequence of a padded batch."""
        torch = self._torch
        flat = [
            (row, column, prompt, label)
            for row, (prompt, labels) in enumerate(items)
            for column, label in enumerate(labels)
        ]
        flat.sort(key=lambda one: len(one[2]) + len(one[3]))
        scores = [[0.0] * len(labels) for _, labels in items]
        longest = max(len(label) for *_, label in flat)
        for start in range(0, len(flat), self._batch):
            part = flat[start : start + self._batch]
            inputs = self._padded([[*prompt, *label] for _, _, prompt, label in part])
            with torch.inference_mode():
                logits = self._model(**inputs, logits_to_keep=longest + 1).logits.float().log_softmax(-1)
            for at, (row, column, _, label) in enumerate(part):
                places = logits[at, -1 - len(label) : -1]
                scores[row][column] = places[range(len(label)), list(label)].sum().item()
        return scores

    def differences(self, documents: Sequence[Tokens]) -> Any:
        """Batches sorted by length, logits of the last position only."""
        order = sorted(range(len(documents)), key=lambda number: len(documents[number]))
        return self._differences(documents, order, self._batch, logits_to_keep=1)

    def authors(self, documents: Sequence[Tokens]) -> Any:
        """The same as the loop of the INTERS authors goes: batches in the given order, all logits."""
        return self._differences(documents, list(range(len(documents))), AUTHORS_BATCH)

    def _differences(
        self, documents: Sequence[Tokens], order: Sequence[int], batch: int, **options: Any
    ) -> Any:
        out = np.zeros(len(order), np.float32)
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            inputs = self._padded([documents[number] for number in part])
            with self._torch.inference_mode():
                logits = self._model(**inputs, **options).logits[:, -1, self._labels].float()
            out[list(part)] = (logits[:, 0] - logits[:, 1]).cpu().numpy()
        return out

    def _padded(self, sequences: Sequence[Tokens]) -> dict[str, Any]:
        width = max(map(len, sequences))
        tokens = np.full((len(sequences), width), _PAD)
        mask = np.zeros((len(sequences), width), int)
        for row, sequence in enumerate(sequences):
            tokens[row, width - len(sequence) :] = sequence
            mask[row, width - len(sequence) :] = 1
        arrays = {"input_ids": tokens, "attention_mask": mask}
        return {name: self._torch.from_numpy(array).to(self._device) for name, array in arrays.items()}
