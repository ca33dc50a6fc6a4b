"""The authors' own data as tasks, in `<raw_dir>/inters_released/`, laid out as on the hub (3 GB):

    hf download yutaozhu94/INTERS --repo-type dataset --local-dir <raw_dir>/inters_released

    inters_released                                train.jsonl; split train
    inters_released_<task>_<dataset>               dev- and test-qu-du-zero-shot/; splits validation, test
    inters_released_<task>_<dataset>_choices       the same by scoring, where the answer is a label
    inters_released_<task>_<dataset>_rerank        test-qdu/, with its BM25 candidates; split test

Prompts of the first three are taken literally: nothing is added before, inside or after them, in particular
**no separator**: the authors trained on prompt and completion joined without one. Prompt and completion are
still encoded separately, so the boundary between them is a token boundary. A prompt longer than `max_length`
is left out and counted (the authors cut off its beginning, and the instruction with it).

In dev and test files, several correct answers are joined by " <=SEP=> ". They become references where one of
them is expected, and the items of a numbered list, the format of the training data, where all are.

The files of test-qdu have queries and documents, no prompts. `_rerank` uses the pointwise question of the
current templates, the first of the dataset, with the separator of the settings. For the authors' models,
which were trained with another wording: `seqio_tasks.configure(templates="instruct_templates.py", separator="
")` with their template file.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from seqio_tasks import catalog, settings
from seqio_tasks.base import DataError, MissingData
from seqio_tasks.catalog import Pair, Row
from seqio_tasks.catalog.types import ANSWER_METRICS, LIST_METRICS, QUAC_METRICS, TEXT_METRICS, TRIVIA_METRICS
from seqio_tasks.prompts.filling import Block, Rendered, numbered
from seqio_tasks.prompts.render import Variant
from seqio_tasks.row_source import SplitRows
from seqio_tasks.sources.common import SourceReport
from seqio_tasks.sources.released import FOLDER, Candidates, Instructions
from seqio_tasks.sources.retrieval_sets import collection
from seqio_tasks.variants import TEXT, Form

SEPARATED = " <=SEP=> "
FOLDERS = MappingProxyType({"validation": "dev-qu-du-zero-shot", "test": "test-qu-du-zero-shot"})
_ENDS = MappingProxyType({"validation": ".zero_shot.dev.jsonl", "test": ".zero_shot.test.jsonl"})
# Datasets that the authors name differently.
_NAMES = MappingProxyType(
    {
        "summarization_cnn_dm": "summarization_cnndm",
        "summarization_multi_news": "summarization_multinews",
        "general_retrieval_ms_marco": "msmarco",
    }
)
DEPTH = 100  # candidates per query, as in the files
DEPTHS = MappingProxyType({"cqadupstack": 10})  # as the authors evaluate it
DOWNLOAD = "hf download yutaozhu94/INTERS --repo-type dataset --local-dir"


@dataclass(frozen=True)
class ReleasedPair(Pair):
    """A pair of the catalog, read from the released files."""

    @property
    def name(self) -> str:
        return "_".join(part for part in ("inters_released", self.task, self.dataset) if part)


@dataclass(frozen=True)
class InstructionForm(Form):
    """Rows that are finished prompts. paths: split -> file in the folder."""

    paths: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def render(self) -> Callable[..., Rendered]:
        return _render

    def rows(self, pair: Pair, split: str, raw_dir: str) -> SplitRows:
        if reason := self.missing(pair, split, raw_dir):
            raise MissingData(reason)
        path = Path(raw_dir) / FOLDER / self.paths[split]
        return _instructions(path, path.stat().st_mtime_ns, path.stat().st_size)

    def count(self, pair: Pair, split: str, raw_dir: str) -> int:
        return len(self.rows(pair, split, raw_dir).rows)

    def demonstrates(self, split: str) -> bool:
        return False  # demonstrations are part of the prompts

    def missing(self, pair: Pair, split: str, raw_dir: str) -> str | None:
        if split not in self.splits:
            return f"{pair.name}{self.suffix} has no split {split!r}"
        return _absent([Path(raw_dir) / FOLDER / self.paths[split]])

    @property
    def fields(self) -> Mapping[str, str]:
        return {**super().fields, "source": TEXT}

    def values(self, encoded: Any, row: Row, split: str) -> dict[str, Any]:
        return super().values(encoded, row, split) | {"source": row["source"]}


@dataclass(frozen=True)
class CandidateForm(Form):
    """Queries with BM25 candidates. files: (path in the folder, prefix of its ids)."""

    files: tuple[tuple[str, str], ...] = ()
    depth: int = DEPTH

    def rows(self, pair: Pair, split: str, raw_dir: str) -> SplitRows:
        if reason := self.missing(pair, split, raw_dir):
            raise MissingData(reason)
        paths = [(Path(raw_dir) / FOLDER / name, prefix) for name, prefix in self.files]
        stamps = tuple((path.stat().st_mtime_ns, path.stat().st_size) for path, _ in paths)
        return _candidates(tuple(paths), self.depth, stamps)

    def demonstrates(self, split: str) -> bool:
        return False

    def missing(self, pair: Pair, split: str, raw_dir: str) -> str | None:
        if split not in self.splits:
            return f"{pair.name}{self.suffix} has no split {split!r}"
        return _absent([Path(raw_dir) / FOLDER / name for name, _ in self.files])

    def qrels(self, pair: Pair, split: str) -> Mapping[str, Mapping[str, int]]:
        rows = self.rows(pair, split, settings.current().raw_dir).rows
        assert isinstance(rows, Candidates)
        return rows.qrels


def _absent(paths: list[Path]) -> str | None:
    for path in paths:
        if not path.is_file() or path.stat().st_size == 0:
            problem = MissingData(
                "there is no such released file",
                path=path,
                todo=f"download it with `{DOWNLOAD} <raw_dir>/{FOLDER}`",
            )
            return str(problem)
    return None


@functools.lru_cache(maxsize=4)
def _instructions(path: Path, *_stamp: int) -> SplitRows:
    report = SourceReport()
    return SplitRows(Instructions(path, report), report)


@functools.lru_cache(maxsize=4)
def _candidates(paths: tuple[tuple[Path, str], ...], depth: int, _stamps: Any) -> SplitRows:
    report = SourceReport()
    return SplitRows(Candidates(paths, depth, report), report)


def _render(row: Row, pair: Pair, *, split: str, **_ignored: Any) -> Rendered:
    """The prompt of a row as in the file; called like `render.render`."""
    target, extras = row["completion"], {}
    if SEPARATED in target and split != "train":
        items = target.split(SEPARATED)
        if pair.metrics in (ANSWER_METRICS, TRIVIA_METRICS, QUAC_METRICS):
            target, extras = items[0], {"references": tuple(items)}
        elif pair.metrics == LIST_METRICS:
            target = numbered(items)
    choices: tuple[str, ...] = ()
    if pair.kind == "classify":
        choices = pair.labels
        if not pair.multi_label:
            target = _label(target, pair, row)
    block = Block((row["prompt"],), (), "", target)  # no cue, and no separator below
    return Rendered("", (), block, "", row["example_id"], 0, choices, extras)


def _label(text: str, pair: Pair, row: Row) -> str:
    """The label that a completion states: one of the label set, ignoring case and surrounding spaces."""
    found = [label for label in pair.labels if label.casefold() == text.strip().casefold()]
    if not found:
        raise DataError(
            f"{pair.name}: {row['example_id']}: the completion {text!r:.60} is not a label",
            todo=f"expected one of {', '.join(pair.labels)}",
        )
    return found[0]


def tasks() -> Iterator[tuple[Pair, Form]]:
    """Every task: a pair and a form."""
    yield training_task()
    for group in catalog.GROUPS:
        for pair, form in evaluation_tasks(group):
            yield pair, form
            if pair.kind == "classify":
                yield pair, dataclasses.replace(form, suffix="_choices", choices=True)


def training_task() -> tuple[Pair, Form]:
    """All training data of the authors, in one file."""
    pair = ReleasedPair(
        task="", dataset="", group="query_understanding", kind="generate", loader="",
        fields=("prompt", "completion"), metrics=TEXT_METRICS, answer="completion", folder=FOLDER,
        licence="CC-BY-SA-4.0",
    )  # fmt: skip
    return pair, InstructionForm(splits=("train",), paths=MappingProxyType({"train": "train.jsonl"}))


def evaluation_tasks(group: str) -> Iterator[tuple[Pair, Form]]:
    """The evaluation files of a group, one task for each pair of the catalog."""
    for pair in catalog.pairs(group=group):
        own = {entry.name: getattr(pair, entry.name) for entry in dataclasses.fields(Pair)}
        changed = {"folder": FOLDER, "counts": MappingProxyType({}), "files": ()}
        released = ReleasedPair(**own | changed)
        yield released, candidate_form(pair) if pair.kind == "rank" else instruction_form(_stem(pair))


def instruction_form(stem: str) -> InstructionForm:
    """The form that reads the dev and the test file with this name."""
    paths = {split: f"{folder}/{stem}{_ENDS[split]}" for split, folder in FOLDERS.items()}
    return InstructionForm(splits=tuple(FOLDERS), paths=MappingProxyType(paths))


def candidate_form(pair: Pair) -> CandidateForm:
    """The form that reads the candidates of a ranking pair."""
    forums = collection(pair.dataset).forums
    name = _NAMES.get(pair.name.removeprefix("inters_"), pair.dataset)
    files = tuple(
        (f"test-qdu/{name}/{forum}/test.pt.key.do-not-overwrite.json", f"{forum}/") for forum in forums
    ) or ((f"test-qdu/{name}.bm25.100.jsonl", ""),)
    pointwise = Variant(shots=0, template=0, family="pointwise_judgment")
    return CandidateForm(
        "_rerank", pointwise, choices=True, rerank=True, splits=("test",),
        files=files, depth=DEPTHS.get(pair.dataset, DEPTH),
    )  # fmt: skip


def _stem(pair: Pair) -> str:
    name = pair.name.removeprefix("inters_")
    return _NAMES.get(name, name)
