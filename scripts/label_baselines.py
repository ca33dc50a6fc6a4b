"""What label tasks reach without a language model: the commonest label, and a linear classifier.

    python scripts/label_baselines.py --raw_dir data/inters --output baselines --max_examples 200
    python scripts/label_baselines.py --raw_dir data/inters --output baselines --store stores/inters \\
        --evaluation runs/before/evaluation --evaluation runs/after/evaluation

Needs scikit-learn: pip install 'inters-jax[baselines]'. For every pair of the catalog whose answers are
labels and whose files are there:

    commonest label       of the training rows
    logistic regression   on TF-IDF of words and pairs of words. Every field that the templates show has a
                          vocabulary of its own ("query: ..." and "document: ..." are two texts). C is chosen
                          by cross-validation on the training rows

Both learn from the training rows of the pair; with --store, from those that are in the store of the run (an
example that is too long is not). They are judged on the rows that `evaluate` judges: the first --max_examples
of the test split or, with --evaluation, exactly the questions of that evaluation, found by their ids.

Every evaluation is tested against logistic regression, question by question: paired permutation test, and
Holm's correction over its pairs. Written are label_baselines.md and label_baselines.json (with every
prediction of the baselines) in the folder --output.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inters_jax.data.token_store import TokenStore
from inters_jax.evaluation.averages import form_of
from inters_jax.evaluation.comparison import Comparison, Values, compare_values
from inters_jax.evaluation.comparison_files import per_item_values, short_names
from inters_jax.evaluation.items import interval
from inters_jax.evaluation.results import read_result, write_json, wrong_file
from inters_jax.reports.tables import NONE, Table, markdown, p_text
from seqio_tasks import catalog, row_source, settings, templates
from seqio_tasks.base import UserError, write_text
from seqio_tasks.catalog import Pair, Row
from seqio_tasks.expected_errors import one_line
from seqio_tasks.metrics import labels, protocols

try:
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits
except ImportError as missing:
    raise SystemExit(
        f"label_baselines needs scikit-learn ({missing}): pip install 'inters-jax[baselines]'"
    ) from missing

MAJORITY, LINEAR = "commonest label", "logistic regression"
FOLDS = 5
STRENGTHS = (0.1, 1, 10, 100)  # of C: a larger one fits the training rows more closely


@dataclass(frozen=True)
class Rows:
    """Rows of a pair: their ids, the texts of every field [fields][rows], and the right labels of each."""

    ids: list[str]
    texts: list[list[str]]
    gold: list[list[str]]

    def part(self, chosen: Sequence[int]) -> Rows:
        """Some of the rows, by their numbers."""
        return Rows(
            [self.ids[row] for row in chosen],
            [[column[row] for row in chosen] for column in self.texts],
            [self.gold[row] for row in chosen],
        )


@dataclass(frozen=True)
class System:
    """What a system reaches: the pair's metrics in per cent, and 0 or 100 for every question."""

    metrics: Mapping[str, float]
    values: Mapping[str, float]
    about: Mapping[str, Any]


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
            if form is not None and form[0].kind == "classify" and form[1] == "zero-shot":
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
        values = per_item_values(self.path, task)[protocols.headline(pair.name)]
        return System(self.result["metrics"][task], values, {"task": task})


def shown_fields(pair: Pair) -> list[str]:
    """The fields that prompts show when they ask for the label: a model sees no others either."""
    asking = [
        template
        for template in templates.load(pair.task).of(pair.dataset)
        if template.output_field == pair.label_field and not template.reverse
    ]
    return [name for name in pair.fields if any(name in template.input_fields for template in asking)]


def read_rows(pair: Pair, split: str, raw_dir: str) -> Rows:
    """All rows of a split.

    Raises:
      MissingData: there are none.
    """

    def text(row: Row, name: str) -> str:
        value = row.get(name) or ""
        return value if isinstance(value, str) else "\n".join(value)

    def gold(row: Row) -> list[str]:
        return labels.split_labels(row[pair.label_field]) if pair.multi_label else [row[pair.label_field]]

    rows = row_source.load_rows(pair, split, raw_dir=raw_dir).rows
    texts = [[text(row, name) for row in rows] for name in shown_fields(pair)]
    return Rows([row["example_id"] for row in rows], texts, [gold(row) for row in rows])


def features(train: Sequence[Sequence[str]], asked: Sequence[Sequence[str]]) -> tuple[Any, Any]:
    """TF-IDF features of texts [fields][rows], by the words of `train`; the fields stand side by side."""
    blocks = []
    for own, others in zip(train, asked, strict=True):
        if not any(re.search(r"\w", text) for text in own):
            continue  # an optional field that no training row has
        words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\b\w+\b")
        blocks.append((words.fit_transform(own), words.transform(others)))
    return hstack([one for one, _ in blocks], "csr"), hstack([other for _, other in blocks], "csr")


def classifier(matrix: Any, gold: Sequence[Sequence[str]], strength: float) -> Callable[[Any], list[str]]:
    """Train on a matrix [rows, features]; a row of several labels counts for each by its share."""
    stated = [label for own in gold for label in own]
    if len(set(stated)) == 1:
        return lambda asked: [stated[0]] * asked.shape[0]
    rows = [row for row, own in enumerate(gold) for _ in own]
    model = LogisticRegression(C=strength, max_iter=2000)
    model.fit(matrix[rows], stated, sample_weight=[1 / len(gold[row]) for row in rows])
    return lambda asked: [str(label) for label in model.predict(asked)]


def best_strength(train: Rows) -> float:
    """C by cross-validation: the share of right answers over all folds; of equal ones the smallest.

    The folds have the labels in equal shares.
    """
    shuffled = np.random.default_rng(0).permutation(len(train.ids))
    dealt = sorted(shuffled.tolist(), key=lambda row: train.gold[row][0])
    folds = [sorted(dealt[fold::FOLDS]) for fold in range(min(FOLDS, len(dealt)))]
    right = Counter[float]()
    for fold in folds:
        asked = train.part(fold)
        rest = train.part(np.delete(np.arange(len(dealt)), fold).tolist())
        if not rest.ids:
            break  # a single row
        known, unknown = features(rest.texts, asked.texts)
        for strength in STRENGTHS:
            given = classifier(known, rest.gold, strength)(unknown)
            right[strength] += sum(label in own for label, own in zip(given, asked.gold, strict=True))
    return max(STRENGTHS, key=lambda strength: right[strength])


def judged(pair: Pair, asked: Rows, given: Sequence[str], about: Mapping[str, Any]) -> System:
    """The metrics of predicted labels, as `evaluate` computes them."""
    if pair.multi_label:
        found = labels.precision_at_1(asked.gold, given, pair.labels)
    else:
        found = labels.classification([own[0] for own in asked.gold], given, pair.labels)
    values = {
        item: 100.0 * (label in own) for item, label, own in zip(asked.ids, given, asked.gold, strict=True)
    }
    metrics = {name: found[name] for name in pair.metrics}
    return System(metrics, values, {**about, "predictions": dict(zip(asked.ids, given, strict=True))})


def baselines(pair: Pair, train: Rows, asked: Rows) -> dict[str, System]:
    """Both baselines on the rows `asked`."""
    counts = Counter(label for own in train.gold for label in own)
    commonest = max(pair.labels, key=lambda label: counts[label])
    with threadpool_limits(1):  # the sums are short: threads would mostly wait for one another
        strength = best_strength(train)
        known, unknown = features(train.texts, asked.texts)
        given = classifier(known, train.gold, strength)(unknown)
    return {
        MAJORITY: judged(pair, asked, [commonest] * len(asked.ids), {"label": commonest}),
        LINEAR: judged(pair, asked, given, {"C": strength, "features": known.shape[1]}),
    }


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
    """Every evaluation against logistic regression, with Holm's correction over its pairs."""
    compared = {}
    for name in evaluations:
        tables = []
        for pair, systems in found.items():
            if name in systems:
                values = {system: systems[system].values for system in (LINEAR, name)}
                tables.append(Values(pair, {protocols.headline(pair): values}))
        if tables:
            compared[name] = compare_values(tables)
    return compared


def figures_table(found: Mapping[str, Mapping[str, System]]) -> Table:
    """One row per pair and system."""
    rows = []
    for pair, systems in found.items():
        metric = protocols.headline(pair)
        for name, system in systems.items():
            shown = {MAJORITY: "label", LINEAR: "C"}.get(name)
            title = name if shown is None else f"{name} ({shown}: {system.about[shown]})"
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
                    table.title.removeprefix("inters_"), name, f"{len(table.items):,}",
                    f"{test.difference:+.1f}", f"{test.low:+.1f} to {test.high:+.1f}", p_text(test.p_value),
                    p_text(test.p_adjusted), f"{test.wins} / {test.ties} / {test.losses}",
                ]
            )  # fmt: skip
    header = ["pair", "model", "n", "difference", "95 % interval", "p", "p (Holm)", "better / equal / worse"]
    notes = [
        "The model's value minus that of logistic regression, on the same questions. p: paired permutation "
        "test; Holm: corrected over the pairs of an evaluation."
    ]
    return Table("Models against logistic regression", header, rows, notes, align="llrrrrrr")


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
        if pair.kind != "classify":
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
        raise UserError(f"no label task can be judged; left out: {left_out}")
    compared = tests(found, evaluations)
    sizes = ", ".join(
        f"{name.removeprefix('inters_')} {one['training rows']:,}" for name, one in about.items()
    )
    parts: list[str | Table] = [f"Split {split}. Training rows: {sizes}.", figures_table(found)]
    parts += [tests_table(compared)] if compared else []
    parts += [f"Left out: {name}: {reason}." for name, reason in left_out.items()]
    text = markdown("Label tasks without a language model", parts)
    write_text(options.output / "label_baselines.md", text)
    write_json(
        options.output / "label_baselines.json",
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
    with one_line("label_baselines"):
        run(options)


if __name__ == "__main__":
    main()
