"""The types of the catalog: official files, pairs, and what all datasets of a task have in common.

The entries are in one module per task group; they import this module, and it imports none of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

Row = dict[str, Any]

GROUPS = ("query_understanding", "document_understanding", "query_document")
KINDS = ("generate", "classify", "rank")

# Held out as whole datasets in the paper's out-of-domain experiment.
OUT_OF_DOMAIN = ("trec_robust", "qrecc", "mimics_duo", "climate_fever", "xsum", "quora", "nq")

# The metrics of the tasks; a pair may override them.
TEXT_METRICS = ("bleu_1", "bleu_2", "rouge_l")
SUMMARY_METRICS = ("rouge_1", "rouge_2", "rouge_l")
LABEL_METRICS = ("accuracy", "macro_f1", "weighted_f1")
MULTI_LABEL_METRICS = ("precision_at_1",)
LIST_METRICS = ("set_precision", "set_recall", "set_f1")
ANSWER_METRICS = ("exact_match", "f1")
TRIVIA_METRICS = ("trivia_exact_match", "trivia_f1")
QUAC_METRICS = ("quac_f1", "quac_heq_q", "exact_match")
TURN_METRICS = ("turn_exact_match", "turn_f1")
RANKING_METRICS = ("nDCG@10", "RR@10", "R@10", "R@100")


@dataclass(frozen=True)
class OfficialFile:
    """One file to download. ``bytes`` is 0 and a checksum is empty where no value is published.

    name:     path inside the dataset's folder
    url:      https://..., or hf://datasets/<owner>/<repository>[@revision]/<path>
    manual:   what a person has to do where no program may or can download the file; empty: it is downloaded
    members:  the files needed from an archive, as patterns matched from the right ("qrels/*.tsv" matches
              nfcorpus/qrels/test.tsv); empty: all files
    unpack:   False leaves an archive (zip, tar, gz, ...) packed
    """

    name: str
    url: str
    bytes: int = 0
    md5: str = ""
    sha256: str = ""
    manual: str = ""
    members: tuple[str, ...] = ()
    unpack: bool = True


def file_at(
    base: str, name: str, bytes: int = 0, md5: str = "", sha256: str = "", **more: Any
) -> OfficialFile:
    """The official file `name` at the address `base` + `name`.

    >>> file_at("https://example.org/data/", "dev.json").url
    'https://example.org/data/dev.json'
    """
    return OfficialFile(name, base + name, bytes, md5, sha256, **more)


@dataclass(frozen=True)
class Source:
    """A dataset's folder, licence and official files.

    accepted: other files that can be read.
    note:     what whoever reads results on it should know.
    """

    folder: str
    licence: str
    files: tuple[OfficialFile, ...]
    accepted: str = ""
    note: str = ""


@dataclass(frozen=True)
class Pair:
    """One task on one dataset.

    fields:           row fields that templates may use
    document_fields:  the long fields, shortened first when a prompt exceeds the length limit
    optional_fields:  fields that a row may leave empty; templates that use one are not drawn for such a row
    indispensable_fields:  optional fields that a template must show where a row has them (the turns before a
                      question, which makes no sense without them)
    answer:           the field that the templates ask for (except those marked `reverse`)
    labels:           the label set, exactly as in the targets (kind "classify"); label_field: the gold label
    multi_label:      several labels may apply at once: the target lists them, "a, b"
    metrics:          names of `seqio_tasks.metrics`
    counts:           rows per split of the official files, by the split rule; a missing split is unknown
    loader:           "module:function" or a function, ``loader(raw_dir, split, report=None)``

    Of pairs outside the package (`own_data`):

    paths:            files and folders that the rows are read from, in place of the folder
    templates:        a template file
    identity:         changes with what was declared
    """

    task: str
    dataset: str
    group: str
    kind: str
    loader: str | Callable[..., Iterator[Row]]
    fields: tuple[str, ...]
    metrics: tuple[str, ...]
    document_fields: tuple[str, ...] = ()
    optional_fields: tuple[str, ...] = ()
    indispensable_fields: tuple[str, ...] = ()
    answer: str = ""
    labels: tuple[str, ...] = ()
    label_field: str = ""
    multi_label: bool = False
    in_domain: bool = True
    counts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    folder: str = ""
    licence: str = ""
    files: tuple[OfficialFile, ...] = ()
    paths: tuple[str, ...] = ()
    templates: str = ""
    identity: str = ""

    @property
    def name(self) -> str:
        return f"inters_{self.task}_{self.dataset}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Files and folders that the rows are read from, below the raw directory where they are relative."""
        return self.paths or ((self.folder,) if self.folder else ())

    def load(self) -> Callable[..., Iterator[Row]]:
        """The loader function, imported on first use."""
        if callable(self.loader):
            return self.loader
        module, _, function = self.loader.partition(":")
        loader: Callable[..., Iterator[Row]] = getattr(importlib.import_module(module), function)
        return loader

    def rows(self, raw_dir: str | Path, split: str, **options: Any) -> Iterator[Row]:
        """Rows of one split; ``report=SourceReport()`` counts what was left out, by reason."""
        return self.load()(Path(raw_dir), split, **options)


@dataclass(frozen=True)
class TaskShape:
    """What all datasets of a task have in common; `description`: of a task without a packaged one."""

    group: str
    kind: str
    metrics: tuple[str, ...]
    description: str = ""


def _shapes(group: str, **tasks: tuple[str, tuple[str, ...]]) -> dict[str, TaskShape]:
    return {name: TaskShape(group, kind, metrics) for name, (kind, metrics) in tasks.items()}


_TASKS: dict[str, TaskShape] = (
    _shapes(
        "query_understanding",
        query_description=("generate", TEXT_METRICS),
        query_expansion=("generate", TEXT_METRICS),
        query_reformulation=("generate", TEXT_METRICS),
        query_clarification=("generate", LIST_METRICS),
        query_subtopic_generation=("generate", LIST_METRICS),
        query_suggestion=("generate", TEXT_METRICS),
        query_matching=("classify", LABEL_METRICS),
        query_intent_classification=("classify", LABEL_METRICS),
    )
    | _shapes(
        "document_understanding",
        fact_verification=("classify", LABEL_METRICS),
        summarization=("generate", SUMMARY_METRICS),
        reading_comprehension=("generate", ANSWER_METRICS),
        conversational_qa=("generate", ANSWER_METRICS),
    )
    | {
        name: TaskShape("query_document", "rank", RANKING_METRICS)
        for name in (
            "general_retrieval",
            "biomedical_retrieval",
            "supporting_evidence_retrieval",
            "argument_retrieval",
            "duplicate_question_retrieval",
            "entity_retrieval",
            "article_retrieval",
            "fact_retrieval",
        )
    }
)
TASKS: Mapping[str, TaskShape] = MappingProxyType(_TASKS)


def add_task(name: str, shape: TaskShape) -> None:
    """Add a task of your own, for this process."""
    _TASKS.setdefault(name, shape)


def make_pair(
    sources: Mapping[str, Source],
    task: str,
    dataset: str,
    loader: str,
    fields: str,
    counts: tuple[int, int, int] | None,
    *,
    source: str = "",
    **changes: Any,
) -> Pair:
    """An entry of the table: the task's shape, the dataset's files, and what differs for this pair.

    Args:
      sources: official files by dataset.
      loader: below the package, e.g. "sources.boolq:boolq".
      fields: field names, separated by spaces.
      counts: rows of train, validation and test; None: unknown.
      source: key in `sources`; default: the dataset.
      changes: other fields of `Pair`. The answer is by default the label field, else the last field.
    """
    shape, files = TASKS[task], sources[source or dataset]
    names = tuple(fields.split())
    settings: dict[str, Any] = {"group": shape.group, "kind": shape.kind, "metrics": shape.metrics} | changes
    if settings["kind"] != "rank":  # the answer of a ranking template depends on its family
        settings.setdefault("answer", settings.get("label_field") or names[-1])
    known = {} if counts is None else dict(zip(("train", "validation", "test"), counts, strict=True))
    return Pair(
        task=task,
        dataset=dataset,
        loader=f"seqio_tasks.{loader}",
        fields=names,
        in_domain=dataset not in OUT_OF_DOMAIN,
        counts=MappingProxyType(known),
        folder=files.folder,
        licence=files.licence,
        files=files.files,
        **settings,
    )
