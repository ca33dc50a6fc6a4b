"""What tasks reach without a language model, and whether models reach more.

    python scripts/baselines.py --raw_dir data/inters --output baselines --max_examples 200
    python scripts/baselines.py --raw_dir data/inters --output baselines --store stores/inters \\
        --evaluation runs/before/evaluation --evaluation runs/after/evaluation

Needs scikit-learn: pip install 'inters-jax[baselines]'. For every pair of the catalog whose answers are
labels or texts and whose files are there:

    commonest label       of the training rows
    logistic regression   on TF-IDF of words and pairs of words. Every field that the templates show has a
                          vocabulary of its own ("query: ..." and "document: ..." are two texts). C is chosen
                          by cross-validation on the training rows
    commonest answer      of the training rows, where answers are texts
    copied field          a field that the templates show, as it is: the turn that is to be rewritten, say. Of
                          several, the one that answers the training rows best

All learn from the training rows of the pair; with --store, from those that are in the store of the run (an
example that is too long is not). They are judged on the rows that `evaluate` judges: the first --max_examples
of the test split or, with --evaluation, exactly the questions of that evaluation, found by their ids.

Every evaluation is tested question by question, against logistic regression or that of the two baselines of
texts which is better on the training rows: paired permutation test, and Holm's correction over its pairs.
Written are baselines.md and baselines.json (with every prediction of the baselines) in the folder --output.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from baseline_systems import (
    COMMONEST,
    COMMONEST_LABEL,
    COPIED,
    LINEAR,
    Rows,
    System,
    baselines,
    headline_values,
    read_rows,
    shown_fields,
)

from inters_jax.data.token_store import TokenStore
from inters_jax.evaluation.averages import form_of
from inters_jax.evaluation.comparison import Comparison, Values, compare_values
from inters_jax.evaluation.comparison_files import per_item_values, short_names
from inters_jax.evaluation.items import interval
from inters_jax.evaluation.results import read_result, write_json, wrong_file
from inters_jax.reports.tables import NONE, Table, markdown, p_text
from seqio_tasks import catalog, row_source, settings
from seqio_tasks.base import UserError, write_text
from seqio_tasks.catalog import Pair
from seqio_tasks.expected_errors import one_line
from seqio_tasks.metrics import protocols

SHOWN = {COMMONEST_LABEL: "label", LINEAR: "C", COMMONEST: "answer", COPIED: "field"}


@dataclass(frozen=True)
class Evaluation:
    """A result of `evaluate`, and the task that stands for each pair."""

    path: Path
    result: Mapping[str, Any]
    tasks: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> Evaluation:
        """Read results.json; of several forms of a pair, the scored one counts, asked without demonstrations.

        Raises:
          UserError: it is no result of `evaluate`.
        """
        result = read_result(path)
        if result["manifest"].get("command") != "evaluate":
            raise UserError(f"{path}: not a result of evaluate; name the folder with its results.json")
        tasks: dict[str, str] = {}
        for task in sorted(result["metrics"], key=lambda name: not name.endswith("_choices")):
            form = form_of(task)
            if form is not None and form[0].kind != "rank" and form[1] == "zero-shot":
                tasks.setdefault(form[0].name, task)
        return cls(path, result, tasks)

    def system(self, pair: Pair) -> System:
        """What the model reaches on a pair.

        Raises:
          UserError: its files were changed, or cannot be read.
        """
        task = self.tasks[pair.name]
        folder = self.path if self.path.is_dir() else self.path.parent
        if (wrong := wrong_file(folder, self.result, task)) is not None:
            raise UserError(f"{wrong}; evaluate this task again")
        values = headline_values(pair, per_item_values(self.path, task))
        return System(self.result["metrics"][task], values, {"task": task})


def ids_in_store(store: TokenStore, pair: Pair) -> set[str]:
    """The example ids of a pair in a token store, whatever form its task has."""
    tasks = [task for task in store.tasks if (form := form_of(task)) is not None and form[0] == pair]
    return {
        store.example_id(task, number, index)
        for task in tasks
        for number in range(store.passes(task))
        for index in range(store.examples(task, number))
    }


def training_rows(pair: Pair, raw_dir: str, store: TokenStore | None) -> Rows:
    """The training rows of a pair, those of a store if one is given.

    Raises:
      UserError: the store has examples that the files have not.
    """
    rows = read_rows(pair, "train", raw_dir)
    if store is None:
        return rows
    inside = ids_in_store(store, pair)
    if inside - set(rows.ids):
        raise UserError(
            f"{store.folder}: {len(inside - set(rows.ids))} of {len(inside)} examples of {pair.name} are not "
            f"among the training rows in {raw_dir}; name the raw_dir that the store was made from"
        )
    return rows.part([row for row, item in enumerate(rows.ids) if item in inside])


def asked_rows(
    pair: Pair, raw_dir: str, split: str, systems: Mapping[str, System], limit: int | None
) -> Rows:
    """The questions of the evaluations, or the first ones of the split.

    Raises:
      UserError: the evaluations have other questions than one another, or than the files.
    """
    rows = read_rows(pair, split, raw_dir)
    if not systems:
        return rows.part(range(min(limit or len(rows.ids), len(rows.ids))))
    (first, one), *others = systems.items()
    for name, other in others:
        if one.values.keys() != other.values.keys():
            raise UserError(
                f"{pair.name}: {first} was judged on {len(one.values)} questions and {name} on "
                f"{len(other.values)}, {len(one.values.keys() & other.values.keys())} of them the same; name "
                "evaluations of the same questions"
            )
    if unknown := sorted(one.values.keys() - set(rows.ids)):
        raise UserError(
            f"{first}: {len(unknown)} questions of {pair.name}, such as {unknown[0]}, are not in the split "
            f"{split} of {raw_dir}; name the raw_dir on which it was evaluated"
        )
    return rows.part([row for row, item in enumerate(rows.ids) if item in one.values])


def split_of(evaluations: Mapping[str, Evaluation]) -> str:
    """The split that all evaluations judged; "test" without any.

    Raises:
      UserError: they differ.
    """
    found = {name: one.result["manifest"].get("split", "test") for name, one in evaluations.items()}
    if len(set(found.values())) > 1:
        raise UserError(f"the evaluations are of different splits: {found}; name those of one split")
    return next(iter(found.values()), "test")


def tests(
    found: Mapping[str, Mapping[str, System]], evaluations: Mapping[str, Evaluation]
) -> dict[str, Comparison]:
    """Every evaluation against the last baseline of each pair, with Holm's correction over its pairs."""
    compared = {}
    for name in evaluations:
        tables = []
        for pair, systems in found.items():
            if name in systems:
                values = {system: systems[system].values for system in (last_baseline(systems), name)}
                tables.append(Values(pair, {protocols.headline(pair): values}))
        if tables:
            compared[name] = compare_values(tables)
    return compared


def last_baseline(systems: Mapping[str, System]) -> str:
    """The baseline that models are tested against."""
    return [name for name in systems if name in SHOWN][-1]


def figures_table(found: Mapping[str, Mapping[str, System]]) -> Table:
    """One row per pair and system."""
    rows = []
    for pair, systems in found.items():
        metric = protocols.headline(pair)
        for name, system in systems.items():
            shown = SHOWN.get(name)
            title = name if shown is None else f"{name} ({shown}: {str(system.about[shown])[:40]})"
            values = np.asarray(list(system.values.values()))
            around = interval(values)
            macro = system.metrics.get("macro_f1")
            rows.append(
                [
                    pair.removeprefix("inters_"), title, metric, f"{len(values):,}",
                    f"{values.mean():.1f}",
                    NONE if around is None else f"{around[0]:.1f} to {around[1]:.1f}",
                    NONE if macro is None else f"{macro:.1f}",
                ]
            )  # fmt: skip
    header = ["pair", "system", "metric", "n", "value", "95 % interval", "macro F1"]
    notes = ["Per cent. n: questions. Intervals: percentile bootstrap over questions."]
    return Table("Figures", header, rows, notes, align="lllrrrr")


def tests_table(compared: Mapping[str, Comparison]) -> Table:
    """One row per pair and evaluation."""
    rows = []
    for name, comparison in compared.items():
        for table in comparison.tables:
            (test,) = table.tests
            rows.append(
                [
                    table.title.removeprefix("inters_"), name, test.one, f"{len(table.items):,}",
                    f"{test.difference:+.1f}", f"{test.low:+.1f} to {test.high:+.1f}", p_text(test.p_value),
                    p_text(test.p_adjusted), f"{test.wins} / {test.ties} / {test.losses}",
                ]
            )  # fmt: skip
    header = ["pair", "model", "baseline", "n", "difference", "95 % interval", "p", "p (Holm)"]
    header += ["better / equal / worse"]
    notes = [
        "The model's value minus that of the baseline, on the same questions. p: paired permutation test; "
        "Holm: corrected over the pairs of an evaluation."
    ]
    return Table("Models against baselines", header, rows, notes, align="lllrrrrrr")


def run(options: argparse.Namespace) -> None:
    """Judge the baselines, and write the tables."""
    raw_dir = options.raw_dir or settings.current().raw_dir
    store = None if options.store is None else TokenStore.open(options.store)
    evaluations = {name: Evaluation.read(path) for name, path in short_names(options.evaluation).items()}
    split = split_of(evaluations)
    found: dict[str, dict[str, System]] = {}
    about: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    for pair in catalog.PAIRS:
        if pair.kind == "rank":
            continue
        reasons = (row_source.missing(pair, one, raw_dir=raw_dir) for one in ("train", split))
        if (reason := next(filter(None, reasons), None)) is not None:
            left_out[pair.name] = reason
            continue
        models = {name: one.system(pair) for name, one in evaluations.items() if pair.name in one.tasks}
        if evaluations and not models:
            left_out[pair.name] = "in no evaluation"
            continue
        train = training_rows(pair, raw_dir, store)
        if not train.ids:
            left_out[pair.name] = f"no example in the store {options.store}"
            continue
        asked = asked_rows(pair, raw_dir, split, models, options.max_examples)
        found[pair.name] = baselines(pair, train, asked) | models
        about[pair.name] = {"training rows": len(train.ids), "fields": shown_fields(pair)}
        print(f"{pair.name}: {len(train.ids):,} training rows, {len(asked.ids):,} questions", flush=True)
    if not found:
        raise UserError(f"no task can be judged; left out: {left_out}")
    compared = tests(found, evaluations)
    sizes = ", ".join(
        f"{name.removeprefix('inters_')} {one['training rows']:,}" for name, one in about.items()
    )
    parts: list[str | Table] = [f"Split {split}. Training rows: {sizes}.", figures_table(found)]
    parts += [tests_table(compared)] if compared else []
    parts += [f"Left out: {name}: {reason}." for name, reason in left_out.items()]
    text = markdown("Baselines without a language model", parts)
    write_text(options.output / "baselines.md", text)
    write_json(
        options.output / "baselines.json",
        {
            "split": split,
            "max_examples": options.max_examples,
            "pairs": {
                pair: about[pair]
                | {"systems": {name: dataclasses.asdict(system) for name, system in systems.items()}}
                for pair, systems in found.items()
            },
            "tests": {
                name: {table.title: dataclasses.asdict(table.tests[0]) for table in comparison.tables}
                for name, comparison in compared.items()
            },
            "left_out": left_out,
        },
    )
    print(text, end="")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; ends with one line for an error of the user."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--raw_dir", help="folder of the official files; default: the packaged sample")
    parser.add_argument("--output", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--store", type=Path, help="token store of a run: train on the rows that are in it")
    questions = parser.add_mutually_exclusive_group()
    questions.add_argument(
        "--max_examples", type=int, metavar="N", help="the first N test rows, as MAX_EXAMPLES of evaluate"
    )
    questions.add_argument(
        "--evaluation",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="OUTPUT_DIR of evaluate (again for another): judge its questions, and test it",
    )
    options = parser.parse_args(arguments)
    if options.max_examples is not None and options.max_examples < 1:
        parser.error("--max_examples must be at least 1")
    with one_line("baselines"):
        run(options)


if __name__ == "__main__":
    main()
