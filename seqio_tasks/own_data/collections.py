"""Collections of one's own as retrieval sets: queries, documents, judgments and their splits.

Whatever the files are, what is read is a BEIR folder: the one that is named, the one that an id of
ir_datasets becomes, or one in the cache that is made of documents, topics and judgments in other forms. So
the corpus stays on disk, and everything that reads a packaged collection reads these.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seqio_tasks import settings
from seqio_tasks.base import DataError, replacing
from seqio_tasks.download import ir_datasets_source
from seqio_tasks.own_data.entries import Entry
from seqio_tasks.own_data.judgments import Grades, Judgments
from seqio_tasks.own_data.rows import files_in
from seqio_tasks.own_data.splits import Splits, choose
from seqio_tasks.sources import beir
from seqio_tasks.sources.beir import Part, Qrels
from seqio_tasks.sources.collection_files import DocumentFields, documents, topics
from seqio_tasks.sources.common import SourceReport
from seqio_tasks.sources.mined import Mined, read_mined
from seqio_tasks.sources.retrieval_sets import RetrievalSet
from seqio_tasks.sources.splits import group_key, stable_hash

_VERSION = 1  # of the folders in the cache


@dataclass(frozen=True)
class Files:
    """A collection that is no BEIR folder."""

    documents: tuple[Path, ...]
    fields: DocumentFields
    queries: tuple[Path, ...]
    topic_field: str
    run: tuple[Path, ...]


@dataclass(frozen=True)
class OwnSet(RetrievalSet):
    """A collection that a file declares.

    folder: a BEIR folder; irds: ids of ir_datasets, by split; other: other files. One of the three.
    splits: None: those that the folder or the ids have.
    """

    entry: Entry = field(kw_only=True)
    splits: Splits | None = field(kw_only=True)
    judgments: Judgments = field(kw_only=True)
    scale: Grades = field(kw_only=True)
    folder: Path | None = None
    irds: Mapping[str, str] = field(default_factory=dict)
    other: Files | None = None
    negatives: Mapping[str, Path] = field(default_factory=dict)  # split -> file

    def beir_folder(self) -> Path:
        """The folder that is read, which is made if need be.

        Raises:
          MissingData: a file is missing.
        """
        if self.other is not None:
            return self._converted(self.other)
        if self.irds:
            return _of_ids(tuple(self.irds.values()), settings.current().cache_dir)
        assert self.folder is not None
        if not any((self.folder / name).is_file() for name in beir.CORPUS_FILES):
            todo = "name an unpacked BEIR folder: corpus.jsonl, queries.jsonl, qrels/"
            raise self.entry.missing("folder", f"no corpus.jsonl in {self.folder}", todo)
        return self.folder

    def parts(self, raw_dir: Path | str) -> tuple[Part, ...]:
        """The one folder."""
        return (Part(self.beir_folder()),)

    def mined(self, raw_dir: Path | str, split: str) -> Mined | None:
        """The negatives of the file that is declared for a split, else those of its folder."""
        if split not in self.negatives:
            return super().mined(raw_dir, split)
        (path,) = files_in([self.negatives[split]], self.entry, "negatives")
        return read_mined(path)

    def graded(self, qrels: Mapping[str, Mapping[str, int]]) -> Qrels:
        """Judgments of other files with the grades that are used."""
        return {
            query: {doc: self._grade(grade) for doc, grade in judged.items()}
            for query, judged in qrels.items()
        }

    def _grade(self, grade: int) -> int:
        found = self.scale.of(grade)
        if found is None:
            raise self.entry.error("grades", f"the grade {grade} is not among them", "add it")
        return found

    def qrels(self, raw_dir: Path | str, split: str, report: SourceReport | None = None) -> Qrels:
        """The judgments of a split, divided by the texts of the queries."""
        texts = beir.read_queries(self.beir_folder())
        left_out: SourceReport = SourceReport()

        def read(paths: Sequence[Path] | None) -> list[tuple[str, dict[str, int]]]:
            named = self._pool() if paths is None else files_in(paths, self.entry, "splits")
            found = _read(self.judgments, self.scale, tuple(map(_stamped, named)))
            known = [(query, judged) for query, judged in found.items() if texts.get(query)]
            left_out[beir.QUERY_WITHOUT_TEXT] = len(found) - len(known)
            return known

        kept = choose(self._splits(), split, read, lambda one: group_key(texts[one[0]]), self.entry, report)
        if report is not None:
            report.update(+left_out)  # without what is 0
        return {query: dict(judged) for query, judged in kept}

    def _splits(self) -> Splits:
        """As declared; without that, one for each judgment file of the folder."""
        if self.splits is not None:
            return self.splits
        folder = self.beir_folder()
        names = {"train": ("train",), "validation": ("dev", "validation"), "test": ("test",)}
        if self.irds:
            names = {split: (ir_datasets_source.split_name(name),) for split, name in self.irds.items()}
        files = {}
        for split, possible in names.items():
            paths = [beir.judgment_file(folder, name) for name in possible]
            if existing := [path for path in paths if path.is_file()]:
                files[split] = (existing[0],)
        if not files:
            todo = "put them there, or name them: splits: {test: FILE}"
            raise self.entry.missing("folder", f"no qrels/train.tsv, dev.tsv or test.tsv in {folder}", todo)
        return Splits(files=files)

    def _pool(self) -> list[Path]:
        """All judgment files, which shares divide."""
        if self.judgments.files:
            return files_in(self.judgments.files, self.entry, "judgments")
        folder = self.beir_folder()
        names = [ir_datasets_source.split_name(name) for name in self.irds.values()]
        return [beir.judgment_file(folder, name) for name in names or beir.judged_splits(folder)]

    def _converted(self, files: Files) -> Path:
        """The BEIR folder in the cache that is made of these files, and again when one changes."""
        sources = files_in(files.documents, self.entry, "documents")
        queries = files_in(files.queries, self.entry, "queries")
        judged = [] if queries else self._judged()
        runs = files_in(files.run, self.entry, "run")
        every = [list(map(_stamped, paths)) for paths in (sources, queries, judged, runs)]
        how = [files.fields, files.topic_field, self.judgments.query, self.judgments.query_id]
        digest = hashlib.sha256(json.dumps([_VERSION, every, how], default=str).encode()).hexdigest()
        folder = Path(settings.current().cache_dir) / "datasets" / f"{self.dataset}-{digest[:16]}"
        if (folder / "corpus.jsonl").is_file():
            return folder
        texts: dict[str, str] = {}
        for path in queries:
            for query, text in topics(path, files.topic_field).items():
                if texts.setdefault(query, text) != text:
                    raise DataError(f"query {query!r} has another text in another file", path=path)
        if not queries:
            self.judgments.read(judged, self.scale, texts)
        _write(folder / "queries.jsonl", ({"_id": query, "text": text} for query, text in texts.items()))
        for number, path in enumerate(runs):
            with replacing(folder / "runs" / f"{number}-{path.name}") as copy:
                shutil.copyfile(path, copy)
        _write(folder / "corpus.jsonl", _corpus(sources, files.fields))  # last: now the folder is whole
        return folder

    def _judged(self) -> list[Path]:
        """The judgment files of all splits, which have the texts of their queries."""
        if self.splits is not None and self.splits.files:
            named = [path for name in self.splits.names for path in self.splits.files[name]]
            return files_in(named, self.entry, "splits")
        return files_in(self.judgments.files, self.entry, "judgments")


@functools.cache  # converting compares what is there with the whole collection
def _of_ids(ids: tuple[str, ...], cache_dir: str) -> Path:
    return ir_datasets_source.folder_of(ids)


def _corpus(paths: Sequence[Path], fields: DocumentFields) -> Iterator[dict[str, str]]:
    seen: set[int] = set()
    for path in paths:
        for doc_id, document in documents(path, fields=fields):
            if (key := stable_hash(doc_id)) in seen:
                what = f"document {doc_id!r} is in another file too"
                raise DataError(what, path=path, todo="keep one of the two")
            if len(paths) > 1:
                seen.add(key)
            yield {"_id": doc_id, "title": document.title, "text": document.text}


def _write(path: Path, records: Iterator[dict[str, str]]) -> None:
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _stamped(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path.absolute()), status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=8)  # the judgments of a split are asked for several times
def _read(judgments: Judgments, grades: Grades, stamps: tuple[tuple[str, int, int], ...]) -> Qrels:
    return judgments.read([Path(path) for path, _, _ in stamps], grades)
