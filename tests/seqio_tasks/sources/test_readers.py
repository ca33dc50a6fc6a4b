"""Readers on small hand-written files: what each format hides, and where an error is reported."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from seqio_tasks.base import DataError, MissingData
from seqio_tasks.sources import (
    beir,
    boolq,
    claims,
    common,
    json_stream,
    released,
    sessions,
    squad,
    tables,
    trec_topics,
)
from seqio_tasks.sources.common import SourceReport, lines, tsv_rows

TOPICS = """<top>
<num> Number: 7
<title>
glass kites
<desc> Description:
Which towns
build kites?

<narr> Narrative: Relevant are towns.

- Shops & markets
  are not.
</top>

<top lang='en'><num>8</num><title>salt
roads</title>
<desc>
Roads for R&D in salt</desc><narr>Topic: salt</narr></top>
"""


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def test_topics_with_and_without_closing_tags() -> None:
    first, second = trec_topics.parse_sgml(f"<topics>\n{TOPICS}</topics>")
    assert (first.number, first.title, first.line) == ("7", "glass kites", 2)
    assert first.description == "Which towns build kites?"
    assert first.narrative == "Relevant are towns. - Shops & markets are not."
    assert (second.number, second.title) == ("8", "salt roads")
    assert second.description == "Roads for R&D in salt"
    assert second.narrative == "salt"


def test_topic_block_may_end_without_its_tag() -> None:
    text = "<top>\n<num> 1\n<title> a\n<desc> b\n<narr> c\n<top>\n<num> 2\n<title> d\n<desc> e\n<narr> f\n"
    assert [topic.narrative for topic in trec_topics.parse_sgml(text)] == ["c", "f"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no topics at all", r"topics\.txt: no <top>"),
        ("\n\n<top>\n<title> x\n</top>", r"topics\.txt:3: topic without <num>"),
        ("<top>\n<num> 1\n<title> x\n<title> y\n</top>", r"topics\.txt:1: two <title> in one topic"),
    ],
)
def test_broken_topic_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        trec_topics.read_sgml(write(tmp_path / "topics.txt", text))


def test_gzip_and_plain_topic_files_agree(tmp_path: Path) -> None:
    packed = write(tmp_path / "04.testset.gz", gzip.compress(TOPICS.encode()))
    plain = write(tmp_path / "topics.txt", TOPICS)
    assert trec_topics.read_sgml(packed) == trec_topics.read_sgml(plain)


def test_repeated_topics_are_one_and_contradicting_ones_an_error(tmp_path: Path) -> None:
    a, b = trec_topics.parse_sgml(TOPICS)
    report = SourceReport()
    assert trec_topics.merge([(tmp_path / "x", [a, b]), (tmp_path / "y", [b])], report) == [a, b]
    assert report == {trec_topics.REPEATED: 1}
    changed = trec_topics.Topic("8", "salt roads", "other", "salt", 5)
    with pytest.raises(DataError, match="y:5: topic 8 differs"):
        trec_topics.merge([(tmp_path / "x", [a, b]), (tmp_path / "y", [changed])])


def test_topic_without_narrative_is_counted(tmp_path: Path) -> None:
    blocks = "".join(
        f"<top>\n<num> {number}\n<title> topic {number}\n<desc> d\n<narr> {'n' if number else ''}\n</top>\n"
        for number in range(10)
    )
    write(tmp_path / "gov2" / "topics.txt", blocks)
    report = SourceReport()
    kept = [
        row for split in ("train", "validation", "test") for row in trec_topics.gov2(tmp_path, split, report)
    ]
    assert len(kept) == 9
    assert report == {"topic without narrative": 1}


def test_msrp_quotes_bom_and_crlf(tmp_path: Path) -> None:
    header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"
    body = '1\t1\t2\t"He said so.\tHe said so"\r\n0\t3\t4\tA "b.\tC\u2028d.\r\n'
    path = write(tmp_path / "t.txt", "\ufeff" + header + "\r\n" + body)
    first, second = tables.read_msrp(path, "train")
    assert (first["sentence1"], first["sentence2"], first["answer"]) == ('"He said so.', 'He said so"', "yes")
    assert (second["sentence2"], second["answer"]) == ("C\u2028d.", "no")
    write(path, header + "\n1\t1\t2\tonly one sentence\n")
    with pytest.raises(DataError, match=r"t\.txt:2: Quality '1' with sentences of 17 and 0 characters"):
        tables.read_msrp(path, "train")


def test_orcas_refuses_the_weakly_labelled_files(tmp_path: Path) -> None:
    path = write(tmp_path / "o.tsv", "qid\tquery\tdid\turl\tlabel_manual\n1\tq\tD1\tu\tInformational\n")
    with pytest.raises(
        DataError, match=r"o\.tsv:2: label 'Informational' is none of factual.*use the gold file"
    ):
        tables.read_orcas_i(path)


def test_mimics_options_and_labels(tmp_path: Path) -> None:
    names = ["query", "question", *(f"option_{i}" for i in range(1, 6)), "question_label",
             "options_overall_label", *(f"option_label_{i}" for i in range(1, 6))]  # fmt: skip
    rows = [
        ["kites", "Which?", "glass", "paper", "", "", "", "1", "2", "2", "1"],  # trailing cells missing
        ["ropes", "Which?", "old", "", "", "", "", "1", "2", "0", "", "", "", ""],
    ]
    path = write(tmp_path / "m.tsv", "\n".join("\t".join(row) for row in [names, *rows]))
    report = SourceReport()
    assert [row["clarification"] for row in tables.read_mimics(path, report)] == [["glass"]]
    assert report == {tables.NO_GOOD_OPTION: 1}
    rows[1][10] = "2"  # a label without an option
    write(path, "\n".join("\t".join(row) for row in [names, *rows]))
    with pytest.raises(DataError, match=r"m\.tsv:3: option 2 is '' with label '2'"):
        tables.read_mimics(path)


def test_tables_name_missing_columns_and_extra_cells(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv", "a\tb\n1\t2\t3\n")
    with pytest.raises(DataError, match=r"x\.tsv:2: 3 columns, header has 2"):
        list(tsv_rows(path, ("a",)))
    with pytest.raises(DataError, match=r"x\.tsv:1: header lacks c \(it has a, b\)"):
        list(tsv_rows(path, ("a", "c")))
    with pytest.raises(DataError, match="the file is empty"):
        list(tsv_rows(write(tmp_path / "y.tsv", ""), ("a",)))


def test_only_line_feeds_end_a_line_and_bad_bytes_are_located(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "\ufeffa\u2028b\x0bc\x85d\r\ne")
    assert list(lines(path)) == [(1, "a\u2028b\x0bc\x85d"), (2, "e")]
    write(path, b"good\nb\xffd\n")
    with pytest.raises(DataError, match=r"a\.txt:2: not UTF-8 .* byte 1"):
        list(lines(path))


def test_boolq_in_both_forms(tmp_path: Path) -> None:
    original = {"question": "is it so", "title": "It -- so", "answer": False, "passage": "It is -- not."}
    superglue = {"question": "is it so", "passage": "It -- It is -- not.", "idx": 0, "label": True}
    path = write(tmp_path / "b.jsonl", "".join(json.dumps(r) + "\n" for r in (original, superglue)))
    first, second = boolq.read_boolq(path, "dev")
    assert (first["title"], first["context"], first["answer"]) == ("It -- so", "It is -- not.", "false")
    assert (second["title"], second["context"], second["answer"]) == ("It", "It is -- not.", "true")
    write(path, json.dumps({"question": "q", "passage": "p", "idx": 1}) + "\n")
    with pytest.raises(DataError, match=r"b\.jsonl:1: answer None.*SuperGLUE test file"):
        boolq.read_boolq(path, "test")
    write(path, '{"question": \n')
    with pytest.raises(DataError, match=r"b\.jsonl:1: not JSON"):
        boolq.read_boolq(path, "test")


def squad_file(version: str, *questions: dict[str, object]) -> str:
    paragraph = {"context": "Glass is  made in Tarn.", "qas": list(questions)}
    return json.dumps({"version": version, "data": [{"title": "Glass_work", "paragraphs": [paragraph]}]})


def test_squad_versions_1_and_2(tmp_path: Path) -> None:
    answers = [{"text": text, "answer_start": 0} for text in ("in Tarn", "Tarn", "in Tarn")]
    plain = {"id": "a", "question": "Where?", "answers": answers}
    path = write(
        tmp_path / "s.json", squad_file("1.1", plain, {"id": "b", "question": "Why?", "answers": []})
    )
    report = SourceReport()
    (row,) = squad.read_squad(path, "dev", report)
    assert row == {
        "example_id": "squad/dev/a",
        "title": "Glass work",
        "context": "Glass is made in Tarn.",
        "question": "Where?",
        "answer": "in Tarn",
        "references": ["in Tarn", "Tarn"],
    }
    assert report == {squad.NO_ANSWER_GIVEN: 1}
    impossible = {
        "id": "c",
        "question": "Who?",
        "is_impossible": True,
        "answers": [],
        "plausible_answers": answers,
    }
    write(path, squad_file("v2.0", plain | {"is_impossible": False}, impossible))
    assert [row["answer"] for row in squad.read_squad(path, "dev")] == ["in Tarn", "unanswerable"]
    write(path, squad_file("v2.0", {"id": "d", "question": "Who?", "answers": [{"answer_start": 3}]}))
    with pytest.raises(DataError, match=r"s\.json: question 'd' is not in SQuAD format"):
        squad.read_squad(path, "dev")


def test_squad_paragraph_of_the_dev_set_is_not_trained_on(tmp_path: Path) -> None:
    question = {"question": "Where?", "answers": [{"text": "Tarn", "answer_start": 18}]}
    write(tmp_path / "squad_v1" / "train-v1.1.json", squad_file("1.1", question | {"id": "a"}))
    write(tmp_path / "squad_v1" / "dev-v1.1.json", squad_file("1.1", question | {"id": "b"}))
    report = SourceReport()
    assert list(squad.squad(tmp_path, "train", report)) == []
    assert report.total() == 1
    assert [row["example_id"] for row in squad.squad(tmp_path, "test")] == ["squad/dev/b"]


CLAIMS = [
    {"id": 1, "claim": "Tea helps.", "cited_doc_ids": [5],
     "evidence": {"5": [{"sentences": [0, 2], "label": "SUPPORT"}, {"sentences": [1], "label": "SUPPORT"}]}},
    {"id": 2, "claim": "Tea harms.", "cited_doc_ids": [5],
     "evidence": {"5": [{"sentences": [2], "label": "CONTRADICT"}]}},
    {"id": 3, "claim": "Tea is old.", "cited_doc_ids": [5], "evidence": {}},
]  # fmt: skip
CLAIMS_CSV = """id,claim,evidence_doc_id,evidence_label,evidence_sentences,cited_doc_ids
1,Tea helps.,5,SUPPORT,[0 2],[5]
1,Tea helps.,5,SUPPORT,[1],[5]
2,Tea harms.,5,CONTRADICT,[2],[5]
3,Tea is old.,,,[],[5]
"""


def test_scifact_in_both_forms(tmp_path: Path) -> None:
    as_json = write(tmp_path / "c.jsonl", "".join(json.dumps(claim) + "\n" for claim in CLAIMS))
    as_csv = write(tmp_path / "c.csv", CLAIMS_CSV)
    found = claims.read_scifact_claims(as_json)
    assert [item[:5] for item in found] == [item[:5] for item in claims.read_scifact_claims(as_csv)]
    assert [(item.claim_id, item.label, item.sentences) for item in found] == [
        ("1", "support", (0, 2)),
        ("1", "support", (1,)),
        ("2", "refute", (2,)),
        ("3", "", ()),
    ]


def scifact_folder(tmp_path: Path, corpus: str, content: str) -> Path:
    text = "".join(json.dumps(claim) + "\n" for claim in CLAIMS)
    write(tmp_path / "scifact" / "claims_dev.jsonl", text)
    write(tmp_path / "scifact" / "claims_train.jsonl", text.replace("Tea", "Moss"))
    write(tmp_path / corpus, content)
    return tmp_path


@pytest.mark.parametrize(
    ("corpus", "content"),
    [
        ("scifact/corpus.jsonl", '{"doc_id": 5, "title": "T", "abstract": ["A.", "B\'s.", "C."]}\n'),
        (
            "scifact/corpus_train.csv",
            'doc_id,title,abstract,structured\n5,T,"[\'A.\' ""B\'s.""\n \'C.\']",False\n',
        ),
    ],
)
def test_scifact_evidence_is_the_rationale_sentences(tmp_path: Path, corpus: str, content: str) -> None:
    folder = scifact_folder(tmp_path, corpus, content)
    rows = list(claims.scifact(folder, "test"))
    assert [(row["evidence"], row["evidence_label"]) for row in rows] == [
        ("A. C.", "support"),
        ("B's.", "support"),
        ("C.", "refute"),
    ]
    assert len({row["example_id"] for row in rows}) == 3


def test_scifact_falls_back_on_whole_beir_abstracts(tmp_path: Path) -> None:
    folder = scifact_folder(
        tmp_path, "beir_scifact/corpus.jsonl", '{"_id": "5", "title": "T", "text": "A. B. C."}\n'
    )
    report = SourceReport()
    rows = list(claims.scifact(folder, "test", report))
    assert [(row["evidence"], row["evidence_label"]) for row in rows] == [
        ("A. B. C.", "support"),
        ("A. B. C.", "refute"),
    ]
    assert report == {claims.SAME_ABSTRACT: 1, claims.WITHOUT_EVIDENCE: 1}


def test_scifact_evidence_outside_the_corpus_is_located(tmp_path: Path) -> None:
    folder = scifact_folder(
        tmp_path, "scifact/corpus.jsonl", '{"doc_id": 5, "title": "T", "abstract": ["A."]}\n'
    )
    with pytest.raises(DataError, match=r"claims_dev\.jsonl:1: claim 1 cites document 5, sentences \[0, 2\]"):
        list(claims.scifact(folder, "test"))


def beir_folder(tmp_path: Path, dev: bool = True) -> Path:
    folder = tmp_path / "beir_x"
    write(
        folder / "corpus.jsonl", '{"_id": "d1", "title": "", "text": "one\\n two"}\n{"_id": 2, "text": "x"}\n'
    )
    queries = [{"_id": f"q{number}", "text": f"Query {number}"} for number in range(30)]
    queries += [{"_id": "copy", "text": "QUERY 29!"}]
    write(folder / "queries.jsonl", "".join(json.dumps(query) + "\n" for query in queries))
    header = "query-id\tcorpus-id\tscore\r\n"
    train = "".join(f"q{number}\td1\t1\r\n" for number in range(28))
    write(folder / "qrels" / "train.tsv", header + train + "copy\td1\t1\r\nunknown\td1\t1\r\n")
    write(folder / "qrels" / "test.tsv", header + "q29\td1\t2\r\nq29\t2\t0\r\n")
    if dev:
        write(folder / "qrels" / "dev.tsv", header + "q28\td1\t1\r\n")
    return folder


def test_beir_folder(tmp_path: Path) -> None:
    folder = beir_folder(tmp_path)
    assert beir.beir_folder(tmp_path, "x") == folder
    assert beir.read_corpus(folder) == {"d1": beir.Document("", "one two"), "2": beir.Document("", "x")}
    assert beir.read_qrels(folder, "test") == {"q29": {"d1": 2, "2": 0}}
    assert beir.read_qrels(folder, "validation") == beir.read_qrels(folder, "dev") == {"q28": {"d1": 1}}
    report = SourceReport()
    train = beir.read_qrels(folder, "train", report)
    assert list(train) == [f"q{number}" for number in range(28)]
    assert report == {beir.IN_OFFICIAL_TEST: 1, beir.QUERY_WITHOUT_TEXT: 1}


def test_beir_folder_without_dev_gives_validation_from_train(tmp_path: Path) -> None:
    folder = beir_folder(tmp_path, dev=False)
    train, validation = beir.read_qrels(folder, "train"), beir.read_qrels(folder, "validation")
    assert (len(train), len(validation)) == (26, 2)
    assert not train.keys() & validation.keys()


def test_beir_errors_are_located(tmp_path: Path) -> None:
    folder = beir_folder(tmp_path)
    header = "query-id\tcorpus-id\tscore\n"
    path = write(folder / "qrels" / "test.tsv", header + "q1\td1\thigh\n")
    with pytest.raises(DataError, match=r"test\.tsv:2: score 'high' is not a whole number"):
        beir.read_qrels_file(path)
    write(path, header + "q1\td1\t1\nq1\td1\t2\n")
    with pytest.raises(DataError, match=r"test\.tsv:3: query q1 and document d1 have grades 1 and 2"):
        beir.read_qrels_file(path)
    with pytest.raises(
        MissingData, match=r"beir_nothing: no corpus\.jsonl here; unpack the official BEIR zip"
    ):
        beir.beir_folder(tmp_path, "nothing")


def test_a_zip_that_is_not_unpacked_is_named(tmp_path: Path) -> None:
    write(tmp_path / "beir_nfcorpus" / "nfcorpus.zip", "PK")
    with pytest.raises(
        MissingData, match=r"nfcorpus\.zip is there: unpack it \(.*download beir_nfcorpus does"
    ):
        beir.beir_folder(tmp_path, "nfcorpus")


def test_a_missing_file_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(
        MissingData, match=r"no MSRP test file here .*msr_paraphrase_test\.txt.*put the official"
    ):
        list(tables.msrp(tmp_path, "train"))


CLOSED = "".join(
    f"<top>\n<num> Number: {n}\n<title> kites {n}\n<desc> Description:\nWhich?\n<narr> Narrative:\nAll.\n"
    "</top>\n\n"
    for n in range(1, 6)
)


def without(text: str, tag: str, place: int) -> str:
    """The text without the tag's occurrence of this number."""
    pieces = text.split(tag)
    return tag.join(pieces[: place + 1]) + tag.join(["", *pieces[place + 1 :]]).removeprefix(tag)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (without(CLOSED, "<top>", 0), r"topics\.txt:2: <num> outside a topic; add the missing <top>"),
        (without(CLOSED, "<top>", 2), r"topics\.txt:20: <num> outside a topic; add the missing <top>"),
        (without(CLOSED, "</top>", 1), r"topics\.txt:10: topic without </top>"),
        (without(CLOSED, "</top>", 4), r"topics\.txt:37: topic without </top>"),
        (CLOSED[: len(CLOSED) // 2], r"topics\.txt:19: topic without </top>; the file may be cut"),
        (CLOSED[:60], r"topics\.txt:1: topic without </top>; the file may be cut"),
        (f"<topics>\n{CLOSED}", r"topics\.txt:45: the file has <topics> but no </topics>"),
    ],
)
def test_a_topic_file_with_a_missing_tag_or_end_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert len(trec_topics.parse_sgml(CLOSED)) == 5
    with pytest.raises(DataError, match=message):
        trec_topics.read_sgml(write(tmp_path / "topics.txt", text))


def test_a_repeated_trec_covid_topic_is_one_row_or_refused(tmp_path: Path) -> None:
    topic = "<topic number='{}'><query>{}</query><question>q</question><narrative>n</narrative></topic>"
    twice = [topic.format(1, "kites"), topic.format(2, "ropes"), topic.format(1, "kites")]
    path = write(tmp_path / "trec_covid" / "topics-rnd5.xml", f"<topics>{''.join(twice)}</topics>")
    report = SourceReport()
    ids = [
        row["example_id"]
        for split in ("train", "validation", "test")
        for row in trec_topics.trec_covid(tmp_path, split, report)
    ]
    assert sorted(ids) == ["trec_covid/1", "trec_covid/2"] and report[trec_topics.REPEATED] == 1
    twice[2] = topic.format(1, "sails")
    write(path, f"<topics>{''.join(twice)}</topics>")
    with pytest.raises(DataError, match=r"topics-rnd5\.xml: topic 1 differs"):
        list(trec_topics.trec_covid(tmp_path, "train"))


def broken_gzip(path: Path, content: bytes, how: str) -> Path:
    """A gzip file that is cut, or has a changed byte in its middle."""
    data = gzip.compress(content)
    if how == "cut":
        return write(path, data[: len(data) // 2])
    return write(path, data[:20] + bytes(255 - byte for byte in data[20:60]) + data[60:])


@pytest.mark.parametrize("how", ["cut", "changed"])
def test_broken_gzip_files_are_named(tmp_path: Path, how: str) -> None:
    noise = "".join(f"line {n * 7919 % 10007}\t{n * n}\n" for n in range(400))
    topics = broken_gzip(tmp_path / "04.testset.gz", (CLOSED + noise).encode(), how)
    with pytest.raises(DataError, match=r"04\.testset\.gz: broken gzip file"):
        trec_topics.read_sgml(topics)
    log = "AnonID\tQuery\tQueryTime\tItemRank\tClickURL\n" + "".join(
        f"{n}\tquery {n * 7919 % 10007}\t2006-03-01 07:17:12\t\t\n" for n in range(400)
    )
    searches = broken_gzip(tmp_path / "user-ct-test-collection-01.txt.gz", log.encode(), how)
    with pytest.raises(DataError, match=r"user-ct-test-collection-01\.txt\.gz"):
        list(sessions.read_log(searches))
    values = "[" + ",".join(f'"{n * 7919 % 10007}"' for n in range(1000)) + "]"
    array = broken_gzip(tmp_path / "array.json.gz", values.encode(), how)
    with pytest.raises(DataError, match=r"array\.json\.gz"):
        list(json_stream.array_items(array))


BAD_VALUES = [
    ('"\\ud83d"', r"half of a surrogate pair \(\\ud83d\) under 'text', which is no text"),
    ('["ok", {"deep": "\\uDC00x"}]', r"half of a surrogate pair \(\\udc00\) under 'deep'"),
    ("NaN", "the number nan under 'text', which is not finite"),
    ("1e999", "the number inf under 'text', which is not finite"),
    ("-Infinity", "the number -inf under 'text'"),
    ("-1" + "0" * 400 + ".0", "the number -inf under 'text'"),
]


@pytest.mark.parametrize(("value", "message"), BAD_VALUES)
def test_values_that_are_no_text_or_number_are_refused_with_their_line(
    tmp_path: Path, value: str, message: str
) -> None:
    good, bad = '{"text": "\\ud83d\\ude00 e100 NaN"}', f'{{"text": {value}}}'
    path = write(tmp_path / "rows.jsonl", f"{good}\n\n{bad}\n")
    with pytest.raises(DataError, match=r"rows\.jsonl:3: " + message):
        list(common.json_lines(path))
    path = write(tmp_path / "rows.json", f"[{good},\n{bad}]")
    with pytest.raises(DataError, match=message + r".*character") as raised:
        list(json_stream.array_items(path))
    assert raised.value.line == 2
    with pytest.raises(DataError, match=r"rows\.json: " + message):
        common.json_file(path)
    released_file = write(tmp_path / "train.jsonl", f"{good}\n{bad}\n")
    with pytest.raises(DataError, match=r"train\.jsonl:2: " + message):
        list(released.JsonLines(released_file).scan())
    assert list(common.json_lines(write(tmp_path / "good.jsonl", good))) == [(1, {"text": "😀 e100 NaN"})]
