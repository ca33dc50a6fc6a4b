"""The table of tasks and datasets; ``python -m seqio_tasks.catalog`` prints it.

A pair is one task on one dataset: "query_matching" on "msrp". Everything else is looked up here: templates by
task and dataset, SeqIO tasks by name, mixtures by group, task and domain, downloads by file. A lookup opens
no file and imports neither SeqIO nor the loaders.
"""

from __future__ import annotations

from seqio_tasks.base import DataError, aligned
from seqio_tasks.catalog import document_understanding, evaluation_only, query_document, query_understanding
from seqio_tasks.catalog.files import SOURCES
from seqio_tasks.catalog.types import GROUPS, KINDS, OUT_OF_DOMAIN, TASKS, Pair, Row, TaskShape, add_task

__all__ = [
    "EVALUATION_ONLY", "GROUPS", "KINDS", "OUT_OF_DOMAIN", "PAIRS", "TASKS", "Pair", "Row", "TaskShape",
    "add_task", "pair", "pairs", "table",
]  # fmt: skip

# The order of the pairs is part of the results: mixtures and stores follow it. The pairs that exist must keep
# their order, so those of these folders stay in front, and a new pair goes to the end of its group's table.
_LEADING_FOLDERS = frozenset(
    ("gov2", "trec_robust04", "trec_covid", "fire", "msrp", "orcas_i", "mimics", "boolq", "squad_v1",
     "climate_fever", "scifact", "beir_scifact", "beir_nfcorpus")
)  # fmt: skip
_BY_GROUP = (*query_understanding.PAIRS, *document_understanding.PAIRS, *query_document.PAIRS)

PAIRS: tuple[Pair, ...] = tuple(sorted(_BY_GROUP, key=lambda entry: entry.folder not in _LEADING_FOLDERS))

# Further collections, in no mixture and no count; `seqio_tasks.evaluation_only` makes their tasks.
EVALUATION_ONLY = evaluation_only.PAIRS

_BY_NAME = {entry.name: entry for entry in PAIRS}
_TEMPLATES: dict[str, tuple[str, ...]] = {}


def pair(name: str) -> Pair:
    """The pair with this name, e.g. "inters_query_matching_msrp".

    Raises:
      DataError: there is no such pair.

    >>> pair("inters_query_matching_msrp").labels
    ('yes', 'no')
    """
    if name not in _BY_NAME:
        raise DataError(f"no pair is named {name!r}", todo=f"use one of {', '.join(_BY_NAME)}")
    return _BY_NAME[name]


def known() -> tuple[Pair, ...]:
    """The pairs of the table, and behind them those of your own that were added."""
    return tuple(_BY_NAME.values())


def added() -> tuple[Pair, ...]:
    """The pairs of your own."""
    return known()[len(PAIRS) :]


def pair_of(task: str) -> Pair | None:
    """The pair that a task is a form of; None if there is none.

    >>> pair_of("inters_query_matching_msrp_choices").name, pair_of("glue_mrpc")
    ('inters_query_matching_msrp', None)
    """
    every = (*known(), *EVALUATION_ONLY)
    fitting = [entry for entry in every if task == entry.name or task.startswith(f"{entry.name}_")]
    return max(fitting, key=lambda entry: len(entry.name), default=None)


def template_files(task: str) -> tuple[str, ...]:
    """The template files of the pairs of your own of a task."""
    return _TEMPLATES.get(task, ())


def add(entry: Pair) -> None:
    """Add a pair of your own, for this process; `own_data.add` adds its tasks too.

    Raises:
      DataError: there is such a pair, or no such task.
    """
    if entry.name in _BY_NAME:
        raise DataError(f"there is already a pair {entry.name!r}", todo="give the dataset another name")
    if entry.task not in TASKS:
        raise DataError(f"no task is named {entry.task!r}", todo=f"use one of {', '.join(TASKS)}")
    _BY_NAME[entry.name] = entry
    if entry.templates:
        _TEMPLATES[entry.task] = (*_TEMPLATES.get(entry.task, ()), entry.templates)


def pairs(
    task: str | None = None,
    group: str | None = None,
    dataset: str | None = None,
    in_domain: bool | None = None,
) -> tuple[Pair, ...]:
    """All pairs of the table that match, in its order.

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
    """The catalog as text: one line per pair or collection, then the official files of every folder."""
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
        for entry in (*known(), *EVALUATION_ONLY)
    ]
    lines = aligned([heads, *body])
    lines += [
        "",
        f"{len(PAIRS)} pairs, {len(added())} of your own, and {len(EVALUATION_ONLY)} collections for "
        "evaluation only (inters_ood_...). Official files, by folder of the raw directory:",
    ]
    for source in SOURCES.values():
        also = f"; also read: {source.accepted}" if source.accepted else ""
        lines.append(f"{source.folder}/  ({source.licence}{also})")
        lines += [f"    {file.name}  {file.bytes or '?'} bytes  {file.url}" for file in source.files]
    return "\n".join(lines)
