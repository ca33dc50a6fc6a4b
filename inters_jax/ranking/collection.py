"""The queries, documents and judgments that are reranked, from a collection in any of the known forms.

    COLLECTION    BEIR folder          corpus.jsonl, queries.jsonl, qrels/; runs/ if it has stored runs
                  MS MARCO folder      collection.tsv, queries.*.tsv, qrels.*.tsv, or top1000.* with texts
                  irds:ID              by ir_datasets, kept as a BEIR folder in the cache
    NAME                 a dataset of one's own (seqio_tasks.own_data), with its own splits
                  FILE.json, .jsonl    rank_llm, RankGPT or the INTERS authors' lines: candidates with texts
    TOPICS, DOCUMENTS, RUN             a TREC run, its topics and a file with its documents

Everything is checked before a model is loaded; a bad line is refused with file and line number. Corpora stay
on disk; of document files only the candidates are kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inters_jax.ranking import formats
from inters_jax.ranking.errors import RerankError
from seqio_tasks import settings
from seqio_tasks.download import ir_datasets_source
from seqio_tasks.download.ir_datasets_source import PREFIX
from seqio_tasks.metrics.trec_files import read_qrels, read_run, read_runs
from seqio_tasks.own_data.collections import OwnSet
from seqio_tasks.sources import beir, collection_files, retrieval_sets
from seqio_tasks.sources.beir import Document
from seqio_tasks.sources.corpus_index import Corpus
from seqio_tasks.sources.retrieval_sets import RetrievalSet

Run = Mapping[str, Mapping[str, float]]
Qrels = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Collection:
    """Queries, documents and judgments.

    name: names output folders and finds the trained wording.
    source: the folder or file, for messages.
    documents: doc id -> object with title and text; may be read from disk on access.
    qrels: judgments of the wanted queries; None measures nothing.
    wanted: the queries to rerank: the judged ones in the order of the qrels, else all.
    run: first-stage results that came with the collection; run_source says where they come from.
    searchable: whether `documents` is a whole corpus, which BM25 can search.
    dataset: the collection of the catalog whose name the folder or file has; "" for none.
    shared_ids: whether queries and documents have the ids of the dataset, and not numbers of their own.
    own_document: queries are documents too: the document with the id of the query is not a candidate.
    graded: whether the grades of `qrels` are those that count, whatever the files say.
    """

    name: str
    source: str
    queries: Mapping[str, str]
    documents: Mapping[str, Any]
    qrels: Qrels | None
    wanted: tuple[str, ...]
    split: str | None = None
    run: Run | None = None
    run_source: str = ""
    searchable: bool = True
    dataset: str = ""
    shared_ids: bool = True
    own_document: bool = False
    graded: bool = False


def open_collection(
    collection: str | Path | None,
    *,
    split: str | None = "test",
    topics: str | Path | None = None,
    documents: str | Path | None = None,
    qrels: str | Path | None = None,
    run: str | Path | None = None,
    topic_field: str = "title",
    run_format: str = "auto",
    max_queries: int | None = None,
    rules: RetrievalSet | None = None,
) -> Collection:
    """Open a collection of any form.

    Args:
      collection: see the top of this module; None with topics and documents.
      split: its judged queries are wanted, if the collection has splits: those of qrels/<split>.tsv, all of
        them. "validation" without such a file: the queries that training holds out. None: every query,
        unmeasured.
      topics, documents: files that replace those of a folder, or stand alone without one.
      qrels: a judgment file (TREC or BEIR form) that replaces the collection's own.
      run: the run to rerank: of a document file only its documents are kept.
      topic_field: field of TREC topics: title, description, narrative, or several joined by +.
      run_format: "ranks", "scores" or "auto": the third column of runs with three.
      max_queries: only the first N of the wanted queries, for a trial.
      rules: what grades mean, also those of `qrels`, and whether queries are documents; None: as in the
        catalog for a collection with this name.

    Raises:
      RerankError, DataError: no such collection, a bad line, or judged queries without a text.
    """
    if collection is None:
        if topics is None or documents is None:
            raise RerankError("set COLLECTION, or TOPICS and DOCUMENTS (and RUN)")
        base = _from_files(Path(topics), Path(documents), run, topic_field, run_format)
    elif (own := _own(str(collection))) is not None:
        base = _from_own(own, split, own_qrels=qrels is None, own_run=run is None, form=run_format)
    elif str(collection).startswith(PREFIX):
        folder = ir_datasets_source.folder_of([str(collection).removeprefix(PREFIX)])
        base = _from_folder(folder, split, own_qrels=qrels is None, own_run=run is None, form=run_format)
    else:
        path = Path(collection)
        if path.is_file():
            base = _from_lists(path, formats.lists(path))
        else:
            base = _from_folder(path, split, own_qrels=qrels is None, own_run=run is None, form=run_format)
        if topics is not None:
            base = dataclasses.replace(base, queries=collection_files.topics(Path(topics), topic_field))
        if documents is not None:
            found = _documents(Path(documents), run, run_format)
            base = dataclasses.replace(base, documents=found, searchable=run is None)
    judged = base.qrels if qrels is None else read_qrels(Path(qrels))
    if split is None and qrels is None:
        judged = None
    rules = rules or (retrieval_sets.collection(base.dataset) if base.dataset else None)
    if rules is not None:
        if judged is not None and not (base.graded and qrels is None):
            judged = rules.graded(judged)
        base = dataclasses.replace(base, own_document=rules.own_document and base.shared_ids)
    if judged is not None:
        missing = [query for query in judged if query not in base.queries]
        if missing:
            raise RerankError(
                f"{qrels or base.source}: {len(missing)} judged queries have no text, the first is "
                f"{missing[0]!r}; use the judgments and queries of one collection"
            )
    wanted = tuple(base.queries if judged is None else judged)[:max_queries]
    if not wanted:
        raise RerankError(f"{base.source}: split {split} has no query")
    kept = None if judged is None else {query: judged[query] for query in wanted}
    return dataclasses.replace(base, qrels=kept, wanted=wanted, split=split)


def name_in_catalog(folder: Path) -> str:
    """The dataset of the catalog that a folder or file belongs to, by its name or its parent's; "" for none.

    >>> name_in_catalog(Path("data/beir_quora/quora")), name_in_catalog(Path("scifact.bm25.100.jsonl"))
    ('quora', 'scifact')
    """
    for name in (folder.name, folder.name.split(".")[0], folder.parent.name):
        folded = name.lower().replace("-", "_").removeprefix("beir_")
        for entry in (*retrieval_sets.SETS.values(), *retrieval_sets.EVALUATION_SETS.values()):
            # The folder has our name, or that of the official zip it was unpacked from.
            if folded in (entry.dataset, entry.unzipped.replace("-", "_")):
                return entry.dataset
    return ""


def _own(name: str) -> RetrievalSet | None:
    """The collection of one's own that has this name, or is in this folder."""
    known = [entry for entry in retrieval_sets.OWN.values() if not entry.forums]
    if not Path(name).exists():
        return next((entry for entry in known if entry.dataset == name), None)
    for entry in known:
        folder = entry.folder if isinstance(entry, OwnSet) else None
        if folder is not None and folder.exists() and folder.samefile(name):
            return entry
    return None


def _from_own(
    entry: RetrievalSet, split: str | None, *, own_qrels: bool, own_run: bool, form: str
) -> Collection:
    """A collection of one's own; the judgments are those of its split."""
    raw_dir = settings.current().raw_dir
    (part,) = entry.parts(raw_dir)
    base = _from_folder(part.folder, None, own_qrels=False, own_run=own_run, form=form)
    qrels = entry.qrels(raw_dir, split) if split is not None and own_qrels else None
    return dataclasses.replace(base, name=entry.dataset, qrels=qrels, dataset=entry.dataset, graded=True)


def _from_folder(folder: Path, split: str | None, *, own_qrels: bool, own_run: bool, form: str) -> Collection:
    """A BEIR folder, or one with MS MARCO's files."""
    tables = sorted(folder.glob("top1000*")) if folder.is_dir() else []
    tables = [path for path in tables if not path.name.endswith((".tar.gz", ".tar"))]
    whole = any((folder / name).is_file() for name in beir.CORPUS_FILES)
    if not whole and not tables:
        inner = sorted({path.parent for path in folder.glob("*/corpus.jsonl*")}) if folder.is_dir() else []
        if len(inner) != 1:
            packed = "".join(f"; {path.name} is here: unpack it first" for path in folder.glob("*.zip"))
            raise RerankError(
                f"{folder}: no corpus.jsonl here{packed}; COLLECTION must be an unpacked BEIR folder, a "
                "folder with MS MARCO's collection.tsv or top1000 file, a JSON file with candidates, or "
                "irds:ID"
            )
        folder = inner[0]
    qrels = _judgments(folder, split) if split is not None and own_qrels else None
    dataset = name_in_catalog(folder.resolve())
    if not whole and tables:
        if len(tables) > 1:
            raise RerankError(f"{folder}: {len(tables)} top1000 files; keep one of them")
        found = formats.top1000(tables[0])
        own = beir.query_tables(folder) or list(folder.glob("queries.jsonl*"))
        queries = beir.read_queries(folder) if own else {}
        return Collection(
            folder.name, str(folder), {**found.queries, **queries}, found.documents, qrels, (),
            run=found.run, run_source=f"candidates of {tables[0].name}", searchable=False, dataset=dataset,
        )  # fmt: skip
    # With RUN they are not used, so they need not agree.
    paths = sorted((folder / "runs").glob("[!.]*")) if own_run else []
    stored = read_runs(paths, form)
    names = [path.name for path in paths]
    return Collection(
        folder.name, str(folder), beir.read_queries(folder), Corpus(folder), qrels, (),
        run=stored or None, run_source=f"stored run {', '.join(names)}", dataset=dataset,
    )  # fmt: skip


def _judgments(folder: Path, split: str) -> Qrels:
    """The judgments of a split: its file, whole. Without one, validation is what training holds out.

    Queries of a file whose text is also in another split are kept: nothing is trained here.
    """
    if beir.judgment_file(folder, split).is_file():
        return beir.read_judgments(folder, split)
    found = beir.judged_splits(folder)
    if split == "validation" and {"train", "dev"} & set(found):
        return beir.read_qrels(folder, split)
    raise RerankError(
        f"{folder}: no judgments of SPLIT={split!r}; "
        + (f"choose one of {', '.join(found)}" if found else "no qrels are here: set QRELS")
        + ", or SPLIT=None to rerank every query without measuring"
    )


def _from_lists(path: Path, found: formats.Lists) -> Collection:
    name = path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json")
    return Collection(
        name, str(path), found.queries, found.documents, found.qrels, (), run=found.run,
        run_source=f"candidates of {path.name}", searchable=False, dataset=name_in_catalog(path.resolve()),
        shared_ids=found.shared_ids,
    )  # fmt: skip


def _from_files(
    topics: Path, documents: Path, run: str | Path | None, topic_field: str, form: str
) -> Collection:
    return Collection(
        topics.name.split(".")[0], f"{topics} and {documents}", collection_files.topics(topics, topic_field),
        _documents(documents, run, form), None, (), searchable=run is None,
        dataset=name_in_catalog(documents.resolve()),
    )  # fmt: skip


def _documents(path: Path, run: str | Path | None, form: str) -> dict[str, Document]:
    """The documents of a file; with a run those that it names."""
    wanted = None
    if run is not None:
        wanted = {document for scores in read_run(Path(run), form).values() for document in scores}
    return dict(collection_files.documents(path, wanted))
