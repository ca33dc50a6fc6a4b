"""Readers for files of collections outside BEIR: topics, documents, and candidates with their texts.

    topics      qid<TAB>text | JSON lines {"_id" | "id" | "qid", "text" | "query" | "title"} | TREC <top>,
                XML
    documents   docid<TAB>text or docid<TAB>title<TAB>text | JSON lines {"_id" | "id" | "docid", "title",
                "text" | "contents"}
    top1000     qid<TAB>pid<TAB>query<TAB>passage      MS MARCO's candidates with their texts
    lists       rank_llm and RankGPT: a JSON list, or JSON lines, of
                {"query": "...", "hits": [{"qid", "docid", "score", "content"}]} or
                {"query": {"qid", "text"}, "candidates": [{"docid", "score", "doc": {"title", "text"}}]}
    qdu         the INTERS authors' test files, JSON lines {"query", "key", "key_index", "pos_index"}

The first line of a tab-separated document file decides whether it has titles: it then has three columns.
Further tabs belong to the text (as in NovelEval's corpus.tsv). All files may be gzipped and in UTF-16.
Document files are read line by line, and only the wanted documents are kept.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.questions import Document
from seqio_tasks.base import json_kind, parse_json
from seqio_tasks.metrics.ranking import is_score
from seqio_tasks.sources import trec_topics
from seqio_tasks.sources.common import unusable
from seqio_tasks.sources.json_stream import array_items, open_text
from seqio_tasks.sources.released import Candidates

_IDS = ("_id", "id", "docid", "doc_id", "pid", "docno")
_QUERY_IDS = ("_id", "id", "qid", "query_id", "number", "topic_id")
_QUERY_TEXTS = ("text", "query", "title", "question")
_TEXTS = ("text", "contents", "content", "body", "passage", "segment")


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


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number, text without the line end) of the lines that are not blank."""
    if not path.is_file():
        raise RerankError(f"{path}: no such file")
    number = 0
    try:
        with open_text(path) as file:
            file.reconfigure(newline="\n")  # type: ignore[attr-defined]  # only LF and CRLF end a line
            for number, line in enumerate(file, start=1):
                text = line.rstrip("\r\n")
                if text.strip():
                    yield number, text
    except UnicodeError as error:
        where = f"{path}:{number + 1}" if number else str(path)
        reason = getattr(error, "reason", error)
        raise RerankError(f"{where}: not UTF-8 ({reason}); convert it to UTF-8") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise RerankError(f"{path}:{number + 1}: broken gzip file ({error}); download it again") from None


def topics(path: Path, fields: str = "title") -> dict[str, str]:
    """query id -> text. `fields`: title, description or narrative of TREC topics, several joined by +."""
    name = path.name.removesuffix(".gz")
    head = next((text.lstrip() for _, text in lines(path)), "")
    if not head:
        raise RerankError(f"{path}: the topic file is empty")
    if head.startswith("<"):
        return _trec_topics(path, name, fields)
    found: dict[str, str] = {}
    for number, text in lines(path):
        where = f"{path}:{number}"
        if head.startswith("{"):
            record = _object(text, where)
            query_id, query = (
                _first(record, _QUERY_IDS, where, "an id"),
                _first(record, _QUERY_TEXTS, where, "a text"),
            )
        else:
            query_id, tab, query = text.partition("\t")
            if not tab:
                raise RerankError(f"{where}: expected qid<TAB>text, there is no tab")
        query_id, query = query_id.strip(), " ".join(query.split())
        if not query_id or not query:
            raise RerankError(f"{where}: the query has no {'text' if query_id else 'id'}; check the line")
        if query_id in found:
            raise RerankError(f"{where}: query {query_id!r} appears twice; keep one of the two")
        found[query_id] = query
    return found


def _trec_topics(path: Path, name: str, fields: str) -> dict[str, str]:
    wanted = fields.split("+")
    if unknown := [one for one in wanted if one not in ("title", "description", "narrative")]:
        raise RerankError(f"topic field {unknown[0]!r} is unknown; choose title, description or narrative")
    read = trec_topics.read_covid if name.endswith(".xml") else trec_topics.read_sgml
    found: dict[str, str] = {}
    for topic in read(path):
        text = " ".join(part for one in wanted if (part := getattr(topic, one)))
        if not text:
            raise RerankError(
                f"{path}:{topic.line}: topic {topic.number} has no {fields}; choose another field"
            )
        if found.setdefault(topic.number, text) != text:
            raise RerankError(f"{path}:{topic.line}: topic {topic.number} appears twice; keep one of the two")
    return found


def documents(path: Path, wanted: Container[str] | None = None) -> dict[str, Document]:
    """doc id -> Document, of the wanted ids only (None: all)."""
    found: dict[str, Document] = {}
    head = next((text for _, text in lines(path)), "")
    as_json, titled = head.lstrip().startswith("{"), head.count("\t") == 2
    for number, text in lines(path):
        where = f"{path}:{number}"
        if as_json:
            record = _object(text, where)
            doc_id = _first(record, _IDS, where, "an id")
            if wanted is not None and doc_id not in wanted:
                continue
            title = record.get("title") or ""
            body = _first(record, _TEXTS, where, "a text", empty=True)
            if not isinstance(title, str):
                raise RerankError(f"{where}: the title is {title!r}, expected text")
        else:
            cells = text.split("\t", 2 if titled else 1)
            if len(cells) == 1:
                raise RerankError(f"{where}: no tab, expected docid<TAB>text or docid<TAB>title<TAB>text")
            doc_id, title, body = cells[0].strip(), cells[1] if len(cells) == 3 else "", cells[-1]
            if wanted is not None and doc_id not in wanted:
                continue
        if not doc_id:
            raise RerankError(f"{where}: the document has no id; check the line")
        if doc_id in found:
            raise RerankError(f"{where}: document {doc_id!r} appears twice; keep one of the two")
        found[doc_id] = Document(" ".join(title.split()), " ".join(body.split()), doc_id)
    if not head:
        raise RerankError(f"{path}: the document file is empty")
    return found


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
        query_id = _first(record, ("qid",), f"{where}: hits is empty", "qid")
        found.add_query(where, query_id, " ".join(query.split()))
    for place, hit in enumerate(hits):
        at = f"{where}, hit {place + 1}"
        if not isinstance(hit, dict):
            raise RerankError(f"{at}: not an object")
        query_id, doc_id = _first(hit, ("qid",), at, "qid"), _first(hit, ("docid",), at, "docid")
        text = _first(hit, ("content", "text"), at, "content", empty=True)
        score = _score(hit["score"], at) if "score" in hit else -_score(hit.get("rank", place), at, "rank")
        document = Document(" ".join(str(hit.get("title") or "").split()), " ".join(text.split()), doc_id)
        found.add(at, query_id, " ".join(query.split()), document, score)


def _candidates(found: Lists, record: dict[str, Any], where: str) -> None:
    query, candidates = record.get("query"), record["candidates"]
    if not isinstance(query, dict) or not isinstance(candidates, list):
        raise RerankError(f"{where}: expected an object under query and a list under candidates")
    query_id, text = _first(query, ("qid",), where, "qid"), _first(query, ("text",), where, "a text")
    found.add_query(where, query_id, " ".join(text.split()))
    for place, candidate in enumerate(candidates):
        at = f"{where}, candidate {place + 1}"
        content = candidate.get("doc") if isinstance(candidate, dict) else None
        if not isinstance(content, dict):
            raise RerankError(f"{at}: expected an object with docid, score and doc")
        doc_id = _first(candidate, ("docid",), at, "docid")
        body = _first(content, _TEXTS, at, "a text", empty=True)
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
        yield f"{path}:{number}", _object(text, f"{path}:{number}")


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        value = parse_json(text)
    except json.JSONDecodeError as error:
        raise RerankError(f"{where}: not JSON ({error.msg}, column {error.colno})") from None
    if not isinstance(value, dict):
        raise RerankError(f"{where}: a JSON {json_kind(value)}, expected an object")
    if found := unusable(text, value):
        raise RerankError(f"{where}: {found}; repair or remove it")
    return value


def _first(
    record: dict[str, Any], names: tuple[str, ...], where: str, what: str, *, empty: bool = False
) -> str:
    """The first of these fields that has a value, as text; numbers are accepted as ids."""
    for name in names:
        value = record.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str) and (value.strip() or empty):
            return value
    raise RerankError(f"{where}: no {what.removeprefix('a ').removeprefix('an ')} under {' or '.join(names)}")


def _score(value: Any, where: str, name: str = "score") -> float:
    """The score of a candidate. RankGPT's own lists have only ranks."""
    if not is_score(value):
        raise RerankError(f"{where}: the {name} is {value!r:.40}, expected a number that float32 can hold")
    return float(value)
