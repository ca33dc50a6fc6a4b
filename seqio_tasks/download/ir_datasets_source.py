"""Convert a collection of ir_datasets into a BEIR folder: ``irds:beir/scifact/test``.

ir_datasets downloads and reads what belongs to the id (below its own ``IR_DATASETS_HOME``); written are

    corpus.jsonl        {"_id", "title", "text"}; without a field text: default_text() and an empty title
    queries.jsonl       {"_id", "text", "metadata"}; text, else title, else default_text(); other fields
                        are metadata, because some collections are divided by one of them
    qrels/<split>.tsv   query-id, corpus-id, score, with a header line

into the folder that the catalog reads, or into one named after the id. Several ids of one collection share
the corpus if they have the same number of documents. The corpus is written last, so a folder that has one is
complete.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from seqio_tasks import settings
from seqio_tasks.base import DataError, MissingData, nearest, replacing
from seqio_tasks.download.report import FAILED, FETCHED, PRESENT, Outcome
from seqio_tasks.sources import beir
from seqio_tasks.sources.common import json_lines, one_line
from seqio_tasks.sources.retrieval_sets import EVALUATION_SETS, SETS

PREFIX = "irds:"
# Beginning of the id -> our dataset. ir_datasets names the collections of BEIR as their official zips.
EVALUATION_IDS = {
    "msmarco-passage/trec-dl-2019": "trec_dl_2019",
    "msmarco-passage/trec-dl-2020": "trec_dl_2020",
    "bright": "bright",
    "lotte/pooled/test/search": "lotte_search",
    "lotte/pooled/test/forum": "lotte_forum",
    "antique/test": "antique",
    "cranfield": "cranfield",
}
DATASETS = (
    {beginning: EVALUATION_SETS[name] for beginning, name in EVALUATION_IDS.items()}  # before a shorter one
    | {f"beir/{entry.unzipped}": entry for entry in SETS.values()}
    | {"msmarco-passage": SETS["ms_marco"]}
)
# Part of the id -> name of the judgment file; our readers take validation from dev.tsv.
_SPLITS = {"train": "train", "dev": "dev", "validation": "dev", "valid": "dev", "val": "dev", "test": "test"}
_NEEDED = ("docs", "queries", "qrels")
_OTHER_FOLDER = "name another folder with --folder"


def split_name(dataset_id: str) -> str:
    """The judgment file of an id: its last part that names a split, "test" when none does.

    >>> [split_name(id) for id in ("beir/fiqa/dev", "msmarco-passage/dev/small", "beir/nq")]
    ['dev', 'dev', 'test']
    """
    return next((_SPLITS[part] for part in reversed(dataset_id.split("/")) if part in _SPLITS), "test")


def folder_name(dataset_id: str) -> str:
    """The folder below the raw directory, one level deeper for the forums of CQADupStack.

    >>> folder_name("beir/scifact/test"), folder_name("beir/cqadupstack/tex"), folder_name("antique/test")
    ('beir_scifact', 'beir_cqadupstack/tex', 'beir_antique')
    >>> folder_name("bright/pony"), folder_name("bright/pony-long"), folder_name("vaswani")
    ('beir_bright/pony', 'bright_pony-long', 'vaswani')
    """
    for beginning, entry in DATASETS.items():
        if f"{dataset_id}/".startswith(f"{beginning}/"):
            forum = dataset_id.removeprefix(beginning).strip("/")
            if entry.dataset == "bright" and forum not in entry.forums:
                continue  # another form of the documents, with judgments of its own
            return f"beir_{entry.dataset}" + (f"/{forum}" if forum in entry.forums else "")
    return dataset_id.replace("/", "_")


def checked_folder(name: str) -> str:
    """A folder name given by the user, normalised.

    Raises:
      DataError: it leaves the raw directory.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or path.parts[0].startswith("."):
        raise DataError(f"no folder below the raw directory: {name!r}", todo="give a plain name to --folder")
    return str(path)


def convert(dataset_id: str, raw_dir: Path | str, folder: str = "") -> Iterator[Outcome]:
    """Write one id as a BEIR folder.

    Args:
      dataset_id: an id of ir_datasets, without "irds:".
      folder: below `raw_dir`; "" is `folder_name(dataset_id)`.

    Yields:
      The outcome of every file; a failure is an outcome too and raises nothing.
    """
    try:
        yield from _convert(dataset_id, Path(raw_dir), checked_folder(folder or folder_name(dataset_id)))
    except DataError as error:
        yield Outcome(PREFIX + dataset_id, FAILED, "see below", str(error))
    except Exception as error:  # ir_datasets may raise anything; the other ids go on
        todo = "check disk, connection and what https://ir-datasets.com says of the id, and run it again"
        yield Outcome(PREFIX + dataset_id, FAILED, "see below", f"{type(error).__name__}: {error}; {todo}")


def folder_of(ids: Sequence[str]) -> Path:
    """The BEIR folder that ids of one collection become, in the cache.

    Raises:
      MissingData: one of them cannot be converted.
    """
    base = Path(settings.current().cache_dir) / "irds"
    name = folder_name(ids[0])
    for dataset_id in ids:
        failed = [one for one in convert(dataset_id, base, name) if one.status == FAILED]
        if failed:
            raise MissingData(f"{PREFIX}{dataset_id}: {failed[0].message}")
    return base / name


def _convert(dataset_id: str, raw_dir: Path, name: str) -> Iterator[Outcome]:
    dataset = _load(dataset_id)
    folder = _existing(raw_dir, name)
    corpus, queries_path = folder / "corpus.jsonl", folder / "queries.jsonl"
    qrels_path = folder / "qrels" / f"{split_name(dataset_id)}.tsv"
    # Everything that can be refused is checked before the first file changes.
    queries, new_queries = _queries(dataset, dataset_id, folder)
    qrels, new_qrels = _qrels(dataset, dataset_id, qrels_path)
    documents = _same_corpus(dataset, dataset_id, corpus) if corpus.is_file() else 0

    def outcome(path: Path, new: int, detail: str) -> Outcome:
        return Outcome(str(path.relative_to(raw_dir)), FETCHED if new else PRESENT, detail)

    if new_queries:
        _write(queries_path, map(_line, queries.values()))
    yield outcome(queries_path, new_queries, f"{len(queries):,} queries")
    if new_qrels:
        rows = (
            f"{query}\t{doc}\t{grade}\n" for query, judged in qrels.items() for doc, grade in judged.items()
        )
        _write(qrels_path, chain(["query-id\tcorpus-id\tscore\n"], rows))
    judgments = sum(map(len, qrels.values()))
    yield outcome(qrels_path, new_qrels, f"{judgments:,} judgments of {len(qrels):,} queries")
    written = 0
    if not documents:
        written = _write(corpus, map(_line, _documents(dataset, dataset_id)))
    yield outcome(corpus, written, f"{documents or written:,} documents")


def _write(path: Path, lines: Iterable[str]) -> int:
    """Write a file, whole or not at all; the number of lines, which must not be zero."""
    count = 0
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as out:
        for line in lines:
            out.write(line)
            count += 1
        if not count:
            raise DataError("the collection has no document", path=path, todo="choose another id")
    return count


def _load(dataset_id: str) -> Any:
    try:
        import ir_datasets  # optional: the extra "irds"; importing it makes folders in its home
    except ImportError as error:
        what = f"{PREFIX}{dataset_id} needs the package ir_datasets ({error})"
        raise DataError(what, todo="pip install 'inters-jax[irds]'") from None
    try:
        dataset = ir_datasets.load(dataset_id)
    except KeyError:
        hint = nearest(dataset_id, ir_datasets.registry) or "; use an id of https://ir-datasets.com"
        raise DataError(f"ir_datasets knows no {dataset_id!r}{hint}") from None
    if missing := [part for part in _NEEDED if not dataset.has(part)]:
        below = [key for key in ir_datasets.registry if key.startswith(f"{dataset_id}/")]
        whole = [key for key in below if all(map(ir_datasets.load(key).has, _NEEDED))]
        todo = f"use one of {', '.join(whole[:8])}" if whole else "use an id that has all three"
        raise DataError(f"{dataset_id} has no {' and no '.join(missing)}", todo=todo)
    return dataset


def _existing(raw_dir: Path, name: str) -> Path:
    """The folder to write to: an official zip that was unpacked one level deeper is added to there."""
    folder = raw_dir / name
    outer, _, forum = name.partition("/")
    dataset = outer.removeprefix("beir_")
    if entry := SETS.get(dataset) or EVALUATION_SETS.get(dataset):
        unzipped = raw_dir / outer / entry.unzipped / forum
        has_corpus = (
            path for path in (folder, unzipped) if any((path / file).is_file() for file in beir.CORPUS_FILES)
        )
        folder = next(has_corpus, folder)
    if (folder / "collection.tsv").is_file() and not (folder / "corpus.jsonl").is_file():
        todo = f"{_OTHER_FOLDER}, or move collection.tsv and its queries and qrels away"
        raise DataError("the collection is here in its original form", path=folder, todo=todo)
    return folder


def _queries(dataset: Any, dataset_id: str, folder: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """(all queries of the folder and the id as records, how many of them are new)."""
    path = folder / "queries.jsonl"
    known_before = path.is_file() and beir.read_queries(folder)  # raises on what it cannot read
    merged = {str(record["_id"]): record for _, record in json_lines(path)} if known_before else {}
    before = len(merged)
    for query in dataset.queries_iter():
        query_id = _id(query.query_id, dataset_id)
        text = getattr(query, "text", None) or getattr(query, "title", None)
        text = text or _default_text(query, dataset_id)
        known = merged.get(query_id)
        if known and one_line(known["text"]) != one_line(text):
            what = f"query {query_id!r} is {known['text']!r} here and {text!r} in {dataset_id}"
            raise DataError(what, path=path, todo=_OTHER_FOLDER)
        rest = {field: value for field, value in query._asdict().items() if field not in ("query_id", "text")}
        rest |= rest.pop("metadata", None) or {}
        metadata = {field: value for field, value in rest.items() if isinstance(value, str | int | list)}
        merged.setdefault(query_id, {"_id": query_id, "text": text, "metadata": metadata})
    return merged, len(merged) - before


def _qrels(dataset: Any, dataset_id: str, path: Path) -> tuple[beir.Qrels, int]:
    """(all judgments of the file and the id, how many of them are new)."""
    merged, new = beir.read_qrels_file(path) if path.is_file() else {}, 0
    for judgment in dataset.qrels_iter():
        query_id, doc_id = _id(judgment.query_id, dataset_id), _id(judgment.doc_id, dataset_id)
        grade = getattr(judgment, "relevance", None)
        if not isinstance(grade, int):
            raise DataError(f"{dataset_id}: relevance {grade!r} is no whole number", todo="use another id")
        judged = merged.setdefault(query_id, {})
        if judged.get(doc_id, grade) != grade:
            grades = f"grades {judged[doc_id]} and {grade} ({dataset_id})"
            what = f"query {query_id} and document {doc_id}: {grades}"
            raise DataError(what, path=path, todo=_OTHER_FOLDER)
        new += doc_id not in judged
        judged[doc_id] = grade
    if not merged:
        raise DataError(f"{dataset_id} has no judgment", todo="use an id with judgments")
    return merged, new


def _same_corpus(dataset: Any, dataset_id: str, corpus: Path) -> int:
    """The number of documents in `corpus`, which must be that of the id."""
    with corpus.open("rb") as file:
        here = sum(1 for line in file if line.strip())
    there = dataset.docs_count() or sum(1 for _ in _documents(dataset, dataset_id))
    if here != there:
        what = f"{here:,} documents here, {there:,} in {dataset_id}"
        raise DataError(what, path=corpus, todo=f"{_OTHER_FOLDER}, or move this one away")
    return here


def _documents(dataset: Any, dataset_id: str) -> Iterator[dict[str, Any]]:
    documents, total = dataset.docs_iter(), dataset.docs_count()
    for document in tqdm(documents, dataset_id, total, leave=False, unit=" documents", disable=None):
        text, title = getattr(document, "text", None), getattr(document, "title", None) or ""
        if not isinstance(text, str):
            text, title = _default_text(document, dataset_id), ""
        yield {"_id": _id(document.doc_id, dataset_id), "title": title, "text": text}


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


def _default_text(record: Any, dataset_id: str) -> str:
    text = record.default_text() if hasattr(record, "default_text") else None
    if not isinstance(text, str):
        what = f"{dataset_id}: {type(record).__name__} has no text"
        raise DataError(what, todo="use a collection of texts")
    return text


def _id(value: Any, dataset_id: str) -> str:
    if not isinstance(value, str) or not value or value != one_line(value):
        raise DataError(f"{dataset_id}: {value!r} cannot be an id in a table", todo="use another collection")
    return value
