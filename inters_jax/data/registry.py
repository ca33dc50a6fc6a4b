"""The tasks behind a name in SeqIO's registry: their rates, passes and vocabulary."""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import seqio

from inters_jax.data import answer_tokens
from inters_jax.data.pass_files import Document, StoreError
from seqio_tasks.base import nearest
from seqio_tasks.mixtures import recipes
from seqio_tasks.mixtures.registered import InstructionMixture
from seqio_tasks.vocabularies import HuggingFaceVocabulary


class Registry:
    """The tasks behind a name, their rates, and the model's vocabulary."""

    def __init__(self, name: str, tokenizer: str, modules: Sequence[str]) -> None:
        for module in modules:
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise StoreError(
                    f"MODULES: {module} cannot be imported ({error}); install it, or correct the name"
                ) from error
        names = {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()}
        if name not in names:
            raise StoreError(
                f"no task or mixture {name!r} is registered by {', '.join(modules)}{nearest(name, names)} "
                "(other modules: --gin.MODULES)"
            )
        self.vocabulary = HuggingFaceVocabulary(tokenizer)
        self.vocab_size = self.vocabulary.hf_vocab_size
        self._mixture = seqio.get_mixture_or_task(name)
        self.tasks = [self._mixture]
        # Whether every rate is a number of examples (a function of the task), not a plain proportion.
        self.sized = True
        if isinstance(self._mixture, seqio.Mixture):
            self.tasks = list(self._mixture.tasks)
            rates = self._mixture.rate_per_task_name
            self.sized = all(task.name in rates and callable(rates[task.name]) for task in self.tasks)

    @functools.cached_property
    def judgment(self) -> dict[str, int]:
        """The answer tokens of documents, see `answer_tokens.judgment`."""
        return answer_tokens.judgment(self.vocabulary)

    def check_answer(
        self, tokens: np.ndarray, target_start: int, example_id: str, document: Document | None = None
    ) -> None:
        """Check that a document's completion begins with the tokens whose logits a ranking loss compares."""
        if document is None:
            return
        place = target_start + self.judgment["common"]
        expected = self.judgment["yes" if document.grade > 0 else "no"]
        if place >= len(tokens) or tokens[place] != expected:
            raise StoreError(
                f"{example_id}: its answer has token {tokens[place : place + 1].tolist()}, not {expected}; a "
                "ranking loss needs templates whose answers are Yes and No (TEMPLATES)"
            )

    def rate(self, task: Any, split: str, kept: int) -> float:
        """The mixing rate; a rate in examples is at most the number of examples that were kept."""
        if task is self._mixture:
            return float(kept)
        if isinstance(self._mixture, InstructionMixture):
            own: float = self._mixture.rate_per_task_name[task.name](task, split, rows=kept)
            return own
        try:
            rate = float(self._mixture.get_rate(task))
        except TypeError as error:
            raise StoreError(
                f"the mixing rate of {task.name} cannot be computed ({error}); its source must know "
                "num_input_examples, or the mixture must state a number"
            ) from error
        return min(rate, float(kept)) if self.sized else rate

    def scale(self, epoch_examples: int | None, split: str) -> float:
        """What rates are multiplied by in an epoch of a given size; 1 in the usual one."""
        if epoch_examples is None or not self.sized or self.tasks == [self._mixture]:
            return 1.0
        if isinstance(self._mixture, InstructionMixture):
            rates = [rate for _, rate in self._mixture.available(split).available]
        else:
            rates = [float(self._mixture.get_rate(task)) for task in self.tasks]
        return epoch_examples / max(sum(rates), 1.0)

    def passes(self, share: float, kept: int, passes: int) -> int:
        """Passes over a task so that no row has the same wording twice within `passes` epochs.

        A rate that is not a number of examples says nothing about the epoch: every row has `passes` wordings.

        Args:
          share: examples of the task in an epoch.
          kept: examples of a pass.
          passes: epochs of fresh wording.
        """
        return max(1, math.ceil(passes * share / kept)) if self.sized and kept else passes

    def epoch(self, rates: float, rows: int, split: str) -> int:
        """Examples of an epoch, unless a setting names them."""
        if isinstance(self._mixture, InstructionMixture) and split == "train":
            return min(round(rates), recipes()[self._mixture.name].epoch())
        return round(rates) if self.sized else rows
