"""Topics and documents of collections outside BEIR folders, in the forms that tools exchange.

    topics      qid<TAB>text | JSON lines {"_id" | "id" | "qid", "text" | "query" | "title"} | TREC <top>,
                XML
    documents   docid<TAB>text or docid<TAB>title<TAB>text | JSON lines {"_id" | "id" | "docid", "title",
                "text" | "contents"} | TREC <DOC>: <DOCNO>, <TITLE> or <HEADLINE>, <TEXT>

The first line of a tab-separated document file decides whether it has titles: it then has three columns.
Further tabs belong to the text (as in NovelEval's corpus.tsv). All files may be gzipped and in UTF-16.
Document files are read line by line.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from seqio_tasks.base import DataError, MissingData, json_kind, parse_json
from seqio_tasks.sources import trec_topics
from seqio_tasks.sources.beir import Document
from seqio_tasks.sources.common import one_line, unusable
from seqio_tasks.sources.json_stream import open_text
from seqio_tasks.sources.splits import stable_hash

QUERY_IDS = ("_id", "id", "qid", "query_id", "number", "topic_id")
QUERY_TEXTS = ("text", "query", "title", "question")
TEXTS = ("text", "contents", "content", "body", "passage", "segment")
TOPIC_FIELDS = ("title", "description", "narrative")
_TITLES = ("title", "headline", "hl")
_ELEMENT = re.compile(r"<(docno|title|headline|hl|text)>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")


class DocumentFields(NamedTuple):
    """The fields of JSON lines that hold a document: of each, the first one that has a value."""

    ids: tuple[str, ...] = ("_id", "id", "docid", "doc_id", "pid", "docno")
    titles: tuple[str, ...] = ("title",)
    texts: tuple[str, ...] = TEXTS


DOCUMENT_FIELDS = DocumentFields()


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number, text without the line end) of the lines that are not blank."""
    if not path.is_file():
        raise MissingData("no such file", path=path, todo="check the path")
    number = 0
    try:
        with open_text(path) as file:
            file.reconfigure(newline="\n")  # type: ignore[attr-defined]  # only LF and CRLF end a line
            for number, line in enumerate(file, start=1):
                text = line.rstrip("\r\n")
                if text.strip():
                    yield number, text
    except UnicodeError as error:
        what = f"not UTF-8 ({getattr(error, 'reason', error)})"
        after = number + 1 if number else None  # text is decoded in blocks: the first one may hold any line
        raise DataError(what, path=path, line=after, todo="convert it to UTF-8") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        what = f"broken gzip file ({error})"
        raise DataError(what, path=path, line=number + 1, todo="download it again") from None


def json_record(text: str, where: str) -> dict[str, Any]:
    """The object on one line of JSON lines; `where` begins the messages."""
    try:
        value = parse_json(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON ({error.msg}, column {error.colno})") from None
    if not isinstance(value, dict):
        raise DataError(f"{where}: a JSON {json_kind(value)}, expected an object")
    if found := unusable(text, value):
        raise DataError(f"{where}: {found}", todo="repair or remove it")
    return value


def first_of(
    record: dict[str, Any], names: tuple[str, ...], where: str, what: str, *, empty: bool = False
) -> str:
    """The first of these fields that has a value, as text; numbers are accepted as ids."""
    for name in names:
        value = record.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str) and (value.strip() or empty):
            return value
    raise DataError(f"{where}: no {what.removeprefix('a ').removeprefix('an ')} under {' or '.join(names)}")


def topics(path: Path, fields: str = "title") -> dict[str, str]:
    """query id -> text. `fields`: title, description or narrative of TREC topics, several joined by +."""
    head = next((text.lstrip() for _, text in lines(path)), "")
    if not head:
        raise DataError("the topic file is empty", path=path)
    if head.startswith("<"):
        return _trec_topics(path, fields)
    found: dict[str, str] = {}
    for number, text in lines(path):
        where = f"{path}:{number}"
        if head.startswith("{"):
            record = json_record(text, where)
            query_id = first_of(record, QUERY_IDS, where, "an id")
            query = first_of(record, QUERY_TEXTS, where, "a text")
        else:
            query_id, tab, query = text.partition("\t")
            if not tab:
                raise DataError("expected qid<TAB>text, there is no tab", path=path, line=number)
        query_id, query = query_id.strip(), one_line(query)
        if not query_id or not query:
            what = f"the query has no {'text' if query_id else 'id'}"
            raise DataError(what, path=path, line=number, todo="check the line")
        if query_id in found:
            what = f"query {query_id!r} appears twice"
            raise DataError(what, path=path, line=number, todo="keep one of the two")
        found[query_id] = query
    return found


def _trec_topics(path: Path, fields: str) -> dict[str, str]:
    wanted = fields.split("+")
    if unknown := [one for one in wanted if one not in TOPIC_FIELDS]:
        todo = "choose title, description or narrative"
        raise DataError(f"topic field {unknown[0]!r} is unknown", todo=todo)
    name = path.name.removesuffix(".gz")
    read = trec_topics.read_covid if name.endswith(".xml") else trec_topics.read_sgml
    found: dict[str, str] = {}
    for topic in read(path):
        text = " ".join(part for one in wanted if (part := getattr(topic, one)))
        if not text:
            what = f"topic {topic.number} has no {fields}"
            raise DataError(what, path=path, line=topic.line, todo="choose another field")
        if found.setdefault(topic.number, text) != text:
            what = f"topic {topic.number} appears twice"
            raise DataError(what, path=path, line=topic.line, todo="keep one of the two")
    return found


def documents(
    path: Path, wanted: Container[str] | None = None, fields: DocumentFields = DOCUMENT_FIELDS
) -> Iterator[tuple[str, Document]]:
    """(doc id, document) in file order.

    Args:
      path: the file.
      wanted: ids of the documents that are read; None: all.
      fields: of JSON lines.

    Raises:
      DataError: a line that is no document, or repeats the id of another.
    """
    head = next((text.lstrip() for _, text in lines(path)), "")
    if not head:
        raise DataError("the document file is empty", path=path)
    seen: set[int] = set()  # of hashes: ids of millions of documents take gigabytes
    for number, doc_id, document in _documents(path, head, wanted, fields):
        if not doc_id:
            raise DataError("the document has no id", path=path, line=number, todo="check the line")
        if (key := stable_hash(doc_id)) in seen:
            what = f"document {doc_id!r} appears twice"
            raise DataError(what, path=path, line=number, todo="keep one of the two")
        seen.add(key)
        yield doc_id, document


def _documents(
    path: Path, head: str, wanted: Container[str] | None, fields: DocumentFields
) -> Iterator[tuple[int, str, Document]]:
    """(line, doc id, document) of the wanted documents; `head` is the first line."""
    if head.startswith("<"):
        for number, doc_id, found in _trec_documents(path):
            if wanted is None or doc_id in wanted:
                yield number, doc_id, found
        return
    titled = head.count("\t") == 2
    for number, text in lines(path):
        if head.startswith("{"):
            where = f"{path}:{number}"
            record = json_record(text, where)
            doc_id = first_of(record, fields.ids, where, "an id").strip()
            if wanted is not None and doc_id not in wanted:
                continue
            title = next((record[name] for name in fields.titles if record.get(name)), "")
            body = first_of(record, fields.texts, where, "a text", empty=True)
            if not isinstance(title, str):
                raise DataError(f"the title is {title!r:.80}, expected text", path=path, line=number)
        else:
            cells = text.split("\t", 2 if titled else 1)
            if len(cells) == 1:
                what = "no tab, expected docid<TAB>text or docid<TAB>title<TAB>text"
                raise DataError(what, path=path, line=number)
            doc_id, title, body = cells[0].strip(), cells[1] if len(cells) == 3 else "", cells[-1]
            if wanted is not None and doc_id not in wanted:
                continue
        yield number, doc_id, Document(one_line(title), one_line(body))


def _trec_documents(path: Path) -> Iterator[tuple[int, str, Document]]:
    """Documents between <DOC> and </DOC>: their <TEXT>, or all that is in no other known element."""
    block: list[str] | None = None
    start = 0
    for number, text in lines(path):
        tag = text.strip().upper()
        if tag == "<DOC>":
            if block is not None:
                raise DataError("document without </DOC>", path=path, line=start, todo="add the tag")
            block, start = [], number
        elif block is None:
            raise DataError("text outside <DOC> and </DOC>", path=path, line=number, todo="check the file")
        elif tag == "</DOC>":
            yield start, *_trec_document("\n".join(block), path, start)
            block = None
        else:
            block.append(text)
    if block is not None:
        raise DataError("document without </DOC>", path=path, line=start, todo="the file may be cut")


def _trec_document(block: str, path: Path, line: int) -> tuple[str, Document]:
    found: dict[str, list[str]] = {}
    for element in _ELEMENT.finditer(block):
        found.setdefault(element[1].lower(), []).append(_TAG.sub(" ", element[2]))
    if "docno" not in found:
        raise DataError("document without <DOCNO>", path=path, line=line, todo="every document needs its own")
    title = next((" ".join(found[name]) for name in _TITLES if name in found), "")
    body = " ".join(found["text"]) if "text" in found else _TAG.sub(" ", _ELEMENT.sub(" ", block))
    return one_line(found["docno"][0]), Document(one_line(title), one_line(body))
