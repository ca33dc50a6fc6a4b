"""Hostile collections: BEIR folders, and sound ones in unusual forms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hostile.cases import CORPUS, QRELS, QUERIES, RUN, Act, Case, Place, json_lines, spoiled, zipped

from inters_jax.ranking import candidates, collection


def _beir(**files: bytes | str | None) -> Act:
    """`rerank` of the small collection with other files; names are written with __ for / and _ for a dot."""
    return lambda place: place.rerank(COLLECTION=place.beir(_named(files)))


def _named(files: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("__", "/").replace("_", "."): content for name, content in files.items()}


def _read(**files: bytes | str | None) -> Act:
    """The candidates of the first query of such a collection, and how it is judged."""

    def act(place: Place) -> Any:
        found = collection.open_collection(place.beir(_named(files)))
        first = candidates.candidates_of(found, None, 2)
        return [*first.documents["q1"]], (found.qrels or {})["q1"]

    return act


LINE = {"_id": "d4", "title": "", "text": "More."}
SOUND = [
    ("the collection is sound", _read(), (["d1", "d3"], {"d1": 1})),
    ("corpus is zipped", _read(corpus_jsonl=None, corpus_jsonl_gz=CORPUS), (["d1", "d3"], {"d1": 1})),
    ("corpus has CRLF", _read(corpus_jsonl=CORPUS.replace("\n", "\r\n")), (["d1", "d3"], {"d1": 1})),
    ("corpus has a byte order mark", _read(corpus_jsonl="\ufeff" + CORPUS), (["d1", "d3"], {"d1": 1})),
    ("corpus has blank lines", _read(corpus_jsonl=CORPUS.replace("\n", "\n\n")), (["d1", "d3"], {"d1": 1})),
    ("corpus lacks its last line end", _read(corpus_jsonl=CORPUS.rstrip()), (["d1", "d3"], {"d1": 1})),
    (
        "a title is null",
        _read(corpus_jsonl=CORPUS.replace('"title": ""', '"title": null')),
        (["d1", "d3"], {"d1": 1}),
    ),
    (
        "a document is empty",
        _read(corpus_jsonl=CORPUS + json_lines({**LINE, "text": ""})),
        (["d1", "d3"], {"d1": 1}),
    ),
    ("qrels are zipped", _read(qrels__test_tsv=None, qrels__test_tsv_gz=QRELS), (["d1", "d3"], {"d1": 1})),
    ("qrels repeat a line", _read(qrels__test_tsv=QRELS + "q1\td1\t1\n"), (["d1", "d3"], {"d1": 1})),
]

NOT_TEXT = b'{"_id": "d1", "title": "", "text": "\xff"}\n'
DEEP = '{"_id": "d1", "text": ' + "[" * 100_000 + "\n"
CORPUS_NAME, QUERIES_NAME, QRELS_NAME = r"corpus\.jsonl", r"queries\.jsonl", r"qrels/test\.tsv"
HUGE = '{"_id": 1' + "0" * 5_000 + ', "text": "a"}\n'
COLLECTIONS = [
    ("COLLECTION is missing", lambda p: p.rerank(COLLECTION=p.folder / "no"), r"no: no corpus\.jsonl here"),
    ("COLLECTION is an empty folder", lambda p: p.rerank(COLLECTION=p.folder), r": no corpus\.jsonl here"),
    (
        "COLLECTION is an empty file",
        lambda p: p.rerank(COLLECTION=p.write("a.json", "")),
        r"a\.json: no query",
    ),
    (
        "COLLECTION is no text",
        lambda p: p.rerank(COLLECTION=p.write("a.json", b"\xff\x00\xfe")),
        r"a\.json.*not UTF-8",
    ),
    ("COLLECTION has a null byte", lambda p: p.rerank(COLLECTION="a\0b"), r"COLLECTION|null"),
    ("COLLECTION is a very long name", lambda p: p.rerank(COLLECTION="x" * 300), r"x.*: File name too long"),
    ("COLLECTION is an unknown irds", lambda p: p.rerank(COLLECTION="irds:no/such"), r"irds:no/such: "),
    ("COLLECTION is irds without id", lambda p: p.rerank(COLLECTION="irds:"), r"irds:: |irds:"),
    ("nothing is named", lambda p: p.rerank(COLLECTION=None), r"set COLLECTION, or TOPICS and DOCUMENTS"),
    ("corpus is empty", _beir(corpus_jsonl=""), rf"{CORPUS_NAME}: the corpus is empty"),
    ("corpus has half a line", _beir(corpus_jsonl=CORPUS[:-30]), rf"{CORPUS_NAME}:3: not JSON"),
    ("corpus is not UTF-8", _beir(corpus_jsonl=NOT_TEXT), rf"{CORPUS_NAME}:1: not UTF-8"),
    ("corpus is UTF-16", _beir(corpus_jsonl=CORPUS.encode("utf-16")), rf"{CORPUS_NAME}:1: not UTF-8"),
    ("corpus has lists", _beir(corpus_jsonl="[1]\n"), rf"{CORPUS_NAME}:1: a JSON list, expected an object"),
    ("corpus is one JSON list", _beir(corpus_jsonl=json.dumps([LINE])), rf"{CORPUS_NAME}:1: a JSON list"),
    (
        "corpus is nested too deeply",
        _beir(corpus_jsonl=DEEP),
        rf"{CORPUS_NAME}:1: not JSON \(nested too deeply",
    ),
    ("corpus has a huge number", _beir(corpus_jsonl=HUGE), rf"{CORPUS_NAME}:1: not JSON \(a number has"),
    ("corpus has no ids", _beir(corpus_jsonl='{"text": "a"}\n'), rf"{CORPUS_NAME}:1: field '_id' is None"),
    (
        "corpus has an empty id",
        _beir(corpus_jsonl='{"_id": "", "text": "a"}\n'),
        rf"{CORPUS_NAME}:1: empty _id",
    ),
    (
        "corpus has an id twice",
        _beir(corpus_jsonl=CORPUS * 2),
        rf"{CORPUS_NAME}:4: document 'd1' appears twice",
    ),
    (
        "corpus has a number as text",
        _beir(corpus_jsonl='{"_id": "d", "text": 3}\n'),
        rf"{CORPUS_NAME}:1: field 'text' is 3",
    ),
    (
        "corpus has a list as title",
        _beir(corpus_jsonl='{"_id": "d", "title": [], "text": ""}\n'),
        rf"{CORPUS_NAME}:1: field 'title'",
    ),
    (
        "corpus has half a surrogate",
        _beir(corpus_jsonl='{"_id": "d", "text": "\\ud83d"}\n'),
        rf"{CORPUS_NAME}:1: half of a surrogate",
    ),
    (
        "corpus has NaN",
        _beir(corpus_jsonl='{"_id": "d", "text": "", "x": NaN}\n'),
        rf"{CORPUS_NAME}:1: the number nan",
    ),
    (
        "corpus has an id with a blank",
        _beir(corpus_jsonl=CORPUS.replace('"d1"', '"d 1"')),
        r"beir: 1 ids .*'d 1'",
    ),
    (
        "zipped corpus is cut",
        _beir(corpus_jsonl=None, corpus_jsonl_gz=zipped(CORPUS)[:-12]),
        r"corpus\.jsonl\.gz: broken gzip",
    ),
    (
        "zipped corpus has a flipped byte",
        _beir(corpus_jsonl=None, corpus_jsonl_gz=spoiled(zipped(CORPUS))),
        r"corpus\.jsonl\.gz: broken gzip",
    ),
    (
        "zipped corpus has a wrong checksum",
        _beir(corpus_jsonl=None, corpus_jsonl_gz=spoiled(zipped(CORPUS), -6)),
        r"corpus\.jsonl\.gz: broken gzip",
    ),
    ("queries are missing", _beir(queries_jsonl=None), rf"{QUERIES_NAME}: no such file"),
    ("queries are empty", _beir(queries_jsonl=""), r"2 judged queries have no text"),
    ("queries are not UTF-8", _beir(queries_jsonl=NOT_TEXT), rf"{QUERIES_NAME}:1: not UTF-8"),
    (
        "queries have an id twice",
        _beir(queries_jsonl=QUERIES * 2),
        rf"{QUERIES_NAME}:3: query 'q1' appears twice",
    ),
    (
        "queries have null as text",
        _beir(queries_jsonl='{"_id": "q1", "text": null}\n'),
        rf"{QUERIES_NAME}:1: field 'text' is None",
    ),
    ("queries are numbers", _beir(queries_jsonl="1\n"), rf"{QUERIES_NAME}:1: a JSON number"),
    (
        "zipped queries have a flipped byte",
        _beir(queries_jsonl=None, queries_jsonl_gz=spoiled(zipped(QUERIES))),
        r"queries\.jsonl\.gz:\d+: broken gzip",
    ),
    ("qrels are missing", _beir(qrels__test_tsv=None), r"beir: no judgments of SPLIT='test'"),
    ("qrels are empty", _beir(qrels__test_tsv=""), rf"{QRELS_NAME}: the file is empty"),
    ("qrels have no header", _beir(qrels__test_tsv="q1\td1\t1\n"), rf"{QRELS_NAME}:1: header lacks query-id"),
    ("qrels have only a header", _beir(qrels__test_tsv=QRELS.splitlines()[0]), r"split test has no query"),
    (
        "qrels have a text as grade",
        _beir(qrels__test_tsv=QRELS + "q1\td2\thigh\n"),
        rf"{QRELS_NAME}:4: score 'high'",
    ),
    (
        "qrels have half a grade",
        _beir(qrels__test_tsv=QRELS + "q1\td2\t0.5\n"),
        rf"{QRELS_NAME}:4: score '0\.5'",
    ),
    (
        "qrels have a grade of 5,000 digits",
        _beir(qrels__test_tsv=QRELS + f"q1\td2\t{'9' * 5000}\n"),
        rf"{QRELS_NAME}:4: score",
    ),
    (
        "qrels have a grade beyond 64 bits",
        _beir(qrels__test_tsv=QRELS + f"q1\td2\t{10**30}\n"),
        rf"{QRELS_NAME}:4: score",
    ),
    (
        "qrels have two grades",
        _beir(qrels__test_tsv=QRELS + "q1\td1\t2\n"),
        rf"{QRELS_NAME}:4: .*grades 1 and 2",
    ),
    (
        "qrels have more columns",
        _beir(qrels__test_tsv=QRELS + "q1\td1\t1\t5\n"),
        rf"{QRELS_NAME}:4: 4 columns",
    ),
    ("qrels have an empty id", _beir(qrels__test_tsv=QRELS + "\td1\t1\n"), rf"{QRELS_NAME}:4: empty query"),
    (
        "qrels judge unknown queries",
        _beir(qrels__test_tsv=QRELS + "q9\td1\t1\n"),
        r"1 judged queries have no text, the first is 'q9'",
    ),
    ("SPLIT is unknown", lambda p: p.rerank(SPLIT="tset"), r"beir: no judgments of SPLIT='tset'"),
    (
        "SPLIT leaves the folder",
        lambda p: p.rerank(SPLIT="../../etc"),
        r"beir: no judgments of SPLIT='\.\./\.\./etc'",
    ),
    (
        "two stored runs disagree",
        _beir(**{"runs__a": RUN, "runs__b": RUN}),
        r"runs/b: query 'q1' has results here and in a",
    ),
    ("a stored run is no run", _beir(runs__a="hello\n"), r"runs/a:1: 1 fields"),
    (
        "top1000 has three columns",
        _beir(corpus_jsonl=None, top1000_dev="q1\td1\thow\n"),
        r"top1000\.dev:1: 3 columns",
    ),
]

CASES = [
    *(Case(name, act, value=value) for name, act, value in SOUND),
    *(Case(name, act, error) for name, act, error in COLLECTIONS),
]
