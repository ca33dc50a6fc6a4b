"""The one table of tasks and datasets; ``python -m seqio_tasks.catalog`` prints it.

A pair is a task on a dataset: "query_matching" on "msrp". Everything else looks it up here: the templates by
task and dataset, the SeqIO tasks by name, the mixtures by group, task and domain, the downloads by file.
Looking up opens no file and imports neither seqio nor the loaders.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from seqio_tasks.errors import DataError
from seqio_tasks.files import SOURCES, OfficialFile

Row = dict[str, Any]

GROUPS = ("query_understanding", "document_understanding", "query_document")
KINDS = ("generate", "classify", "rank")

# Held out as whole datasets in the paper's out-of-domain experiment.
OUT_OF_DOMAIN = ("trec_robust", "qrecc", "mimics_duo", "climate_fever", "xsum", "quora", "nq")


@dataclass(frozen=True)
class Pair:
    """One task on one dataset.

    fields:           row fields that templates may use
    document_fields:  the long ones, which give way first when a prompt exceeds the length limit
    labels:           the label set, exactly as in the targets (kind "classify"); label_field: the gold one
    metrics:          names of `seqio_tasks.metrics`
    counts:           rows per split of the official files, by the split rule; a missing split is not known
    """

    task: str
    dataset: str
    group: str
    kind: str
    loader: str
    fields: tuple[str, ...]
    metrics: tuple[str, ...]
    document_fields: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    label_field: str = ""
    in_domain: bool = True
    counts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    folder: str = ""
    licence: str = ""
    files: tuple[OfficialFile, ...] = ()

    @property
    def name(self) -> str:
        return f"inters_{self.task}_{self.dataset}"

    def load(self) -> Callable[..., Iterator[Row]]:
        """The loader function, imported on first use: ``loader(raw_dir, split, report=None)``."""
        module, _, function = self.loader.partition(":")
        loader: Callable[..., Iterator[Row]] = getattr(importlib.import_module(module), function)
        return loader

    def rows(self, raw_dir: str | Path, split: str, **options: Any) -> Iterator[Row]:
        """Rows of one split; ``report=SourceReport()`` counts what was left out and why."""
        return self.load()(Path(raw_dir), split, **options)


@dataclass(frozen=True)
class _Shape:
    """What all datasets of a task have in common."""

    group: str
    kind: str
    metrics: tuple[str, ...]


_TEXT = ("bleu_1", "bleu_2", "rouge_l")
_LABELS = ("accuracy", "macro_f1", "weighted_f1")
_RANKING = ("nDCG@10", "RR@10", "R@10", "R@100")

TASKS: Mapping[str, _Shape] = MappingProxyType(
    {
        "query_description": _Shape("query_understanding", "generate", _TEXT),
        "query_expansion": _Shape("query_understanding", "generate", _TEXT),
        "query_matching": _Shape("query_understanding", "classify", _LABELS),
        "query_intent_classification": _Shape("query_understanding", "classify", _LABELS),
        "query_clarification": _Shape(
            "query_understanding", "generate", ("set_precision", "set_recall", "set_f1")
        ),
        "reading_comprehension": _Shape("document_understanding", "generate", ("exact_match", "f1")),
        "fact_verification": _Shape("document_understanding", "classify", _LABELS),
        "fact_retrieval": _Shape("query_document", "rank", _RANKING),
        "biomedical_retrieval": _Shape("query_document", "rank", _RANKING),
    }
)


def _pair(
    task: str,
    dataset: str,
    loader: str,
    fields: str,
    counts: tuple[int, int, int] | None,
    *,
    source: str = "",
    **changes: Any,
) -> Pair:
    """A row of the table: the task's shape, the dataset's files, and whatever differs for this pair."""
    shape, files = TASKS[task], SOURCES[source or dataset]
    settings: dict[str, Any] = {"group": shape.group, "kind": shape.kind, "metrics": shape.metrics} | changes
    known = {} if counts is None else dict(zip(("train", "validation", "test"), counts, strict=True))
    return Pair(
        task=task,
        dataset=dataset,
        loader=f"seqio_tasks.{loader}",
        fields=tuple(fields.split()),
        in_domain=dataset not in OUT_OF_DOMAIN,
        counts=MappingProxyType(known),
        folder=files.folder,
        licence=files.licence,
        files=files.files,
        **settings,
    )


_TOPIC_SETS = (
    ("gov2", (120, 15, 15)),
    ("trec_robust", (200, 25, 25)),
    ("trec_covid", (40, 5, 5)),
    ("fire", (160, 20, 20)),
)

PAIRS: tuple[Pair, ...] = (
    *(
        _pair("query_description", name, f"sources.trec_topics:{name}", "title description narrative", counts)
        for name, counts in _TOPIC_SETS
    ),
    *(
        _pair("query_expansion", name, f"sources.trec_topics:{name}", "title description", counts)
        for name, counts in _TOPIC_SETS
    ),
    _pair(
        "query_matching",
        "msrp",
        "sources.tables:msrp",
        "sentence1 sentence2 answer",
        (3867, 200, 1725),
        labels=("yes", "no"),
        label_field="answer",
    ),
    _pair(
        "query_intent_classification",
        "orcas_i",
        "sources.tables:orcas_i",
        "title query_type",
        (800, 100, 100),
        labels=("factual", "abstain", "instrumental", "transactional", "navigational"),
        label_field="query_type",
    ),
    _pair("query_clarification", "mimics", "sources.tables:mimics", "query clarification", (2389, 200, 200)),
    _pair(
        "reading_comprehension",
        "boolq",
        "sources.boolq:boolq",
        "context question answer",
        (9227, 200, 3270),
        kind="classify",
        metrics=_LABELS,
        document_fields=("context",),
        labels=("true", "false"),
        label_field="answer",
    ),
    _pair(
        "reading_comprehension",
        "squad",
        "sources.squad:squad",
        "title context question answer",
        (10_000, 200, 11_873),
        document_fields=("context",),
    ),
    _pair(
        "fact_verification",
        "climate_fever",
        "sources.claims:climate_fever",
        "claim evidences claim_label",
        (1229, 153, 153),
        document_fields=("evidences",),
        labels=("support", "refute", "disputed", "not enough information"),
        label_field="claim_label",
    ),
    _pair(
        "fact_verification",
        "scifact",
        "sources.claims:scifact",
        "claim evidence evidence_label",
        (862, 95, 338),
        document_fields=("evidence",),
        labels=("support", "refute"),
        label_field="evidence_label",
    ),
    _pair(
        "fact_retrieval",
        "scifact",
        "ranking:scifact",
        "query document",
        (727, 80, 300),
        source="beir_scifact",
        document_fields=("document",),
    ),
    _pair(
        "biomedical_retrieval",
        "nfcorpus",
        "ranking:nfcorpus",
        "query document",
        (2582, 323, 323),
        source="beir_nfcorpus",
        document_fields=("document",),
    ),
)

_BY_NAME = MappingProxyType({entry.name: entry for entry in PAIRS})


def pair(name: str) -> Pair:
    """The pair of that name, e.g. "inters_query_matching_msrp".

    >>> pair("inters_query_matching_msrp").labels
    ('yes', 'no')
    """
    if name not in _BY_NAME:
        raise DataError(f"no pair is named {name!r}", todo=f"use one of {', '.join(_BY_NAME)}")
    return _BY_NAME[name]


def pairs(
    task: str | None = None,
    group: str | None = None,
    dataset: str | None = None,
    in_domain: bool | None = None,
) -> tuple[Pair, ...]:
    """All pairs that fit, in catalog order.

    >>> [entry.name for entry in pairs(task="fact_verification", in_domain=True)]
    ['inters_fact_verification_scifact']
    """
    return tuple(
        entry
        for entry in PAIRS
        if (task is None or entry.task == task)
        and (group is None or entry.group == group)
        and (dataset is None or entry.dataset == dataset)
        and (in_domain is None or entry.in_domain == in_domain)
    )


def table() -> str:
    """The catalog as text: one line per pair, then the official files of every dataset folder."""
    heads = ("name", "kind", "domain", "train", "validation", "test", "folder", "fields")
    body = [
        (
            entry.name,
            entry.kind,
            "in" if entry.in_domain else "out",
            *(str(entry.counts.get(split, "?")) for split in ("train", "validation", "test")),
            entry.folder,
            " ".join(entry.fields),
        )
        for entry in PAIRS
    ]
    widths = [max(len(line[column]) for line in (heads, *body)) for column in range(len(heads))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
             for line in (heads, *body)]  # fmt: skip
    lines += ["", f"{len(PAIRS)} pairs. Official files, by folder of the raw directory:"]
    for source in SOURCES.values():
        also = f"; also read: {source.accepted}" if source.accepted else ""
        lines.append(f"{source.folder}/  ({source.licence}{also})")
        lines += [f"    {file.name}  {file.bytes or '?'} bytes  {file.url}" for file in source.files]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
