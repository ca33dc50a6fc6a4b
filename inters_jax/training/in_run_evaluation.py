"""Evaluation inside a run: `inters_jax.evaluation.judge` on the current parameters.

It only reads parameters: neither the order of the data nor the randomness of the run depends on it, so a run
has the same bits with and without. SeqIO and TensorFlow are imported when the first evaluation begins.
Programs are compiled once; later evaluations call them with other parameters.

In a run of several hosts the first one judges; the others compute what it asks
(`inters_jax.inference.together`) and are told its figures, so all decide alike what is best and when to stop.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jax.sharding import Mesh

from inters_jax.evaluation import averages, results
from inters_jax.inference.placement import call_tokens
from inters_jax.inference.together import Follower, Lead, role
from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import abstract_model
from inters_jax.models.loading import LoadedModel
from inters_jax.models.lora import layers as adapters
from inters_jax.models.lora import trainable
from inters_jax.run_folder import EVALUATION_PREFIX, Best
from inters_jax.training import step as steps
from inters_jax.training.hooks import Hook, StepEnd
from seqio_tasks.base import UserError
from seqio_tasks.settings import configure
from seqio_tasks.tokenizer import HuggingFaceTokenizer

MEAN = f"{EVALUATION_PREFIX}mean"
EARLY_STOP = "EARLY_STOP"  # why a run ended whose evaluations brought no improvement
MEAN_HEADLINE = Best(MEAN, largest=True)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When a run is evaluated, on what, and when it stops early.

    every: steps between evaluations; the last step is evaluated as well.
    tasks: task or mixture names, as for `evaluate`.
    split: to judge on.
    examples: questions per task; None: all.
    patience: consecutive evaluations without an improvement that end the run; None: never.
    best: the metric that counts as improvement.
    max_new_tokens: limit of a generated answer.
    """

    every: int
    tasks: str
    split: str = "validation"
    examples: int | None = 100
    patience: int | None = None
    best: Best = MEAN_HEADLINE
    max_new_tokens: int = 64

    def __post_init__(self) -> None:
        for name, value in (("EVAL_EVERY", self.every), ("EARLY_STOP", self.patience)):
            if value is not None and value < 1:
                raise UserError(f"{name}={value} must be at least 1, or None")

    def exhausted(self, records: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the last `patience` evaluations brought no improvement.

        >>> schedule = Schedule(10, "task", patience=2)
        >>> [schedule.exhausted([{MEAN: value} for value in found]) for found in ([3, 2], [3, 2, 3])]
        [False, True]
        """
        if self.patience is None:
            return False
        values = [value for record in records if (value := self.best.value(record)) is not None]
        return bool(values) and len(values) - 1 - values.index(max(values)) >= self.patience


class Evaluation(Hook):
    """Evaluates the state of a run.

    Args:
        schedule: when and on what.
        config: shape of the decoder.
        mesh: where the parameters are.
        dtype: compute type of the run.
        lora: settings of a LoRA run.
        frozen: parameters of a LoRA run that are not trained.
        ends: bos_id and eos_id of the tokenizer.
        data: arguments of `seqio_tasks.configure`: tokenizer, max_length, seed, raw_dir, datasets,
            chat_template.
        history: records of the evaluations so far; the same on all hosts.
        announce: called with a line of text.
    """

    def __init__(
        self,
        schedule: Schedule,
        config: DecoderConfig,
        mesh: Mesh,
        *,
        dtype: str,
        lora: adapters.LoRA | None,
        frozen: steps.Parameters | None,
        ends: Mapping[str, int | None],
        data: Mapping[str, Any],
        history: Sequence[Mapping[str, Any]] = (),
        announce: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.schedule = schedule
        self.history: list[Mapping[str, Any]] = list(history)
        self.every = schedule.every
        self._config, self._frozen, self._ends, self._data = config, frozen, ends, data
        self._announce = announce
        options = {"dtype": dtype, "param_dtype": jnp.float32, "attention": "auto", "mesh": mesh}
        made = (
            abstract_model(config, **options)
            if lora is None
            else adapters.abstract_model(config, dataclasses.replace(lora, dropout=0.0), **options)
        )
        self._structure = steps.Structure(*made)
        self._others = role("evaluation in the run")
        self._judge: Any = None
        self._tasks: list[str] = []

    @property
    def exhausted(self) -> bool:
        """Whether early stopping has triggered."""
        return self.schedule.exhausted(self.history)

    @property
    def compilations(self) -> int:
        """Number of shapes compiled so far for generation and scoring."""
        if self._judge is None:
            return 0
        return int(self._judge.generator.compilations + self._judge.scorer.compilations)

    def due(self, end: StepEnd) -> bool:
        """Every `every` steps and at the last one, unless a signal stops the run."""
        return end.stopped_by is None and super().due(end)

    def needs_record(self, end: StepEnd) -> bool:
        """The metrics become part of the record."""
        return True

    def after_step(self, end: StepEnd) -> None:
        """Evaluate the state; its metrics join the record, and may stop the run."""
        assert end.record is not None
        started = time.perf_counter()
        figures = self.run(end.state.params)
        self.schedule.best.check(figures)
        means = "  ".join(
            f"{name.removeprefix(EVALUATION_PREFIX)} {value:.4g}" for name, value in figures.items()
        )
        self._announce(f"evaluated in {time.perf_counter() - started:.1f} s: {means}")
        end.record |= figures
        end.evaluated = True
        end.reader.restart_clock()  # the time of an evaluation is not that of steps
        if self.exhausted and not end.last:
            end.stopped_by = EARLY_STOP

    def run(self, params: steps.Parameters) -> dict[str, float]:
        """``eval/<task>/<metric>`` of every task, and ``eval/mean``: the mean headline metric in per cent."""
        whole = params if self._frozen is None else trainable.join(params, self._frozen)
        loaded = LoadedModel(
            self._config,
            self._structure.bind(whole),
            tokenizer=None,
            tokenizer_path=None,
            bos_id=self._ends["bos_id"],
            eos_id=self._ends["eos_id"],
            description="a run",
            fingerprint="",
        )
        others = self._others
        if isinstance(others, Follower):
            figures: dict[str, float] = others.follow(loaded)
        else:
            figures = self._judged(loaded, others)
            if others is not None:
                others.end(figures)
        self.history.append(figures)
        return figures

    def _judged(self, loaded: LoadedModel, lead: Lead | None) -> dict[str, float]:
        if self._judge is None:
            self._start(loaded, lead)
        else:
            self._judge.use(loaded.model)
        figures: dict[str, float] = {}
        headlines = []
        for name in self._tasks:
            found = self._judge.run(
                name, self.schedule.split, questions=self.schedule.examples, seed=self._data["seed"]
            )
            figures |= {
                f"{EVALUATION_PREFIX}{name}/{metric}": float(value) for metric, value in found.metrics.items()
            }
            main = averages.headline_of(name, found.metrics) or results.headline_first(found.metrics)[0]
            headlines.append(averages.per_cent(main, float(found.metrics[main])))
        figures[MEAN] = sum(headlines) / len(headlines)
        return figures

    def _start(self, loaded: LoadedModel, lead: Lead | None) -> None:
        # These import SeqIO and TensorFlow, which a run without evaluations never loads.
        import seqio

        from inters_jax.evaluation.judge import Judge
        from inters_jax.evaluation.tasks import judged_tasks, missing_data, split_names

        settings = configure(**{name: value for name, value in self._data.items() if value is not None})
        for name in judged_tasks(split_names(self.schedule.tasks)):
            splits = seqio.get_mixture_or_task(name).splits
            reason = (
                missing_data(name, self.schedule.split)
                if self.schedule.split in splits
                else f"it has no split {self.schedule.split!r} (EVAL_SPLIT), only {', '.join(splits)}"
            )
            if reason is None:
                self._tasks.append(name)
            else:
                self._announce(f"not evaluated: {name}: {reason}")
        if not self._tasks:
            raise UserError(
                f"nothing of EVAL_TASKS={self.schedule.tasks!r} can be evaluated on the split "
                f"{self.schedule.split!r}; choose other tasks, or EVAL_SPLIT='test'"
            )
        tokens = call_tokens(None, int(self._data["max_length"]))
        self._judge = Judge(
            loaded,
            HuggingFaceTokenizer(settings.tokenizer),
            max_new_tokens=self.schedule.max_new_tokens,
            batch_tokens=tokens.scoring,
            generation_tokens=tokens.generation,
            answerers=lead,
        )
