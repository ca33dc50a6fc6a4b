"""What needs no language model: the systems that `baselines.py` judges beside models."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqio_tasks import row_source, templates
from seqio_tasks.catalog import Pair, Row
from seqio_tasks.metrics import labels, protocols
from seqio_tasks.prompts.render import Variant, render

try:
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits
except ImportError as missing:
    raise SystemExit(
        f"baseline_systems needs scikit-learn ({missing}): pip install 'inters-jax[baselines]'"
    ) from missing

COMMONEST_LABEL, LINEAR = "commonest label", "logistic regression"
COMMONEST, COPIED = "commonest answer", "copied field"
FOLDS = 5
STRENGTHS = (0.1, 1, 10, 100)  # of C: a larger one fits the training rows more closely


@dataclass(frozen=True)
class Rows:
    """Rows of a pair: their ids, the texts of every field [fields][rows], and the right answers of each.

    gold: the labels of a row, or all references of a text; the first one is what a model is trained on.
    """

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


def asking(pair: Pair) -> list[int]:
    """The templates that ask for the answer of a pair, by their numbers."""
    every = templates.load(pair.task).of(pair.dataset)
    return [n for n, one in enumerate(every) if one.output_field == pair.answer and not one.reverse]


def shown_fields(pair: Pair) -> list[str]:
    """The fields that prompts show when they ask for the answer: a model sees no others either."""
    every = templates.load(pair.task).of(pair.dataset)
    return [name for name in pair.fields if any(name in every[n].input_fields for n in asking(pair))]


def read_rows(pair: Pair, split: str, raw_dir: str) -> Rows:
    """All rows of a split.

    Raises:
      MissingData: there are none.
    """

    def text(row: Row, name: str) -> str:
        value = row.get(name) or ""
        return value if isinstance(value, str) else "\n".join(value)

    def gold(row: Row) -> list[str]:
        if pair.kind == "classify":
            stated = row[pair.label_field]
            return labels.split_labels(stated) if pair.multi_label else [stated]
        asked = Variant(shots=0, preferred=asking(pair)[0])
        rendered = render(row, pair, variant=asked, seed=0, split="test")
        return list(dict.fromkeys([rendered.targets, *rendered.extras.get("references", ())]))

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


def judged_labels(pair: Pair, asked: Rows, given: Sequence[str], about: Mapping[str, Any]) -> System:
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


def judged_texts(pair: Pair, asked: Rows, given: Sequence[str], about: Mapping[str, Any]) -> System:
    """The metrics of given texts, as `evaluate` computes them."""
    records = [
        {"example_id": item, "prediction": text, "targets_pretokenized": gold[0], "references": gold}
        for item, text, gold in zip(asked.ids, given, asked.gold, strict=True)
    ]
    values = headline_values(pair, protocols.per_item(pair.name, records))
    predictions = dict(zip(asked.ids, given, strict=True))
    return System(protocols.score(pair.name, records), values, {**about, "predictions": predictions})


def headline_values(pair: Pair, found: Mapping[str, Mapping[str, float]]) -> Mapping[str, float]:
    """The values per item of the headline metric: per conversation, for a metric of turns."""
    name = protocols.headline(pair.name)
    return found[name] if name in found else found[f"{name} per conversation"]


def baselines(pair: Pair, train: Rows, asked: Rows) -> dict[str, System]:
    """The baselines of a pair on the rows `asked`; models are tested against the last one."""
    return (label_baselines if pair.kind == "classify" else text_baselines)(pair, train, asked)


def label_baselines(pair: Pair, train: Rows, asked: Rows) -> dict[str, System]:
    """The commonest label of the training rows, and logistic regression."""
    counts = Counter(label for own in train.gold for label in own)
    commonest = max(pair.labels, key=lambda label: counts[label])
    with threadpool_limits(1):  # the sums are short: threads would mostly wait for one another
        strength = best_strength(train)
        known, unknown = features(train.texts, asked.texts)
        given = classifier(known, train.gold, strength)(unknown)
    return {
        COMMONEST_LABEL: judged_labels(pair, asked, [commonest] * len(asked.ids), {"label": commonest}),
        LINEAR: judged_labels(pair, asked, given, {"C": strength, "features": known.shape[1]}),
    }


def text_baselines(pair: Pair, train: Rows, asked: Rows) -> dict[str, System]:
    """The commonest answer of the training rows, and the field that answers them best; the better last."""
    answer = Counter(own[0] for own in train.gold).most_common(1)[0][0]
    copies = {name: number for number, name in enumerate(shown_fields(pair)) if name != pair.answer}

    def on_training_rows(texts: Sequence[str]) -> float:
        return float(np.mean(list(judged_texts(pair, train, texts, {}).values.values())))

    reached = {name: on_training_rows(train.texts[number]) for name, number in copies.items()}
    field = max(reached, key=lambda name: reached[name])
    systems = {
        COMMONEST: judged_texts(pair, asked, [answer] * len(asked.ids), {"answer": answer}),
        COPIED: judged_texts(pair, asked, asked.texts[copies[field]], {"field": field}),
    }
    copied_last = reached[field] >= on_training_rows([answer] * len(train.ids))
    return systems if copied_last else dict(reversed(systems.items()))
