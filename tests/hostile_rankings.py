"""Hostile collections, runs and judgments: BEIR, MS MARCO, TREC, JSON lists, tsv and gzip."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from hostile_cases import BEIR, CORPUS, QRELS, QUERIES, RUN, Case, Place, json_lines, small_disk, spoiled, zipped

from inters_jax.ranking import candidates, collection
from seqio_tasks.sources import rank_llm

Act = Callable[[Place], Any]
RANDOM = "".join(f"word{number * 7919 % 10007} " for number in range(3_000))


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


def _run(text: bytes | str, name: str = "run.trec", **settings: Any) -> Act:
    """`rerank` of the small collection with a run."""

    def act(place: Place) -> Any:
        return place.rerank(COLLECTION=place.beir(), RUN=place.write(name, text), **settings)

    return act


def _first(text: bytes | str, name: str = "run.trec") -> Act:
    """The candidates of the first query that a run names."""

    def act(place: Place) -> Any:
        found = collection.open_collection(place.beir())
        return [*candidates.candidates_of(found, place.write(name, text), 5).documents["q1"]]

    return act


def _list(text: bytes | str, name: str = "lists.json") -> Act:
    """`rerank` of a JSON file of candidates."""
    return lambda place: place.rerank(COLLECTION=place.write(name, text), SPLIT=None)


def _topics(text: bytes | str, name: str = "topics.tsv") -> Act:
    return lambda place: place.rerank(TOPICS=place.write(name, text), DOCUMENTS=place.write("docs.jsonl", CORPUS))


def _documents(text: bytes | str, name: str = "docs.tsv") -> Act:
    return lambda place: place.rerank(TOPICS=place.write("topics.tsv", "q1\tpearls\n"),
                                      DOCUMENTS=place.write(name, text), RUN=place.write("run.trec", RUN))  # fmt: skip


def _qrels(text: bytes | str, name: str = "qrels.txt") -> Act:
    return lambda place: place.rerank(COLLECTION=place.beir(), QRELS=place.write(name, text))


def _compared(one: bytes | str, qrels: bytes | str = QRELS, **settings: Any) -> Act:
    """`compare` of a run with a sound one."""

    def act(place: Place) -> Any:
        paths = [str(place.write(name, text)) for name, text in (("a.trec", one), ("b.trec", RUN))]
        return place.command("compare", *paths, QRELS=place.write("qrels.tsv", qrels), **settings)

    return act


def _stored(text: bytes | str, name: str = "results.json") -> Act:
    """`python -m seqio_tasks.sources.rank_llm`."""

    def act(place: Place) -> Any:
        files = place.write(name, text), place.write("qrels.tsv", QRELS), place.folder / "out"
        rank_llm.main([str(file) for file in files])
        return json.loads((place.folder / "out" / "corpus.jsonl").read_text().splitlines()[0])["text"]

    return act


def _record(**changes: Any) -> dict[str, Any]:
    hit = {"qid": "q1", "docid": "d1", "score": 2.5, "content": "Pearls."} | changes
    return {"query": "how do pearls grow", "hits": [{k: v for k, v in hit.items() if v is not ...}]}


def _both(number: str) -> str:
    """A list with a score as it is written."""
    return json.dumps([_record(score=0), _record(qid="q2", score=0)]).replace('"score": 0', f'"score": {number}')


LINE = {"_id": "d4", "title": "", "text": "More."}
SOUND = [
    ("the collection is sound", _read(), (["d1", "d3"], {"d1": 1})),
    ("corpus is zipped", _read(corpus_jsonl=None, corpus_jsonl_gz=CORPUS), (["d1", "d3"], {"d1": 1})),
    ("corpus has CRLF", _read(corpus_jsonl=CORPUS.replace("\n", "\r\n")), (["d1", "d3"], {"d1": 1})),
    ("corpus has a byte order mark", _read(corpus_jsonl="\ufeff" + CORPUS), (["d1", "d3"], {"d1": 1})),
    ("corpus has blank lines", _read(corpus_jsonl=CORPUS.replace("\n", "\n\n")), (["d1", "d3"], {"d1": 1})),
    ("corpus lacks its last line end", _read(corpus_jsonl=CORPUS.rstrip()), (["d1", "d3"], {"d1": 1})),
    ("a title is null", _read(corpus_jsonl=CORPUS.replace('"title": ""', '"title": null')), (["d1", "d3"], {"d1": 1})),
    ("a document is empty", _read(corpus_jsonl=CORPUS + json_lines({**LINE, "text": ""})), (["d1", "d3"], {"d1": 1})),
    ("qrels are zipped", _read(qrels__test_tsv=None, qrels__test_tsv_gz=QRELS), (["d1", "d3"], {"d1": 1})),
    ("qrels repeat a line", _read(qrels__test_tsv=QRELS + "q1\td1\t1\n"), (["d1", "d3"], {"d1": 1})),
    ("a run is zipped", _first(RUN, "run.trec.gz"), ["d1", "d2"]),
    ("a run has CRLF and a byte order mark", _first("\ufeff" + RUN.replace("\n", "\r\n")), ["d1", "d2"]),
    ("a run has tabs and many blanks", _first(RUN.replace(" ", " \t ")), ["d1", "d2"]),
    ("a run is not in order", _first("".join(reversed(RUN.splitlines(keepends=True)))), ["d1", "d2"]),
    ("a run has equal scores", _first(RUN.replace("2.5", "1.5")), ["d2", "d1"]),
    ("a run has scores of three columns", _first("q1\td1\t0.1\nq1\td2\t0.9\n"), ["d2", "d1"]),
    ("a results file of rank_llm is sound", _stored(json.dumps([_record(), _record(qid="q2")])), "Pearls."),
]

NOT_TEXT = b'{"_id": "d1", "title": "", "text": "\xff"}\n'
DEEP = '{"_id": "d1", "text": ' + "[" * 100_000 + "\n"
HUGE = '{"_id": 1' + "0" * 5_000 + ', "text": "a"}\n'
CORPUS_NAME, QUERIES_NAME, QRELS_NAME = r"corpus\.jsonl", r"queries\.jsonl", r"qrels/test\.tsv"
COLLECTIONS = [
    ("COLLECTION is missing", lambda p: p.rerank(COLLECTION=p.folder / "no"), r"no: no corpus\.jsonl here"),
    ("COLLECTION is an empty folder", lambda p: p.rerank(COLLECTION=p.folder), r": no corpus\.jsonl here"),
    ("COLLECTION is an empty file", lambda p: p.rerank(COLLECTION=p.write("a.json", "")), r"a\.json: no query"),
    ("COLLECTION is no text", lambda p: p.rerank(COLLECTION=p.write("a.json", b"\xff\x00\xfe")), r"a\.json.*not UTF-8"),
    ("COLLECTION has a null byte", lambda p: p.rerank(COLLECTION="a\0b"), r"COLLECTION|null"),
    ("COLLECTION is a very long name", lambda p: p.rerank(COLLECTION="x" * 300), r"x.*: File name too long"),
    ("COLLECTION is an unknown irds", lambda p: p.rerank(COLLECTION="irds:no/such"), r"irds:no/such: "),
    ("COLLECTION is irds without id", lambda p: p.rerank(COLLECTION="irds:"), r"irds:: |irds:"),
    ("nothing is named", lambda p: p.rerank(COLLECTION=None), r"set COLLECTION, or TOPICS and DOCUMENTS"),
    ("corpus is empty", _beir(corpus_jsonl=""), r"beir: .*(empty|no document)"),
    ("corpus has half a line", _beir(corpus_jsonl=CORPUS[:-30]), rf"{CORPUS_NAME}:3: not JSON"),
    ("corpus is not UTF-8", _beir(corpus_jsonl=NOT_TEXT), rf"{CORPUS_NAME}:1: not UTF-8"),
    ("corpus is UTF-16", _beir(corpus_jsonl=CORPUS.encode("utf-16")), rf"{CORPUS_NAME}:1: not UTF-8"),
    ("corpus has lists", _beir(corpus_jsonl="[1]\n"), rf"{CORPUS_NAME}:1: a JSON list, expected an object"),
    ("corpus is one JSON list", _beir(corpus_jsonl=json.dumps([LINE])), rf"{CORPUS_NAME}:1: a JSON list"),
    ("corpus is nested too deeply", _beir(corpus_jsonl=DEEP), rf"{CORPUS_NAME}:1: not JSON \(nested too deeply"),
    ("corpus has a huge number", _beir(corpus_jsonl=HUGE), rf"{CORPUS_NAME}:1: not JSON \(a number has"),
    ("corpus has no ids", _beir(corpus_jsonl='{"text": "a"}\n'), rf"{CORPUS_NAME}:1: field '_id' is None"),
    ("corpus has an empty id", _beir(corpus_jsonl='{"_id": "", "text": "a"}\n'), rf"{CORPUS_NAME}:1: empty _id"),
    ("corpus has an id twice", _beir(corpus_jsonl=CORPUS * 2), rf"{CORPUS_NAME}:4: document 'd1' appears twice"),
    ("corpus has a number as text", _beir(corpus_jsonl='{"_id": "d", "text": 3}\n'), rf"{CORPUS_NAME}:1: field 'text' is 3"),
    ("corpus has a list as title", _beir(corpus_jsonl='{"_id": "d", "title": [], "text": ""}\n'), rf"{CORPUS_NAME}:1: field 'title'"),
    ("corpus has half a surrogate", _beir(corpus_jsonl='{"_id": "d", "text": "\\ud83d"}\n'), rf"{CORPUS_NAME}:1: half of a surrogate"),
    ("corpus has NaN", _beir(corpus_jsonl='{"_id": "d", "text": "", "x": NaN}\n'), rf"{CORPUS_NAME}:1: the number nan"),
    ("corpus has an id with a blank", _beir(corpus_jsonl=CORPUS.replace('"d1"', '"d 1"')), r"beir: 1 ids .*'d 1'"),
    ("zipped corpus is cut", _beir(corpus_jsonl=None, corpus_jsonl_gz=zipped(CORPUS)[:-12]), r"corpus\.jsonl\.gz: broken gzip"),
    ("zipped corpus has a flipped byte", _beir(corpus_jsonl=None, corpus_jsonl_gz=spoiled(zipped(CORPUS))), r"corpus\.jsonl\.gz: broken gzip"),
    ("zipped corpus has a wrong checksum", _beir(corpus_jsonl=None, corpus_jsonl_gz=spoiled(zipped(CORPUS), -6)), r"corpus\.jsonl\.gz: broken gzip"),
    ("queries are missing", _beir(queries_jsonl=None), rf"{QUERIES_NAME}: no such file"),
    ("queries are empty", _beir(queries_jsonl=""), r"2 judged queries have no text"),
    ("queries are not UTF-8", _beir(queries_jsonl=NOT_TEXT), rf"{QUERIES_NAME}:1: not UTF-8"),
    ("queries have an id twice", _beir(queries_jsonl=QUERIES * 2), rf"{QUERIES_NAME}:3: query 'q1' appears twice"),
    ("queries have null as text", _beir(queries_jsonl='{"_id": "q1", "text": null}\n'), rf"{QUERIES_NAME}:1: field 'text' is None"),
    ("queries are numbers", _beir(queries_jsonl="1\n"), rf"{QUERIES_NAME}:1: a JSON number"),
    ("zipped queries have a flipped byte", _beir(queries_jsonl=None, queries_jsonl_gz=spoiled(zipped(QUERIES))), r"queries\.jsonl\.gz:\d+: broken gzip"),
    ("qrels are missing", _beir(qrels__test_tsv=None), r"beir: no judgments of SPLIT='test'"),
    ("qrels are empty", _beir(qrels__test_tsv=""), rf"{QRELS_NAME}: the file is empty"),
    ("qrels have no header", _beir(qrels__test_tsv="q1\td1\t1\n"), rf"{QRELS_NAME}:1: header lacks query-id"),
    ("qrels have only a header", _beir(qrels__test_tsv=QRELS.splitlines()[0]), r"split test has no query"),
    ("qrels have a text as grade", _beir(qrels__test_tsv=QRELS + "q1\td2\thigh\n"), rf"{QRELS_NAME}:4: score 'high'"),
    ("qrels have half a grade", _beir(qrels__test_tsv=QRELS + "q1\td2\t0.5\n"), rf"{QRELS_NAME}:4: score '0\.5'"),
    ("qrels have a grade of 5,000 digits", _beir(qrels__test_tsv=QRELS + f"q1\td2\t{'9' * 5000}\n"), rf"{QRELS_NAME}:4: score"),
    ("qrels have a grade beyond 64 bits", _beir(qrels__test_tsv=QRELS + f"q1\td2\t{10**30}\n"), rf"{QRELS_NAME}:4: score"),
    ("qrels have two grades", _beir(qrels__test_tsv=QRELS + "q1\td1\t2\n"), rf"{QRELS_NAME}:4: .*grades 1 and 2"),
    ("qrels have more columns", _beir(qrels__test_tsv=QRELS + "q1\td1\t1\t5\n"), rf"{QRELS_NAME}:4: 4 columns"),
    ("qrels have an empty id", _beir(qrels__test_tsv=QRELS + "\td1\t1\n"), rf"{QRELS_NAME}:4: empty query"),
    ("qrels judge unknown queries", _beir(qrels__test_tsv=QRELS + "q9\td1\t1\n"), r"1 judged queries have no text, the first is 'q9'"),
    ("SPLIT is unknown", lambda p: p.rerank(SPLIT="tset"), r"beir: no judgments of SPLIT='tset'"),
    ("SPLIT leaves the folder", lambda p: p.rerank(SPLIT="../../etc"), r"beir: no judgments of SPLIT='\.\./\.\./etc'"),
    ("two stored runs disagree", _beir(**{"runs__a": RUN, "runs__b": RUN}), r"runs/b: query 'q1' has results here and in a"),
    ("a stored run is no run", _beir(runs__a="hello\n"), r"runs/a:1: 1 fields"),
]  # fmt: skip

RUNS = [
    ("RUN is missing", lambda p: p.rerank(RUN=p.folder / "no.trec"), r"no\.trec: no such file"),
    ("RUN is a folder", lambda p: p.rerank(RUN=p.folder), r": no such file"),
    ("RUN is empty", _run(""), r"run\.trec: the run file is empty"),
    ("RUN is blank lines", _run("\n\n"), r"run\.trec: the run file is empty"),
    ("RUN is not UTF-8", _run(b"q1 Q0 d1 1 2 \xff\n"), r"run\.trec:1: cannot be read as text"),
    ("RUN is UTF-16", _run(RUN.encode("utf-16")), r"run\.trec:1: cannot be read as text"),
    ("RUN is JSON", _run('{"a": 1}\n'), r"run\.trec:1: 2 fields"),
    ("RUN has five columns", _run("q1 Q0 d1 1 2.0\n"), r"run\.trec:1: 5 fields"),
    ("RUN has a cut line", _run(RUN + "q2 Q0 d2\n"), r"run\.trec:4: 3 fields"),
    ("RUN has a text as score", _run(RUN.replace("1.5", "high")), r"run\.trec:2: 'high' is not a finite number"),
    ("RUN has NaN", _run(RUN.replace("1.5", "nan")), r"run\.trec:2: 'nan' is not a finite number"),
    ("RUN has infinity", _run(RUN.replace("1.5", "inf")), r"run\.trec:2: 'inf' is not a finite number"),
    ("RUN has 1e999", _run(RUN.replace("1.5", "1e999")), r"run\.trec:2: '1e999' is not a finite number"),
    ("RUN has 1e39", _run(RUN.replace("1.5", "1e39")), r"run\.trec:2: '1e39' .*float32"),
    ("RUN has a document twice", _run(RUN + "q1 Q0 d1 9 0.1 first\n"), r"run\.trec:4: document 'd1' appears twice"),
    ("RUN names an unknown document", _run(RUN.replace("d2", "d9")), r"run\.trec:2: document 'd9' is not in"),
    ("RUN names an unknown query", _run(RUN.replace("q2", "q9")), r"run\.trec:3: query 'q9' is not in"),
    ("zipped RUN names an unknown query", _run(RUN.replace("q2", "q9"), "run.trec.gz"), r"run\.trec\.gz:3: query 'q9'"),
    ("RUN could be ranks or scores", _run("q1 d1 3\nq1 d2 2\nq1 d3 1\n"), r"run\.trec: the third column could be"),
    ("RUN_FORMAT is unknown", _run(RUN, RUN_FORMAT="best"), r"RUN_FORMAT='best' must be"),
    ("zipped RUN is cut", _run(zipped(RUN)[:-12], "run.gz"), r"run\.gz:\d+: cannot be read as text"),
    ("zipped RUN is empty", _run(b"\x1f\x8b", "run.gz"), r"run\.gz:1: cannot be read as text"),
    ("zipped RUN has a flipped byte", _run(spoiled(zipped(RUN)), "run.gz"), r"run\.gz:\d+: cannot be read as text"),
    ("zipped RUN is no gzip", lambda p: p.rerank(RUN=_raw(p, "run.gz", RUN)), r"run\.gz:1: cannot be read as text"),
    ("zip bomb of one line", _run(zipped("a" * 50_000_000), "run.gz"), r"run\.gz:1: 1 fields"),
    ("QRELS is missing", lambda p: p.rerank(QRELS=p.folder / "no.txt"), r"no\.txt: no such file"),
    ("QRELS is empty", _qrels(""), r"qrels\.txt: the judgment file is empty"),
    ("QRELS has two columns", _qrels("q1 d1\n"), r"qrels\.txt:1: 2 fields"),
    ("QRELS has a text as grade", _qrels("q1 0 d1 yes\n"), r"qrels\.txt:1: grade 'yes' is not a whole number"),
    ("QRELS has a grade of 5,000 digits", _qrels(f"q1 0 d1 {'9' * 5000}\n"), r"qrels\.txt:1: grade"),
    ("QRELS has a grade beyond 64 bits", _qrels(f"q1 0 d1 {10**30}\n"), r"qrels\.txt:1: grade"),
    ("QRELS has two grades", _qrels("q1 0 d1 1\nq1 0 d1 2\n"), r"qrels\.txt:2: document 'd1' of query 'q1' is judged 1 and 2"),
    ("zipped QRELS have a flipped byte", _qrels(spoiled(zipped(QRELS)), "qrels.gz"), r"qrels\.gz:\d+: cannot be read"),
    ("MEASURES is unknown", lambda p: p.rerank(MEASURES="nDGC@10"), r"MEASURES: .*nDGC@10"),
    ("MEASURES is empty", lambda p: p.rerank(MEASURES=""), r"MEASURES"),
    ("MEASURES is a number", lambda p: p.rerank(MEASURES=3), r"MEASURES=3 must be text"),
    ("MEASURES has a cut-off of 0", lambda p: p.rerank(MEASURES="nDCG@0"), r"MEASURES: .*nDCG@0"),
    ("MEASURES has an open bracket", lambda p: p.rerank(MEASURES="P(rel=2@3"), r"MEASURES: .*P\(rel=2"),
    ("MEASURES has an unknown parameter", lambda p: p.rerank(MEASURES="P(x=2)@3"), r"MEASURES: .*P\(x=2\)"),
    ("compare has one run", lambda p: p.command("compare", str(p.write("a", RUN))), r"compare: two or more different runs"),
    ("compare has no run", lambda p: p.command("compare"), r"compare: RUNS has no value"),
    ("compare has the same run twice", lambda p: p.command("compare", *[str(p.write("a", RUN))] * 2), r"two or more different"),
    ("compare has a missing run", lambda p: p.command("compare", "no.trec", str(p.write("a", RUN))), r"no\.trec: no such file"),
    ("compare has no value for a flag", lambda p: p.command("compare", "--qrels"), r"--qrels needs a value"),
    ("compare has no qrels", lambda p: p.command("compare", str(p.write("a", RUN)), str(p.write("b", RUN))), r"--qrels FILE"),
    ("compare has a broken run", _compared("hello\n"), r"a\.trec:1: 1 fields"),
    ("compare has a run of 1e39", _compared(RUN.replace("1.5", "1e39")), r"a\.trec:2: '1e39' .*float32"),
    ("compare has broken qrels", _compared(RUN, "q1 0 d1 x\n"), r"qrels\.tsv:1: grade 'x'"),
    ("compare has qrels of others", _compared(RUN, "q8 0 d1 1\n"), r"q8|queries"),
    ("compare has an unknown measure", _compared(RUN, MEASURES="nDGC@10"), r"nDGC@10"),
    ("compare has LEVEL 1", _compared(RUN, LEVEL=1.0), r"level 1\.0 must lie between 0 and 1"),
    ("compare has LEVEL 2", _compared(RUN, LEVEL=2.0), r"LEVEL=2\.0 must be"),
    ("compare has SAMPLES 0", _compared(RUN, SAMPLES=0), r"SAMPLES=0 must be"),
    ("compare has a folder and a run", lambda p: p.command("compare", str(p.evaluation), str(p.write("a", RUN))), r"is an evaluation and others are run files"),
    ("compare writes on a full disk", lambda p: _full(p, _compared(RUN.replace("2.5", "0.5"), OUTPUT_DIR=p.folder / "out")), r"compare: .*/out/.*: no disk space"),
    ("compare writes below a file", lambda p: _compared(RUN.replace("2.5", "0.5"), OUTPUT_DIR=p.write("f", "") / "out")(p), r"f/out.*: Not a directory"),
]  # fmt: skip


def _raw(place: Place, name: str, text: str) -> Any:
    """A plain file with the name of a zipped one."""
    place.folder.mkdir(exist_ok=True)
    (place.folder / name).write_text(text)
    return place.folder / name


def _full(place: Place, act: Act) -> Any:
    with small_disk():
        return act(place)


LISTS = [
    ("list is cut", _list(json.dumps([_record()])[:-4]), r"lists\.json:1: not JSON"),
    ("list is not UTF-8", _list(b'[{"a": "\xff"}]'), r"lists\.json.*not .*UTF-8"),
    ("list has numbers", _list("[1]"), r"lists\.json: record 1 is not an object"),
    ("list is empty", _list("[]"), r"lists\.json: no query here"),
    ("list has text behind it", _list(json.dumps([_record()]) + " x"), r"lists\.json:1: more text behind"),
    ("list is nested too deeply", _list("[" * 100_000), r"lists\.json:1: not JSON: nested too deeply"),
    ("list has a huge number", _list(_both("1" * 5_000)), r"lists\.json:1: not JSON: a number has"),
    ("list has other fields", _list('[{"a": 1}]'), r"lists\.json: record 1: the fields are a"),
    ("list has a text as score", _list(json.dumps([_record(score="2.5")])), r"record 1, hit 1: the score is '2\.5'"),
    ("list has a null score", _list(json.dumps([_record(score=None)])), r"record 1, hit 1: the score is None"),
    ("list has infinity", _list(_both("Infinity")), r"lists\.json:1: the number inf"),
    ("list has NaN", _list(_both("NaN")), r"lists\.json:1: the number nan"),
    ("list has 1e999", _list(_both("1e999")), r"lists\.json:1: the number inf"),
    ("list has 1e39", _list(_both("1e39")), r"record 1, hit 1: the score is 1e\+39"),
    ("list has a score of 400 digits", _list(_both("9" * 400)), r"record 1, hit 1: the score is"),
    ("list has a rank as text", _list(json.dumps([_record(score=..., rank="first")])), r"record 1, hit 1: the rank is 'first'"),
    ("list has a rank as a list", _list(json.dumps([_record(score=..., rank=[1])])), r"record 1, hit 1: the rank is \[1\]"),
    ("list has no query id", _list(json.dumps([_record(qid=...)])), r"record 1, hit 1: no qid"),
    ("list has no document id", _list(json.dumps([_record(docid=None)])), r"record 1, hit 1: no docid"),
    ("list has no text", _list(json.dumps([_record(content=None)])), r"record 1, hit 1: no content"),
    ("list has a document twice", _list(json.dumps([_record(), _record()])), r"record 2, hit 1: document 'd1' is twice"),
    ("list has two texts of a document", _list(json.dumps([_record(), _record(qid="q2", content="x")])), r"record 2, hit 1: document 'd1' has a different text"),
    ("list has hits as text", _list('[{"query": "a", "hits": "b"}]'), r"record 1: expected a text under query and a list"),
    ("list has hits of text", _list('[{"query": "a", "hits": ["b"]}]'), r"record 1, hit 1: not an object"),
    ("list has candidates of text", _list('[{"query": {"qid": 1, "text": "a"}, "candidates": ["b"]}]'), r"record 1, candidate 1: expected an object"),
    ("list has a blank id", _list(json.dumps([_record(docid="d 1")])), r"lists\.json: 1 ids .*'d 1'"),
    ("list has half a surrogate", _list(json.dumps([_record(content="\ud83d")])), r"lists\.json:1: half of a surrogate"),
    ("lines have half a line", _list(json_lines(_record())[:-4], "l.jsonl"), r"l\.jsonl:1: not JSON"),
    ("lines are nested too deeply", _list('{"a": ' + "[" * 100_000, "l.jsonl"), r"l\.jsonl:1: not JSON \(nested too deeply"),
    ("lines have a huge number", _list(json_lines(_record()).replace("2.5", "1" * 5_000), "l.jsonl"), r"l\.jsonl:1: not JSON \(a number has"),
    ("zipped list is cut", _list(zipped(json.dumps([_record()]))[:-12], "l.json.gz"), r"l\.json\.gz:1: broken gzip"),
    ("zipped list has a flipped byte", _list(spoiled(zipped(json.dumps([_record()]))), "l.json.gz"), r"l\.json\.gz: broken gzip"),
    ("released line lacks its index", _list(json_lines({"query": "a", "key": ["b"], "key_index": [1]}), "l.jsonl"), r"l\.jsonl"),
    ("released line has texts as index", _list(json_lines({"query": "a", "key": ["b"], "key_index": ["x"], "pos_index": "y"}), "l.jsonl"), r"l\.jsonl"),
    ("results of rank_llm are missing", lambda p: rank_llm.main([str(p.folder / "a.json"), str(p.write("q", QRELS)), str(p.folder / "o")]), r"a\.json: No such file"),
    ("results of rank_llm are an object", _stored("{}"), r"results\.json:1: not JSON: '\{' where '\['"),
    ("results of rank_llm have a text as score", _stored(json.dumps([_record(score="2.5")])), r"results\.json: record 1: .*the score is '2\.5'"),
    ("results of rank_llm have infinity", _stored(_both("Infinity")), r"results\.json:1: the number inf"),
    ("results of rank_llm have 1e39", _stored(_both("1e39")), r"results\.json: record 1: .*the score is 1e\+39"),
    ("results of rank_llm have a huge number", _stored(_both("9" * 400)), r"results\.json: record 1: .*the score is"),
    ("results of rank_llm are nested too deeply", _stored("[" * 100_000), r"results\.json:1: not JSON: nested too deeply"),
    ("results of rank_llm lack a judged query", _stored(json.dumps([_record()])), r"results\.json: 1 judged queries have no hits"),
    ("topics are missing", lambda p: p.rerank(TOPICS=p.folder / "no.tsv", DOCUMENTS=p.write("d.jsonl", CORPUS)), r"no\.tsv: no such file"),
    ("topics are empty", _topics(""), r"topics\.tsv: the topic file is empty"),
    ("topics have no tab", _topics("q1 pearls\n"), r"topics\.tsv:1: expected qid<TAB>text"),
    ("topics have no text", _topics("q1\t \n"), r"topics\.tsv:1: the query has no text"),
    ("topics have no id", _topics("\tpearls\n"), r"topics\.tsv:1: the query has no id"),
    ("topics have an id twice", _topics("q1\ta\nq1\tb\n"), r"topics\.tsv:2: query 'q1' appears twice"),
    ("topics are not UTF-8", _topics(b"q1\t\xff\n"), r"topics\.tsv: not UTF-8"),
    ("topics are nested too deeply", _topics('{"_id": "q1", "text": ' + "[" * 100_000), r"topics\.tsv:1: not JSON \(nested"),
    ("topics are XML cut in half", _topics("<topics><topic number='1'><query>a</que", "topics.xml"), r"topics\.xml.*not XML"),
    ("topics are XML with a bomb", _topics('<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;"><!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;"><!ENTITY f "&e;&e;&e;&e;&e;&e;&e;&e;"><!ENTITY g "&f;&f;&f;&f;&f;&f;&f;&f;"><!ENTITY h "&g;&g;&g;&g;&g;&g;&g;&g;"><!ENTITY i "&h;&h;&h;&h;&h;&h;&h;&h;">]><topics><topic number="1"><query>&i;</query></topic></topics>', "topics.xml"), r"topics\.xml"),
    ("topics are SGML cut in half", _topics("<top>\n<num> Number: 1\n<title> pearls\n", "topics.txt"), r"topics\.txt"),
    ("TOPIC_FIELD is unknown", lambda p: p.rerank(TOPICS=p.write("t.txt", "<top>\n<num> 1\n<title> a\n</top>\n"), DOCUMENTS=p.write("d.jsonl", CORPUS), TOPIC_FIELD="name"), r"topic field 'name' is unknown"),
    ("documents have one column", _documents("d1\n"), r"docs\.tsv:1: 1 columns"),
    ("documents have an id twice", _documents("d1\ta\nd1\tb\n"), r"docs\.tsv:2: document 'd1' appears twice"),
    ("documents lack a candidate", _documents("d1\ta\n"), r"run\.trec:2: document 'd2' is not in"),
    ("documents have a flipped byte", _documents(spoiled(zipped("d1\ta\nd2\tb\n"), -6), "docs.tsv.gz"), r"docs\.tsv\.gz:\d+: broken gzip"),
    ("top1000 has three columns", _beir(corpus_jsonl=None, top1000_dev="q1\td1\thow\n"), r"top1000\.dev:1: 3 columns"),
]  # fmt: skip

CASES = [
    *(Case(name, act, value=value) for name, act, value in SOUND),
    *(Case(name, act, error) for name, act, error in (*COLLECTIONS, *RUNS, *LISTS)),
]
