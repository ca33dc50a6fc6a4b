"""The catalog as a page of documentation: ``python -m seqio_tasks.catalog.page`` writes docs/data.md."""

from __future__ import annotations

from pathlib import Path

from seqio_tasks.base import write_text
from seqio_tasks.catalog import EVALUATION_ONLY, GROUPS, PAIRS
from seqio_tasks.catalog.files import SOURCES
from seqio_tasks.catalog.types import Pair
from seqio_tasks.sources.splits import SPLITS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data.md"

_HEAD = """# Tasks and datasets

Written by `python -m seqio_tasks.catalog.page` from the catalog; change the catalog, not this page.

{pairs} pairs of a task and a dataset, {tasks} tasks, {datasets} datasets. A task is registered as
`inters_<task>_<dataset>`; its suffixes are `_0shot` and `_5shot` (a fixed number of demonstrations),
`_choices` (labels by scoring) and `_rerank` (ranking). Sizes are those of the full official files by the
split rule of `seqio_tasks/sources/splits.py`; "?" is unknown until the files are read. Datasets marked "out"
are the seven that the out-of-domain experiment leaves out of training (mixture `inters_in_domain`).

Files go to `<RAW_DIR>/<folder>/`; `python -m seqio_tasks.download NAME` downloads them where that is allowed
([download](download.md)). Each dataset has its own licence, which binds whoever downloads it.
"""


def markdown() -> str:
    """The whole page."""
    tasks, datasets = {pair.task for pair in PAIRS}, {pair.dataset for pair in PAIRS}
    parts = [_HEAD.format(pairs=len(PAIRS), tasks=len(tasks), datasets=len(datasets))]
    for group in GROUPS:
        parts.append(f"## {group.replace('_', ' ').capitalize()}\n")
        parts.append("| task | dataset | answer | domain | train | validation | test | folder | metrics |")
        parts.append("|---|---|---|---|---|---|---|---|---|")
        parts += [_line(pair) for pair in PAIRS if pair.group == group]
        parts.append("")
    parts += _evaluation_only()
    parts.append("## Official files\n")
    for source in SOURCES.values():
        parts.append(f"**{source.folder}/**: {source.licence}")
        if source.accepted:
            parts.append(f"(also read: {source.accepted})")
        if source.note:
            parts.append(f"\nNote: {source.note}")
        parts.append("")
        for file in source.files:
            hashes = [f"{kind} {value}" for kind in ("md5", "sha256") if (value := getattr(file, kind))]
            check = hashes[0] if hashes else "no published hash"
            size = f"{file.bytes:,} bytes" if file.bytes else "size unknown"
            where = f"<{file.url}>" if file.url else file.manual
            parts.append(f"- `{file.name}`: {size}, {check}, {where}")
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


_OUTSIDE = """## For evaluation only

In no mixture and none of the counts above: `inters_ood_<name>_rerank`, split `test`, with all judged queries,
in the wording of general retrieval; the whole test sets of trained pairs in their own.
`python -m inters_jax.evaluate` takes the names, `python -m inters_jax.rerank` the folders, which are in BEIR
format (`corpus.jsonl`, `queries.jsonl`, `qrels/test.tsv`, and `runs/` for given candidates). Where an
ir_datasets id is named, `python -m seqio_tasks.download irds:ID` creates the folder. Judgments are counted as
published.
"""


def _evaluation_only() -> list[str]:
    lines = [_OUTSIDE, "| task | folder | queries | documents | judgments | metrics | from | licence |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for pair in EVALUATION_ONLY:
        sizes = [f"{size:,}" if size else "?" for size in (pair.queries, pair.documents, pair.judgments)]
        metrics = ", ".join(pair.metrics)
        cells = (f"{pair.name}_rerank", pair.folder, *sizes, metrics, pair.origin, pair.licence)
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"- `{pair.name}`: {pair.about}" for pair in EVALUATION_ONLY if pair.about), ""]
    return lines


def _line(pair: Pair) -> str:
    kinds = {"generate": "text", "classify": "label", "rank": "ranking"}
    sizes = [f"{pair.counts[split]:,}" if split in pair.counts else "?" for split in SPLITS]
    domain = "in" if pair.in_domain else "out"
    cells = (pair.task, pair.dataset, kinds[pair.kind], domain, *sizes, pair.folder, ", ".join(pair.metrics))
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    write_text(PAGE, markdown())
    print(PAGE)
