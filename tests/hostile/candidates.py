"""Hostile candidates with their texts: JSON lists, topics and documents."""

from __future__ import annotations

import json
from typing import Any

from hostile.cases import CORPUS, QRELS, RUN, Act, Case, Place, json_lines, spoiled, zipped

from seqio_tasks.sources import rank_llm


def _list(text: bytes | str, name: str = "lists.json") -> Act:
    """`rerank` of a JSON file of candidates."""
    return lambda place: place.rerank(COLLECTION=place.write(name, text), SPLIT=None)


def _topics(text: bytes | str, name: str = "topics.tsv") -> Act:
    return lambda place: place.rerank(
        TOPICS=place.write(name, text), DOCUMENTS=place.write("docs.jsonl", CORPUS)
    )


def _documents(text: bytes | str, name: str = "docs.tsv") -> Act:
    return lambda place: place.rerank(
        TOPICS=place.write("topics.tsv", "q1\tpearls\n"),
        DOCUMENTS=place.write(name, text),
        RUN=place.write("run.trec", RUN),
    )


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
    return json.dumps([_record(score=0), _record(qid="q2", score=0)]).replace(
        '"score": 0', f'"score": {number}'
    )


# Entities that stand for eight of the one before: eight to the eighth copies of a text.
BOMB = "".join(
    [
        '<!DOCTYPE a [<!ENTITY a0 "aaaaaaaaaa">',
        *(f'<!ENTITY a{n} "{f"&a{n - 1};" * 8}">' for n in range(1, 9)),
        ']><topics><topic number="1"><query>&a8;</query></topic></topics>',
    ]
)
SOUND = [
    ("a results file of rank_llm is sound", _stored(json.dumps([_record(), _record(qid="q2")])), "Pearls."),
]
LISTS = [
    ("list is cut", _list(json.dumps([_record()])[:-4]), r"lists\.json:1: not JSON"),
    ("list is not UTF-8", _list(b'[{"a": "\xff"}]'), r"lists\.json.*not .*UTF-8"),
    ("list has numbers", _list("[1]"), r"lists\.json: record 1 is not an object"),
    ("list is empty", _list("[]"), r"lists\.json: no query here"),
    ("list has text behind it", _list(json.dumps([_record()]) + " x"), r"lists\.json:1: more text behind"),
    ("list is nested too deeply", _list("[" * 100_000), r"lists\.json:1: not JSON: nested too deeply"),
    ("list has a huge number", _list(_both("1" * 5_000)), r"lists\.json:1: not JSON: a number has"),
    ("list has other fields", _list('[{"a": 1}]'), r"lists\.json: record 1: the fields are a"),
    (
        "list has a text as score",
        _list(json.dumps([_record(score="2.5")])),
        r"record 1, hit 1: the score is '2\.5'",
    ),
    (
        "list has a null score",
        _list(json.dumps([_record(score=None)])),
        r"record 1, hit 1: the score is None",
    ),
    ("list has infinity", _list(_both("Infinity")), r"lists\.json:1: the number inf"),
    ("list has NaN", _list(_both("NaN")), r"lists\.json:1: the number nan"),
    ("list has 1e999", _list(_both("1e999")), r"lists\.json:1: the number inf"),
    ("list has 1e39", _list(_both("1e39")), r"record 1, hit 1: the score is 1e\+39"),
    ("list has a score of 400 digits", _list(_both("9" * 400)), r"record 1, hit 1: the score is"),
    (
        "list has a rank as text",
        _list(json.dumps([_record(score=..., rank="first")])),
        r"record 1, hit 1: the rank is 'first'",
    ),
    (
        "list has a rank as a list",
        _list(json.dumps([_record(score=..., rank=[1])])),
        r"record 1, hit 1: the rank is \[1\]",
    ),
    ("list has no query id", _list(json.dumps([_record(qid=...)])), r"record 1, hit 1: no qid"),
    ("list has no document id", _list(json.dumps([_record(docid=None)])), r"record 1, hit 1: no docid"),
    ("list has no text", _list(json.dumps([_record(content=None)])), r"record 1, hit 1: no content"),
    (
        "list has a document twice",
        _list(json.dumps([_record(), _record()])),
        r"record 2, hit 1: document 'd1' is twice",
    ),
    (
        "list has two texts of a document",
        _list(json.dumps([_record(), _record(qid="q2", content="x")])),
        r"record 2, hit 1: document 'd1' has a different text",
    ),
    (
        "list has hits as text",
        _list('[{"query": "a", "hits": "b"}]'),
        r"record 1: expected a text under query and a list",
    ),
    ("list has hits of text", _list('[{"query": "a", "hits": ["b"]}]'), r"record 1, hit 1: not an object"),
    (
        "list has candidates of text",
        _list('[{"query": {"qid": 1, "text": "a"}, "candidates": ["b"]}]'),
        r"record 1, candidate 1: expected an object",
    ),
    ("list has a blank id", _list(json.dumps([_record(docid="d 1")])), r"lists\.json: 1 ids .*'d 1'"),
    (
        "list has half a surrogate",
        _list(json.dumps([_record(content="\ud83d")])),
        r"lists\.json:1: half of a surrogate",
    ),
    ("lines have half a line", _list(json_lines(_record())[:-4], "l.jsonl"), r"l\.jsonl:1: not JSON"),
    (
        "lines are nested too deeply",
        _list('{"a": ' + "[" * 100_000, "l.jsonl"),
        r"l\.jsonl:1: not JSON \(nested too deeply",
    ),
    (
        "lines have a huge number",
        _list(json_lines(_record()).replace("2.5", "1" * 5_000), "l.jsonl"),
        r"l\.jsonl:1: not JSON \(a number has",
    ),
    (
        "zipped list is cut",
        _list(zipped(json.dumps([_record()]))[:-12], "l.json.gz"),
        r"l\.json\.gz:1: broken gzip",
    ),
    (
        "zipped list has a flipped byte",
        _list(spoiled(zipped(json.dumps([_record()]))), "l.json.gz"),
        r"l\.json\.gz: broken gzip",
    ),
    (
        "released line lacks its index",
        _list(json_lines({"query": "a", "key": ["b"], "key_index": [1]}), "l.jsonl"),
        r"l\.jsonl",
    ),
    (
        "released line has texts as index",
        _list(json_lines({"query": "a", "key": ["b"], "key_index": ["x"], "pos_index": "y"}), "l.jsonl"),
        r"l\.jsonl",
    ),
    (
        "results of rank_llm are missing",
        lambda p: rank_llm.main([str(p.folder / "a.json"), str(p.write("q", QRELS)), str(p.folder / "o")]),
        r"a\.json: No such file",
    ),
    ("results of rank_llm are an object", _stored("{}"), r"results\.json:1: not JSON: '\{' where '\['"),
    (
        "results of rank_llm have a text as score",
        _stored(json.dumps([_record(score="2.5")])),
        r"results\.json: record 1: .*the score is '2\.5'",
    ),
    ("results of rank_llm have infinity", _stored(_both("Infinity")), r"results\.json:1: the number inf"),
    (
        "results of rank_llm have 1e39",
        _stored(_both("1e39")),
        r"results\.json: record 1: .*the score is 1e\+39",
    ),
    (
        "results of rank_llm have a huge number",
        _stored(_both("9" * 400)),
        r"results\.json: record 1: .*the score is",
    ),
    (
        "results of rank_llm are nested too deeply",
        _stored("[" * 100_000),
        r"results\.json:1: not JSON: nested too deeply",
    ),
    (
        "results of rank_llm lack a judged query",
        _stored(json.dumps([_record()])),
        r"results\.json: 1 judged queries have no hits",
    ),
    (
        "topics are missing",
        lambda p: p.rerank(TOPICS=p.folder / "no.tsv", DOCUMENTS=p.write("d.jsonl", CORPUS)),
        r"no\.tsv: no such file",
    ),
    ("topics are empty", _topics(""), r"topics\.tsv: the topic file is empty"),
    ("topics have no tab", _topics("q1 pearls\n"), r"topics\.tsv:1: expected qid<TAB>text"),
    ("topics have no text", _topics("q1\t \n"), r"topics\.tsv:1: the query has no text"),
    ("topics have no id", _topics("\tpearls\n"), r"topics\.tsv:1: the query has no id"),
    ("topics have an id twice", _topics("q1\ta\nq1\tb\n"), r"topics\.tsv:2: query 'q1' appears twice"),
    ("topics are not UTF-8", _topics(b"q1\t\xff\n"), r"topics\.tsv: not UTF-8"),
    (
        "topics are nested too deeply",
        _topics('{"_id": "q1", "text": ' + "[" * 100_000),
        r"topics\.tsv:1: not JSON \(nested",
    ),
    (
        "topics are XML cut in half",
        _topics("<topics><topic number='1'><query>a</que", "topics.xml"),
        r"topics\.xml.*not XML",
    ),
    (
        "topics are XML with a bomb",
        _topics(
            BOMB,
            "topics.xml",
        ),
        r"topics\.xml",
    ),
    (
        "topics are SGML cut in half",
        _topics("<top>\n<num> Number: 1\n<title> pearls\n", "topics.txt"),
        r"topics\.txt",
    ),
    (
        "TOPIC_FIELD is unknown",
        lambda p: p.rerank(
            TOPICS=p.write("t.txt", "<top>\n<num> 1\n<title> a\n</top>\n"),
            DOCUMENTS=p.write("d.jsonl", CORPUS),
            TOPIC_FIELD="name",
        ),
        r"topic field 'name' is unknown",
    ),
    ("documents have one column", _documents("d1\n"), r"docs\.tsv:1: no tab"),
    ("documents have an id twice", _documents("d1\ta\nd1\tb\n"), r"docs\.tsv:2: document 'd1' appears twice"),
    ("documents lack a candidate", _documents("d1\ta\n"), r"run\.trec:2: document 'd2' is not in"),
    (
        "documents have a flipped byte",
        _documents(spoiled(zipped("d1\ta\nd2\tb\n"), -6), "docs.tsv.gz"),
        r"docs\.tsv\.gz:\d+: broken gzip",
    ),
]

CASES = [
    *(Case(name, act, value=value) for name, act, value in SOUND),
    *(Case(name, act, error) for name, act, error in LISTS),
]
