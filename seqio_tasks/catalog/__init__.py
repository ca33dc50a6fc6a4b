"""The one table of tasks and datasets; ``python -m seqio_tasks.catalog`` prints it.

A pair is a task on a dataset: "query_matching" on "msrp". Everything else looks it up here: the templates by
task and dataset, the SeqIO tasks by name, the mixtures by group, task and domain, the downloads by file.
Looking up opens no file and imports neither seqio nor the loaders.
"""

from __future__ import annotations

from functools import partial

from seqio_tasks.base import DataError, aligned
from seqio_tasks.catalog import (
    documents_a,
    documents_b,
    evaluation_only,
    queries_a,
    queries_b,
    query_document,
)
from seqio_tasks.catalog.files import SOURCES
from seqio_tasks.catalog.types import GROUPS, KINDS, LABEL_METRICS, OUT_OF_DOMAIN, TASKS, Pair, Row, make_pair

__all__ = [
    "EVALUATION_ONLY", "GROUPS", "KINDS", "OUT_OF_DOMAIN", "PAIRS", "TASKS", "Pair", "Row", "pair", "pairs",
    "table",
]  # fmt: skip

_pair = partial(make_pair, SOURCES)

_TOPIC_SETS = (
    ("gov2", (120, 15, 15)),
    ("trec_robust", (200, 25, 25)),
    ("trec_covid", (40, 5, 5)),
    ("fire", (160, 20, 20)),
)

_FIRST: tuple[Pair, ...] = (
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
        metrics=LABEL_METRICS,
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
        "ranking_rows:scifact",
        "query document",
        (727, 80, 300),
        source="beir_scifact",
        document_fields=("document",),
    ),
    _pair(
        "biomedical_retrieval",
        "nfcorpus",
        "ranking_rows:nfcorpus",
        "query document",
        (2582, 323, 323),
        source="beir_nfcorpus",
        document_fields=("document",),
    ),
)

PAIRS: tuple[Pair, ...] = (
    *_FIRST,
    *queries_a.PAIRS,
    *queries_b.PAIRS,
    *documents_a.PAIRS,
    *documents_b.PAIRS,
    *query_document.PAIRS,
)

# Further collections for judging, in no mixture and no count; `seqio_tasks.evaluation_only` makes them tasks.
EVALUATION_ONLY = evaluation_only.PAIRS

_BY_NAME = {entry.name: entry for entry in PAIRS}


def pair(name: str) -> Pair:
    """The pair of that name, e.g. "inters_query_matching_msrp".

    >>> pair("inters_query_matching_msrp").labels
    ('yes', 'no')
    """
    if name not in _BY_NAME:
        raise DataError(f"no pair is named {name!r}", todo=f"use one of {', '.join(_BY_NAME)}")
    return _BY_NAME[name]


def add(entry: Pair) -> None:
    """Adds a pair of your own to the table, in this process (docs/add_a_dataset.md shows the whole way)."""
    global PAIRS
    if entry.name in _BY_NAME:
        raise DataError(f"there is a pair {entry.name!r} already", todo="give the dataset another name")
    if entry.task not in TASKS:
        raise DataError(f"no task is named {entry.task!r}", todo=f"use one of {', '.join(TASKS)}")
    PAIRS = (*PAIRS, entry)
    _BY_NAME[entry.name] = entry


def pairs(
    task: str | None = None,
    group: str | None = None,
    dataset: str | None = None,
    in_domain: bool | None = None,
) -> tuple[Pair, ...]:
    """All pairs that fit, in catalog order.

    >>> [entry.name for entry in pairs(task="fact_verification", in_domain=True)]
    ['inters_fact_verification_scifact', 'inters_fact_verification_fever']
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
    lines = aligned([heads, *body])
    lines += ["", f"{len(PAIRS)} pairs. Official files, by folder of the raw directory:"]
    for source in SOURCES.values():
        also = f"; also read: {source.accepted}" if source.accepted else ""
        lines.append(f"{source.folder}/  ({source.licence}{also})")
        lines += [f"    {file.name}  {file.bytes or '?'} bytes  {file.url}" for file in source.files]
    return "\n".join(lines)
