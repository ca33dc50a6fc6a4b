"""Readers for files of candidates with their texts.

    top1000     qid<TAB>pid<TAB>query<TAB>passage      MS MARCO's candidates with their texts
    lists       rank_llm and RankGPT: a JSON list, or JSON lines, of
                {"query": "...", "hits": [{"qid", "docid", "score", "content"}]} or
                {"query": {"qid", "text"}, "candidates": [{"docid", "score", "doc": {"title", "text"}}]}
    qdu         the INTERS authors' test files, JSON lines {"query", "key", "key_index", "pos_index"}

All files may be gzipped and in UTF-16. Topics and documents are read by
`seqio_tasks.sources.collection_files`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.questions import Document
from seqio_tasks.metrics.ranking import is_score
from seqio_tasks.sources.collection_files import TEXTS, first_of, json_record, lines
from seqio_tasks.sources.json_stream import array_items
from seqio_tasks.sources.released import Candidates


@dataclass
class Lists:
    """Candidates with their texts, and judgments if the file has them.

    shared_ids: False where queries are numbered by their line, so that equal ids mean nothing.
    """

    queries: dict[str, str] = field(default_factory=dict)
    documents: dict[str, Document] = field(default_factory=dict)
    run: dict[str, dict[str, float]] = field(default_factory=dict)
    qrels: dict[str, dict[str, int]] | None = None
    shared_ids: bool = True

    def add_query(self, where: str, query_id: str, query: str) -> None:
        """Add a query, which may have no candidates. A second text is refused."""
        if self.queries.setdefault(query_id, query) != query:
            raise RerankError(
                f"{where}: query {query_id!r} has a different text than before; keep one of the two"
            )

    def add(self, where: str, query_id: str, query: str, document: Document, score: float) -> None:
        """Add a candidate. A second text of a query or document, or a second place in a list, is refused."""
        self.add_query(where, query_id, query)
        known = self.documents.setdefault(document.doc_id, document)
        if known != document:
            raise RerankError(
                f"{where}: document {document.doc_id!r} has a different text than before; keep one of the two"
            )
        scores = self.run.setdefault(query_id, {})
        if document.doc_id in scores:
            raise RerankError(
                f"{where}: document {document.doc_id!r} is twice in the list of query {query_id!r}; keep one"
            )
        scores[document.doc_id] = score


def top1000(path: Path) -> Lists:
    """MS MARCO's candidates. They have no scores; their order is that of the file."""
    found = Lists()
    for number, text in lines(path):
        cells = text.split("\t")
        if len(cells) != 4:
            raise RerankError(
                f"{path}:{number}: {len(cells)} columns, expected qid<TAB>pid<TAB>query<TAB>passage"
            )
        query_id, doc_id, query, passage = (" ".join(cell.split()) for cell in cells)
        place = len(found.run.get(query_id, ()))
        found.add(f"{path}:{number}", query_id, query, Document("", passage, doc_id), -float(place))
    return found


def lists(path: Path) -> Lists:
    """Stored candidates of rank_llm or RankGPT, or the authors' test lines, recognised by their fields."""
    found = Lists()
    for where, record in _records(path):
        if "key" in record and "key_index" in record:
            return qdu(path)
        if "hits" in record:
            _hits(found, record, where)
        elif "candidates" in record:
            _candidates(found, record, where)
        else:
            raise RerankError(
                f"{where}: the fields are {', '.join(list(record)[:8])}; expected hits or candidates "
                "(rank_llm, RankGPT) or key and key_index (the INTERS authors)"
            )
    if not found.queries:
        raise RerankError(f"{path}: no query here")
    return found


def _hits(found: Lists, record: dict[str, Any], where: str) -> None:
    query, hits = record.get("query"), record["hits"]
    if not isinstance(query, str) or not isinstance(hits, list):
        raise RerankError(f"{where}: expected a text under query and a list under hits")
    if not hits:
        # Only hits carry the id of their query in this form; some files repeat it beside the text.
        query_id = first_of(record, ("qid",), f"{where}: hits is empty", "qid")
        found.add_query(where, query_id, " ".join(query.split()))
    for place, hit in enumerate(hits):
        at = f"{where}, hit {place + 1}"
        if not isinstance(hit, dict):
            raise RerankError(f"{at}: not an object")
        query_id, doc_id = first_of(hit, ("qid",), at, "qid"), first_of(hit, ("docid",), at, "docid")
        text = first_of(hit, ("content", "text"), at, "content", empty=True)
        score = _score(hit["score"], at) if "score" in hit else -_score(hit.get("rank", place), at, "rank")
        document = Document(" ".join(str(hit.get("title") or "").split()), " ".join(text.split()), doc_id)
        found.add(at, query_id, " ".join(query.split()), document, score)


def _candidates(found: Lists, record: dict[str, Any], where: str) -> None:
    query, candidates = record.get("query"), record["candidates"]
    if not isinstance(query, dict) or not isinstance(candidates, list):
        raise RerankError(f"{where}: expected an object under query and a list under candidates")
    query_id, text = first_of(query, ("qid",), where, "qid"), first_of(query, ("text",), where, "a text")
    found.add_query(where, query_id, " ".join(text.split()))
    for place, candidate in enumerate(candidates):
        at = f"{where}, candidate {place + 1}"
        content = candidate.get("doc") if isinstance(candidate, dict) else None
        if not isinstance(content, dict):
            raise RerankError(f"{at}: expected an object with docid, score and doc")
        doc_id = first_of(candidate, ("docid",), at, "docid")
        body = first_of(content, TEXTS, at, "a text", empty=True)
        document = Document(" ".join(str(content.get("title") or "").split()), " ".join(body.split()), doc_id)
        score = _score(candidate.get("score", -float(place)), at)
        found.add(at, query_id, " ".join(text.split()), document, score)


def qdu(path: Path) -> Lists:
    """The authors' lines: candidates in BM25 order without scores, and the judged documents."""
    rows = Candidates([(path, "")], 1 << 30, Counter())  # type: ignore[arg-type]  # a report is a Counter
    found = Lists(qrels=rows.qrels, shared_ids=False)
    for row in rows:
        # Document numbers are reused between forums, but not within one file.
        document = Document("", " ".join(row["document"]["text"].split()), row["doc_id"])
        query = " ".join(row["query"].split())
        found.add(f"{path}, query {row['query_id']}", row["query_id"], query, document, -float(row["rank"]))
    return found


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """("file:line", object) of a JSON list or of JSON lines."""
    first = next((text.lstrip()[:1] for _, text in lines(path)), "")
    if first == "[":
        for number, record in enumerate(array_items(path), start=1):
            if not isinstance(record, dict):
                raise RerankError(f"{path}: record {number} is not an object")
            yield f"{path}: record {number}", record
        return
    for number, text in lines(path):
        yield f"{path}:{number}", json_record(text, f"{path}:{number}")


def _score(value: Any, where: str, name: str = "score") -> float:
    """The score of a candidate. RankGPT's own lists have only ranks."""
    if not is_score(value):
        raise RerankError(f"{where}: the {name} is {value!r:.40}, expected a number that float32 can hold")
    return float(value)
