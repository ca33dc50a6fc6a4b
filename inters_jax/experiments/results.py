"""The results of finished runs, by experiment, pair and seed, as means and by item.

Values are the headline measure of each pair of the catalog (per cent), nDCG@10 of a reranked collection and,
where runs were judged with TARGET_LOSS, the losses of the right answers (nats per token). A pair counts under
its own name in whatever form it was judged (choices, with shots, with one template), so that experiments can
be compared.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inters_jax.evaluation import averages, records, target_loss
from inters_jax.evaluation.comparison import CompareError
from inters_jax.evaluation.comparison_files import per_item_values
from inters_jax.evaluation.results import read_result
from inters_jax.experiments.lists import Experiment, ExperimentList
from inters_jax.experiments.runs import Run, is_finished
from seqio_tasks import catalog
from seqio_tasks.metrics import evaluate_run, read_qrels, read_run

RERANKED = "reranking of "


@dataclass
class Results:
    """The results of one experiment.

    Attributes:
      experiment: what was run.
      values: pair -> seed -> per cent.
      items: pair -> seed -> item -> per cent.
      losses: pair -> seed -> nats per token.
      loss_items: pair -> seed -> item -> nats per token.
      notes: what is missing, for the reader.
    """

    experiment: Experiment
    values: dict[str, dict[int, float]] = field(default_factory=dict)
    items: dict[str, dict[int, Mapping[str, float]]] = field(default_factory=dict)
    losses: dict[str, dict[int, float]] = field(default_factory=dict)
    loss_items: dict[str, dict[int, Mapping[str, float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def seeds(self) -> list[int]:
        """The seeds that have a value of any pair."""
        return sorted({seed for own in self.values.values() for seed in own})

    def means(self, pairs: Sequence[str]) -> list[float]:
        """The mean over `pairs`, seed by seed, for the seeds that have all of them."""
        complete = [seed for seed in self.seeds if pairs and all(seed in self.values[pair] for pair in pairs)]
        return [statistics.fmean(self.values[pair][seed] for pair in pairs) for seed in complete]

    def pairs_of(self, group: str) -> list[str]:
        """The pairs of one group of the catalog."""
        names = {pair.name for pair in catalog.PAIRS if pair.group == group}
        return [pair for pair in self.values if pair in names]

    def of_losses(self) -> Results:
        """The same experiment with the losses of the right answers as its values."""
        return Results(self.experiment, values=self.losses, items=self.loss_items)


def gather(experiments: ExperimentList, runs: Sequence[Run]) -> dict[str, Results]:
    """Results of all finished runs, by experiment; experiments without any are left out."""
    results = {one.name: Results(one) for one in experiments.experiments}
    for run in runs:
        if is_finished(run):
            for step in run.steps:
                if step.results is not None:
                    _add(results[run.experiment.name], run.seed, step.results, step.name)
    return {name: own for name, own in results.items() if own.values}


def series(results: Mapping[str, Results]) -> dict[str, list[tuple[float, float]]]:
    """Points (place, mean over seeds) of every series, over the pairs that all of its experiments have."""
    members: dict[str, list[Results]] = {}
    for own in results.values():
        for name in own.experiment.series:
            members.setdefault(name, []).append(own)
    found = {}
    for name, these in members.items():
        shared = [pair for pair in these[0].values if all(pair in own.values for own in these)]
        points = [(own.experiment.series[name], own.means(shared)) for own in these]
        found[name] = sorted((place, statistics.fmean(means)) for place, means in points if means)
    return {name: points for name, points in found.items() if points}


def _add(own: Results, seed: int, folder: Path, step: str) -> None:
    result = read_result(folder)
    if step == "rerank":
        name = RERANKED + str(result["manifest"].get("collection", "a collection"))
        value = result["metrics"].get("reranked", {}).get("nDCG@10")
        if value is not None:
            own.values.setdefault(name, {})[seed] = averages.per_cent("nDCG@10", value)
            own.items.setdefault(name, {})[seed] = _per_cent("nDCG@10", _reranked(folder))
        return
    judged = {
        task: form
        for task, metrics in result["metrics"].items()
        if (form := averages.form_of(task)) is not None and averages.headline_of(task, metrics)
    }
    several = len({setting for _, setting in judged.values()}) > 1
    for task in sorted(judged, key=lambda name: not name.endswith(("_choices", "_rerank"))):
        pair, setting = judged[task]
        # Judged in several settings (without and with shots, say): all but zero-shot have names of their own.
        name = f"{pair.name}_{setting}" if several and setting != "zero-shot" else pair.name
        if seed in own.values.get(name, {}):
            continue
        main = averages.headline_of(task, result["metrics"][task])
        assert main is not None  # of `judged`
        own.values.setdefault(name, {})[seed] = averages.per_cent(main, result["metrics"][task][main])
        try:
            items = per_item_values(folder, task).get(main)
        except CompareError as error:
            own.notes.append(f"{own.experiment.name}, seed {seed}: no values per item: {error}.")
            continue
        if items:
            own.items.setdefault(name, {})[seed] = _per_cent(main, items)
        if target_loss.LOSS in result["metrics"][task]:
            own.losses.setdefault(name, {})[seed] = result["metrics"][task][target_loss.LOSS]
            losses = target_loss.by_question(records.read(folder / task / records.PREDICTIONS))
            own.loss_items.setdefault(name, {})[seed] = losses


def _per_cent(measure: str, items: Mapping[str, float]) -> dict[str, float]:
    return {item: averages.per_cent(measure, value) for item, value in items.items()}


def _reranked(folder: Path) -> Mapping[str, float]:
    files = folder / "reranked.trec", folder / "qrels.txt"
    if not all(file.is_file() for file in files):
        return {}
    return evaluate_run(read_qrels(files[1]), read_run(files[0]), ["nDCG@10"]).per_query["nDCG@10"]
