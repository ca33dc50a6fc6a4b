"""The variants of a pair that are tasks: which rows, which prompts, which fields for metrics."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seqio_tasks import document_groups, row_source, settings
from seqio_tasks.base import UserError
from seqio_tasks.catalog import Pair, Row
from seqio_tasks.prompts import encoding, render
from seqio_tasks.prompts.encoding import BatchVocabulary, Encoded
from seqio_tasks.prompts.filling import Rendered
from seqio_tasks.prompts.render import Variant
from seqio_tasks.row_source import SplitRows
from seqio_tasks.settings import Settings
from seqio_tasks.sources.common import SourceReport
from seqio_tasks.templates import FAMILIES, JUDGED, SLOTS

TEXT, NUMBER, TEXTS = "text", "number", "texts"

VOLUMES = (25, 50, 75)  # per cent of the training rows, besides all of them
VARIETIES = (1, 3, 6)  # templates of a pair in training, besides all twelve
TEST_TEMPLATES = 5  # evaluated one by one: the first ones, which are never reversed
ABLATED = {"_no_description": Variant(description=False), "_no_template": Variant(keyword_only=True)}
SHOTS = (1, 2, 3, 4)  # demonstrations at test time, besides none and five


@dataclass(frozen=True)
class Form:
    """One variant of a task.

    suffix: of the task name; variant: the form of the prompts; choices: one example per possible answer, for
    scoring; rerank: rows are the candidates of a first stage; documents: a row gives a group of examples, one
    per document (`document_groups`); splits: those that the form has; fraction: of the training rows, a fixed
    part (demonstrations come from it as well).
    """

    suffix: str = ""
    variant: Variant = field(default_factory=Variant)
    choices: bool = False
    rerank: bool = False
    documents: bool = False
    splits: tuple[str, ...] = row_source.SPLITS
    fraction: float = 1.0

    @property
    def render(self) -> Callable[..., Rendered]:
        """Renders a row; called like `render.render`."""
        return render.render

    def rows(self, pair: Pair, split: str, raw_dir: str) -> SplitRows:
        """The rows of a split.

        Raises:
          UserError: the form has no such split.
          MissingData: there is no data.
        """
        if split not in self.splits:
            raise UserError(
                f"{pair.name}{self.suffix} has no split {split!r} (it has {', '.join(self.splits)})"
            )
        teacher = settings.current().teacher if self.documents else ()
        found = row_source.load_rows(pair, split, raw_dir=raw_dir, rerank=self.rerank, teacher=teacher)
        if split != "train" or self.fraction >= 1:
            return found
        part = row_source.fixed_part(found.rows, self.fraction)
        return SplitRows(part, SourceReport(found.report))

    def encoded(
        self,
        rows: Sequence[Row],
        pair: Pair,
        vocabulary: BatchVocabulary,
        config: Settings,
        *,
        epoch: int = 0,
        max_length: int | None = None,
        report: Counter[str],
        **options: Any,
    ) -> Iterator[Encoded]:
        """The examples of rows, in order; called like `encoding.encode_rows`."""
        encode: Callable[..., Iterator[Encoded]] = functools.partial(
            encoding.encode_rows,
            pair=pair,
            vocabulary=vocabulary,
            variant=self.variant,
            epoch=epoch,
            choices=self.choices,
            render=self.render,
            **options,
        )
        if not self.documents:
            return encode(rows, config=config, max_length=max_length, report=report)
        return document_groups.encode_groups(
            rows, config, encode, epoch=epoch, max_length=max_length, report=report
        )

    def count(self, pair: Pair, split: str, raw_dir: str) -> int:
        """The number of rows of a split; with `choices`, a row gives several examples."""
        if self.rerank:
            return len(self.rows(pair, split, raw_dir).rows)
        rows = row_source.count(pair, split, raw_dir=raw_dir)
        return row_source.part_size(rows, self.fraction) if split == "train" else rows

    def renderings(self, pair: Pair, split: str) -> float:
        """Different prompts that a row gives, as the authors count them.

        A training row is rendered with every number of demonstrations, and a Yes/No question about documents
        once for each answer. Half of the templates of a ranking pair are such questions: 9 renderings of
        ranking rows, 6 of all others. A query with its documents comes round as often as the row by itself.
        """
        if split != "train" or self.choices:
            return 1.0
        if self.documents:
            return Form().renderings(pair, split)
        shots = settings.current().max_shots + 1 if self.variant.shots is None else 1
        if pair.kind != "rank":
            return float(shots)
        asked = [FAMILIES[slot // 2] for slot in render.some_of(SLOTS, self.variant.variety)]
        asked = [family for family in asked if self.variant.family in (None, family)] or [FAMILIES[0]]
        return shots * (1 + sum(family in JUDGED for family in asked) / len(asked))

    def qrels(self, pair: Pair, split: str) -> Mapping[str, Mapping[str, int]]:
        """All judgments of a split, for the metrics of reranking."""
        return row_source.read_qrels(pair, split)

    def demonstrates(self, split: str) -> bool:
        """Whether prompts of that split may carry demonstrations."""
        return split == "train" if self.variant.shots is None else self.variant.shots > 0

    def demonstrations(self, pair: Pair, split: str, raw_dir: str) -> Sequence[Row]:
        """The rows demonstrations are drawn from: always those of the training split."""
        if not self.demonstrates(split):
            return ()
        rows = row_source.load_rows(pair, "train", raw_dir=raw_dir).rows
        return row_source.fixed_part(rows, self.fraction)

    def missing(self, pair: Pair, split: str, raw_dir: str) -> str | None:
        """Why a split cannot be read; None if it can."""
        if split not in self.splits:
            return f"{pair.name}{self.suffix} has no split {split!r}"
        needed = {split, "train"} if self.demonstrates(split) else {split}
        reasons = (row_source.missing(pair, name, raw_dir=raw_dir) for name in sorted(needed))
        return next((reason for reason in reasons if reason), None)

    @property
    def fields(self) -> Mapping[str, str]:
        """Features of an example besides its tokens, and their kinds."""
        common = {
            "inputs_pretokenized": TEXT,
            "targets_pretokenized": TEXT,
            "example_id": TEXT,
            "template": NUMBER,
            "shots": NUMBER,
        }
        if self.rerank:
            return common | {
                "split": TEXT,
                "query_id": TEXT,
                "doc_id": TEXT,
                "relevance": NUMBER,
                "first_stage_rank": NUMBER,
                "choice": NUMBER,
            }
        if self.choices:
            return common | {"gold": TEXT, "choice": NUMBER}
        if self.documents:
            of_document = {"group": TEXT, "query_id": TEXT, "doc_id": TEXT, "relevance": NUMBER}
            return common | of_document | {"references": TEXTS}
        return common | {"references": TEXTS}

    def values(self, encoded: Encoded, row: Row, split: str) -> dict[str, Any]:
        """The values of `fields` for one example made from a row."""
        example, extras = encoded.example, encoded.example.extras
        found: dict[str, Any] = {
            "inputs_pretokenized": example.inputs,
            "targets_pretokenized": example.targets,
            "example_id": example.example_id,
            "template": example.template,
            "shots": example.shots,
        }
        if self.rerank:
            found |= {name: row[name] for name in ("query_id", "doc_id", "relevance")}
            found |= {"split": split, "first_stage_rank": row["rank"], "choice": extras["choice"]}
        elif self.choices:
            found |= {"gold": extras["gold"], "choice": extras["choice"]}
        else:
            # References belong to the answer field; a training template may ask for another field.
            references = extras.get("references", ())
            found["references"] = list(references) if example.targets in references else [example.targets]
        if self.documents:
            found |= {name: extras[name] for name in ("query_id", "doc_id", "relevance")}
            found["group"] = extras["group_id"]
        return found


def forms_of(pair: Pair) -> Iterator[Form]:
    """All forms of a pair; the first one, without suffix, is the training task."""
    yield Form()
    yield Form("_0shot", Variant(shots=0))
    yield Form("_5shot", Variant(shots=5))
    for suffix, variant in ABLATED.items():
        yield Form(suffix, variant)
    for percent in VOLUMES:
        yield Form(f"_{percent}pct", splits=("train",), fraction=percent / 100)
    for number in VARIETIES:
        yield Form(f"_{number}template{'s' * (number > 1)}", Variant(variety=number), splits=("train",))
    judged = ("validation", "test")
    if pair.kind == "classify":
        yield Form("_choices", Variant(shots=0), choices=True)
        for suffix, variant in ABLATED.items():
            asked = dataclasses.replace(variant, shots=0)
            yield Form(f"_choices{suffix}", asked, choices=True, splits=judged)
    if pair.kind == "rank":
        pointwise = Variant(shots=0, template=0, family="pointwise_judgment")
        yield Form("_rerank", pointwise, choices=True, rerank=True, splits=judged)
        for suffix, variant in ABLATED.items():
            asked = dataclasses.replace(variant, shots=0, template=0, family="pointwise_judgment")
            yield Form(f"_rerank{suffix}", asked, choices=True, rerank=True, splits=judged)
        second = Variant(shots=0, template=1, family="pointwise_judgment")
        yield Form("_rerank_template1", second, choices=True, rerank=True, splits=judged)
        for shots in (*SHOTS, 5):
            asked = dataclasses.replace(pointwise, shots=shots)
            yield Form(f"_rerank_{shots}shot", asked, choices=True, rerank=True, splits=judged)
        for family in FAMILIES:
            yield Form(f"_{family}", Variant(family=family), splits=("train",))
        asked = Variant(shots=0, family="pointwise_judgment")
        yield Form("_documents", asked, documents=True, splits=("train",))
        return
    scored = pair.kind == "classify"
    kind = "_choices" if scored else ""
    for shots in (*SHOTS, *((5,) if scored else ())):
        yield Form(f"{kind}_{shots}shot", Variant(shots=shots), choices=scored, splits=judged)
    for template in range(TEST_TEMPLATES):
        variant = Variant(shots=0, preferred=template)
        yield Form(f"{kind}_template{template}", variant, choices=scored, splits=judged)
