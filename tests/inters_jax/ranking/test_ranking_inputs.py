"""Collections in every known form give the same candidates; broken ones are refused by file and line."""

import gzip
import json
import os
from pathlib import Path

import pytest

from inters_jax.ranking import formats
from inters_jax.ranking.candidates import candidates_of
from inters_jax.ranking.collection import open_collection
from inters_jax.ranking.errors import RerankError
from seqio_tasks import settings
from seqio_tasks.base import DataError
from seqio_tasks.sources import collection_files

TEXTS = {"d1": "a red mill", "d2": "the blue river", "d3": "a mill on the river", "d4": "bread"}
QUERIES = {"1": "red mill", "2": "river"}
QRELS = {"1": {"d1": 2, "d3": 1}, "2": {"d2": 1}}
RUN = {"1": {"d3": 2.0, "d1": 1.5}, "2": {"d2": 3.0, "d3": 1.0, "d4": 0.5}}
ORDER = {"1": ("d3", "d1"), "2": ("d2", "d3", "d4")}


def write(path, rows):
    text = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def beir(base):
    write(base / "corpus.jsonl", [{"_id": d, "title": "", "text": t} for d, t in TEXTS.items()])
    write(base / "queries.jsonl", [{"_id": q, "text": t} for q, t in QUERIES.items()])
    judged = [f"{q}\t{d}\t{g}" for q, row in QRELS.items() for d, g in row.items()]
    write(base / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", *judged])
    return base


def trec(base):
    return {
        "run": write(
            base / "r.trec", [f"{q} Q0 {d} 1 {s} x" for q, row in RUN.items() for d, s in row.items()]
        ),
        "qrels": write(
            base / "q.txt", [f"{q} 0 {d} {g}" for q, row in QRELS.items() for d, g in row.items()]
        ),
    }


def forms(base):
    """Every form as arguments of open_collection, and the run."""
    files = trec(base)
    folder = beir(base / "tiny")
    yield "BEIR and a run", {"collection": folder, "run": files["run"]}
    write(folder / "runs" / "stored.txt", files["run"].read_text().splitlines())
    yield "BEIR with a stored run", {"collection": folder}
    marco = base / "marco"
    write(marco / "collection.tsv", [f"{d}\t{t}" for d, t in TEXTS.items()])
    write(marco / "queries.dev.tsv", [f"{q}\t{t}" for q, t in QUERIES.items()])
    write(marco / "qrels.dev.tsv", [f"{q} 0 {d} {g}" for q, row in QRELS.items() for d, g in row.items()])
    yield "MS MARCO", {"collection": marco, "split": None, **files}
    top = base / "top"
    rows = [f"{q}\t{d}\t{QUERIES[q]}\t{TEXTS[d]}" for q, row in RUN.items() for d in row]
    write(top / "top1000.dev.tsv", rows)
    yield "top1000", {"collection": top, "split": None, "qrels": files["qrels"]}
    topics = write(base / "topics.tsv", [f"{q}\t{t}" for q, t in QUERIES.items()])
    documents = write(base / "docs.tsv.gz", [f"{d}\t\t{t}" for d, t in TEXTS.items()])
    yield "files", {"collection": None, "topics": topics, "documents": documents, **files}
    top_lines = write(base / "topics.jsonl", [{"qid": int(q), "query": t} for q, t in QUERIES.items()])
    doc_lines = write(base / "docs.jsonl", [{"id": d, "contents": t} for d, t in TEXTS.items()])
    yield "JSON lines", {"collection": None, "topics": top_lines, "documents": doc_lines, **files}
    sgml = write(
        base / "topics.txt",
        [
            f"<top>\n<num> Number: {q}\n<title> {t}\n<desc> Description:\nx\n</top>"
            for q, t in QUERIES.items()
        ],
    )
    yield "TREC topics", {"collection": None, "topics": sgml, "documents": doc_lines, **files}
    hits = [
        {
            "query": QUERIES[q],
            "hits": [{"qid": int(q), "docid": d, "score": s, "content": TEXTS[d]} for d, s in row.items()],
        }
        for q, row in RUN.items()
    ]
    (base / "hits.json").write_text(json.dumps(hits, indent=1))
    yield "rank_llm hits", {"collection": base / "hits.json", "qrels": files["qrels"]}
    yield "RankGPT lines", {"collection": write(base / "hits.jsonl.gz", hits), "qrels": files["qrels"]}
    requests = [
        {
            "query": {"qid": q, "text": QUERIES[q]},
            "candidates": [{"docid": d, "score": s, "doc": {"contents": TEXTS[d]}} for d, s in row.items()],
        }
        for q, row in RUN.items()
    ]
    yield "rank_llm requests", {"collection": write(base / "req.jsonl", requests), "qrels": files["qrels"]}


def test_every_form_gives_the_same_candidates(tmp_path):
    prints = {}
    for name, arguments in forms(tmp_path):
        data = open_collection(**arguments)
        found = candidates_of(data, arguments.get("run"), 10)
        assert dict(found.documents) == ORDER, name
        assert {q: data.queries[q] for q in data.wanted} == QUERIES and data.qrels == QRELS, name
        for documents in found.documents.values():
            assert [data.documents[d].text for d in documents] == [TEXTS[d] for d in documents], name
        prints[name] = found.fingerprint
    assert len(prints) == 10 and len(set(prints.values())) == 1


def test_the_lines_of_the_authors_bring_their_judgments(tmp_path):
    line = {
        "query": "red mill", "key": ["a red mill", "bread", "pad"], "key_index": [7, 9, -1],
        "pos": ["a red mill"], "pos_index": [7], "pos_score": [2],
    }  # fmt: skip
    path = write(tmp_path / "scifact.bm25.100.jsonl", [line, {**line, "query": "loaf"}])
    data = open_collection(path)
    assert data.qrels == {"0": {"7": 2}, "1": {"7": 2}}
    assert candidates_of(data, None, 10).documents == {"0": ("7", "9"), "1": ("7", "9")}
    assert data.documents["9"].text == "bread"
    with pytest.raises(ValueError, match=r"jsonl:1: 1 texts under 'key', 3 numbers"):
        open_collection(write(tmp_path / "bad.jsonl", [{**line, "key": ["a"]}]))


def test_bm25_is_run_when_nothing_else_is_given(tmp_path):
    data = open_collection(beir(tmp_path / "tiny"))
    with settings.override(cache_dir=str(tmp_path / "cache")):
        found = candidates_of(data, None, 2)
        assert found.documents["2"] == ("d3", "d2") and found.source.startswith("BM25")
        assert found.fingerprint == candidates_of(data, None, 2).fingerprint
    with pytest.raises(RerankError, match="DEPTH must be at least 1"):
        candidates_of(data, None, 0)
    files = {"topics": write(tmp_path / "t.tsv", ["1\tred mill"]), "run": trec(tmp_path)["run"]}
    part = open_collection(
        None, documents=write(tmp_path / "d.tsv", [f"{d}\t{t}" for d, t in TEXTS.items()]), **files
    )
    with pytest.raises(RerankError, match="no corpus to search; set RUN"):
        candidates_of(part, None, 10)


def test_of_a_document_file_only_the_candidates_are_kept(tmp_path):
    files = trec(tmp_path)
    many = [f"x{n}\ttext" for n in range(50)] + [f"{d}\t{t}" for d, t in TEXTS.items()]
    topics = write(tmp_path / "t.tsv", [f"{q}\t{t}" for q, t in QUERIES.items()])
    data = open_collection(None, topics=topics, documents=write(tmp_path / "d.tsv", many), **files)
    assert data.documents.keys() == TEXTS.keys()


def test_a_query_that_is_a_document_is_left_out_where_the_catalog_says_so(tmp_path):
    lines = [f"1 Q0 {d} 1 {s} x" for d, s in (("1", 9), ("d3", 2), ("d1", 1))]
    run = write(tmp_path / "r.trec", lines)
    for name, default in (
        ("arguana", True),
        ("beir_quora/quora", True),
        ("tiny", False),
        ("beir_scifact", False),
    ):
        folder = beir(tmp_path / name)
        with (folder / "corpus.jsonl").open("a") as file:
            file.write(json.dumps({"_id": "1", "title": "", "text": "red mill"}) + "\n")
        data = open_collection(folder, run=run, split=None)
        assert data.own_document is default
        kept, dropped = ("1", "d3"), ("d3", "d1")
        assert candidates_of(data, run, 2).documents["1"] == (dropped if default else kept)
        assert candidates_of(data, run, 2, drop_identical_ids=True).documents["1"] == dropped
        assert candidates_of(data, run, 2, drop_identical_ids=False).documents["1"] == kept


def test_the_depth_cuts_by_score_not_by_the_rank_column(tmp_path):
    run = write(
        tmp_path / "r.trec", ["1 Q0 d1 1 0.5 x", "1 Q0 d2 2 0.7 x", "1 Q0 d3 3 0.7 x", "2 Q0 d1 1 1 x"]
    )
    found = candidates_of(open_collection(beir(tmp_path / "tiny"), run=run), run, 2)
    assert found.documents["1"] == ("d3", "d2")
    assert found.counts["candidates below the depth left out"] == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 Q0 d77 1 3.0 x", r"r\.trec:6: document 'd77' is not in"),
        ("7 Q0 d1 1 3.0 x", r"r\.trec:6: query '7' is not in"),
        ("2 Q0 d1 1 nan x", r"r\.trec:6: 'nan' is not a finite number"),
        ("2 Q0 d1 1 3.0", r"r\.trec:6: 5 fields"),
        ("2 Q0 d2 1 3.0 x", r"r\.trec:6: document 'd2' appears twice"),
    ],
)
def test_a_run_that_does_not_fit_is_refused_with_file_and_line(tmp_path, line, message):
    run = trec(tmp_path)["run"]
    with run.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=message):
        candidates_of(open_collection(beir(tmp_path / "tiny"), run=run), run, 100)


@pytest.mark.parametrize(
    ("read", "name", "rows", "message"),
    [
        ("topics", "t.tsv", ["1\ta", "2 b"], r"t\.tsv:2: expected qid<TAB>text"),
        ("topics", "t.tsv", ["1\ta", "1\tb"], r"t\.tsv:2: query '1' appears twice"),
        ("topics", "t.tsv", ["1\t "], r"t\.tsv:1: the query has no text"),
        ("topics", "t.jsonl", [{"qid": 1}], r"t\.jsonl:1: no text under text or query"),
        ("topics", "t.jsonl", [{"qid": 1, "text": "a"}, "{"], r"t\.jsonl:2: not JSON"),
        ("topics", "t.txt", [], "the topic file is empty"),
        ("documents", "d.tsv", ["d1\ta", "d1\tb"], r"d\.tsv:2: document 'd1' appears twice"),
        ("documents", "d.tsv", ["d1\ta", "d2"], r"d\.tsv:2: no tab, expected docid<TAB>text"),
        ("documents", "d.tsv", [], r"d\.tsv: the document file is empty"),
        ("documents", "d.jsonl", [{"text": "a"}], r"d\.jsonl:1: no id under _id"),
        ("documents", "d.jsonl", [{"id": "a", "title": 3, "text": ""}], r"d\.jsonl:1: the title is 3"),
        ("top1000", "top1000.tsv", ["1\t2\tq"], r"top1000\.tsv:1: 3 columns"),
        ("top1000", "top1000.tsv", ["1\t2\tq\tp", "1\t2\tq\tp"], "tsv:2: document '2' is twice in the list"),
        ("top1000", "top1000.tsv", ["1\t2\tq\tp", "3\t2\tq\tr"], "tsv:2: document '2' has a different text"),
        ("lists", "l.jsonl", [{"a": 1}], r"l\.jsonl:1: the fields are a; expected hits or candidates"),
        ("lists", "l.jsonl", [{"query": "q", "hits": [{"docid": 1}]}], r"l\.jsonl:1, hit 1: no qid"),
        ("lists", "l.json", ["[3]"], "record 1 is not an object"),
        (
            "lists", "l.jsonl",
            [{"query": {"qid": 1, "text": "q"},
              "candidates": [{"docid": 1, "score": "", "doc": {"text": ""}}]}],
            "candidate 1: the score is ''",
        ),
    ],
)  # fmt: skip
def test_broken_files_are_refused_with_their_line(tmp_path, read, name, rows, message):
    path = write(tmp_path / name, rows)
    with pytest.raises((RerankError, DataError), match=message):
        if read == "documents":
            dict(collection_files.documents(path))
        else:
            getattr(collection_files if read == "topics" else formats, read)(path)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["0-0\ta b", "0-1\tc\td", "0-2\te\tf\tg"], [("", "a b"), ("", "c d"), ("", "e f g")]),
        (["0-0\ta\tb\tc", "0-1\td\te"], [("", "a b c"), ("", "d e")]),
        (["1\tT\ta", "2\t\tb", "3\tT\tc\td", "4\te"], [("T", "a"), ("", "b"), ("T", "c d"), ("", "e")]),
    ],
)
def test_tabs_within_a_text_belong_to_it(tmp_path, rows, expected):
    found = dict(collection_files.documents(write(tmp_path / "corpus.tsv", rows)))
    assert [(document.title, document.text) for document in found.values()] == expected


def test_documents_in_trec_form_are_read(tmp_path):
    rows = [
        "<DOC>", "<DOCNO> FT-1 </DOCNO>", "<HEADLINE>", "A <b>red</b> mill", "</HEADLINE>", "<TEXT>", "turns",
        "</TEXT>", "<TEXT>a < b</TEXT>", "</DOC>", "<DOC>", "<DOCNO>FT-2</DOCNO>", "no element", "</DOC>",
    ]  # fmt: skip
    path = write(tmp_path / "docs.trec", rows)
    expected = {"FT-1": ("A red mill", "turns a < b"), "FT-2": ("", "no element")}
    assert dict(collection_files.documents(path)) == expected
    assert dict(collection_files.documents(path, {"FT-2"})) == {"FT-2": expected["FT-2"]}
    for number, (lines, message) in enumerate(
        (
            (rows[:9], r"\.trec:1: document without </DOC>"),
            ([*rows[:9], *rows[10:]], r"\.trec:1: document without </DOC>"),
            (["<DOC>", "a", "</DOC>"], r"\.trec:1: document without <DOCNO>"),
            ([*rows, "rest"], r"\.trec:15: text outside <DOC>"),
            (rows * 2, r"\.trec:15: document 'FT-1' appears twice"),
        )
    ):
        with pytest.raises(DataError, match=message):
            dict(collection_files.documents(write(tmp_path / f"{number}.trec", lines)))


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(RerankError, match="set COLLECTION, or TOPICS and DOCUMENTS"):
        open_collection(None)
    with pytest.raises(RerankError, match=r"no corpus\.jsonl here; COLLECTION must be"):
        open_collection(tmp_path)
    folder = beir(tmp_path / "tiny")
    strange = write(tmp_path / "q.txt", ["88 0 d1 1"])
    with pytest.raises(RerankError, match="1 judged queries have no text, the first is '88'"):
        open_collection(folder, qrels=strange)
    with pytest.raises(DataError, match="topic field 'name' is unknown"):
        collection_files.topics(write(tmp_path / "t.txt", ["<top>\n<num> 1\n<title> a\n</top>"]), "name")


def test_an_id_of_ir_datasets_becomes_a_folder_in_the_cache(tmp_path, monkeypatch):
    from seqio_tasks.download import ir_datasets_source
    from seqio_tasks.download.report import FAILED, FETCHED, Outcome

    def convert(dataset_id, base, folder):
        if dataset_id == "none":
            yield Outcome("irds:none", FAILED, "see below", "there is no such id")
            return
        beir(base / folder)
        yield Outcome("corpus.jsonl", FETCHED)

    monkeypatch.setattr(ir_datasets_source, "convert", convert)
    with settings.override(cache_dir=str(tmp_path / "cache")):
        data = open_collection("irds:beir/scifact/test")
        assert data.name == "beir_scifact" and data.qrels == QRELS
        with pytest.raises(DataError, match="irds:none: there is no such id"):
            open_collection("irds:none")


def test_trec_deep_learning_2019_from_its_stored_list():
    from seqio_tasks.metrics.ranking import evaluate_run

    raw = Path(os.environ.get("INTERS_REAL_DATA", Path(__file__).parents[3].parent / "shared" / "raw"))
    base = raw / "msmarco_trec_dl"
    if not base.is_dir():
        pytest.skip("no msmarco_trec_dl in INTERS_REAL_DATA or ../shared/raw")
    qrels = base / "qrels" / "qrels.dl19-passage.txt"
    stored = open_collection(base / "BM25" / "retrieve_results_dl19.json", qrels=qrels)
    found = candidates_of(stored, None, 100)
    assert found.counts["candidates"] == 4300 and len(found.documents) == 43
    means = evaluate_run(stored.qrels, found.run(), ["nDCG@10"]).means
    assert means["nDCG@10"] == pytest.approx(0.5058, abs=5e-5)
    # The same as a TREC run with its topics.
    run = base / "BM25" / "trec_results_dl19.txt"
    again = candidates_of(stored, run, 100)
    assert again.fingerprint == found.fingerprint


def test_a_run_of_scores_in_three_columns_keeps_the_best(tmp_path):
    folder = beir(tmp_path / "tiny")
    rows = [f"{q}\t{d}\t{s + 0.25}" for q, row in RUN.items() for d, s in row.items()]
    run = write(tmp_path / "scores.tsv", rows)
    data = open_collection(folder, run=run)
    assert candidates_of(data, run, 2).documents == {q: found[:2] for q, found in ORDER.items()}
    ranks = candidates_of(data, run, 1, run_format="ranks").documents
    assert ranks == {q: found[-1:] for q, found in ORDER.items()}


def test_two_different_runs_in_a_folder_are_refused_unless_run_chooses(tmp_path):
    folder = beir(tmp_path / "tiny")
    files = trec(tmp_path)
    lines = files["run"].read_text().splitlines()
    write(folder / "runs" / "bm25.txt", lines)
    write(folder / "runs" / "dense.txt", lines[:1])
    with pytest.raises(DataError, match=r"dense\.txt: query '1' has results here and in bm25\.txt.*RUN"):
        open_collection(folder)
    data = open_collection(folder, run=files["run"])
    assert candidates_of(data, files["run"], 10).documents == ORDER
    write(folder / "runs" / "bm25.txt", lines[2:])
    write(folder / "runs" / "dense.txt", lines[:2])
    assert candidates_of(open_collection(folder), None, 10).documents == ORDER


def test_a_split_is_its_file_of_judgments(tmp_path):
    folder = beir(tmp_path / "tiny")
    write(folder / "queries.jsonl", [{"_id": q, "text": "red mill"} for q in "12345"])
    header = "query-id\tcorpus-id\tscore"
    write(folder / "qrels" / "dev.tsv", [header, "3\td1\t1", "4\td1\t1"])  # the text of both is in test too
    assert open_collection(folder, split="dev").wanted == ("3", "4")
    with pytest.raises(RerankError, match=r"no judgments of SPLIT='train'; choose one of dev, test"):
        open_collection(folder, split="train")
    write(folder / "qrels" / "train.tsv", [header, "5\td1\t1", "3\td1\t1"])
    assert open_collection(folder, split="train").wanted == ("5", "3")
    (folder / "qrels" / "dev.tsv").unlink()
    with pytest.raises(RerankError, match=r"no judgments of SPLIT='dev'; choose one of test, train"):
        open_collection(folder, split="dev")


def test_an_ms_marco_folder_has_its_splits(tmp_path):
    marco = tmp_path / "marco"
    write(marco / "collection.tsv", [f"{d}\t{t}" for d, t in TEXTS.items()])
    for split, query in (("dev.small", "1"), ("train", "2")):
        write(marco / f"queries.{split}.tsv", [f"{query}\t{QUERIES[query]}"])
        write(marco / f"qrels.{split}.tsv", [f"{query} 0 {d} {g}" for d, g in QRELS[query].items()])
    assert open_collection(marco, split="dev").qrels == {"1": QRELS["1"]}
    assert open_collection(marco, split="train").qrels == {"2": QRELS["2"]}
    with pytest.raises(RerankError, match=r"no judgments of SPLIT='test'; choose one of dev, train"):
        open_collection(marco)


def test_relevant_documents_missing_from_the_corpus_are_said(tmp_path, caplog):
    folder = beir(tmp_path / "tiny")
    with (folder / "qrels" / "test.tsv").open("a") as file:
        file.write("2\tlost\t1\n2\tgone\t0\n")
    run = trec(tmp_path)["run"]
    counts = candidates_of(open_collection(folder), run, 10).counts
    assert counts["relevant document missing from the corpus"] == 1
    assert "1 relevant documents are missing from the corpus" in caplog.text and "'lost'" in caplog.text


@pytest.mark.parametrize(
    "file, old, new, named",
    [
        ("corpus.jsonl", '"d3"', '"doc 3"', "document 'doc 3'"),
        ("queries.jsonl", '"1"', '"q 1"', "query 'q 1'"),
        ("qrels/test.tsv", "\td3\t", "\tdoc 3\t", "judged document 'doc 3'"),
    ],
)
def test_ids_with_blanks_are_refused_before_a_model_is_loaded(tmp_path, file, old, new, named):
    folder = beir(tmp_path / "tiny")
    path = folder / file
    path.write_text(path.read_text().replace(old, new))
    if file == "queries.jsonl":
        qrels = folder / "qrels" / "test.tsv"
        qrels.write_text(qrels.read_text().replace("\n1\t", "\nq 1\t"))
    with (
        settings.override(cache_dir=str(tmp_path / "cache")),
        pytest.raises(RerankError, match=rf"1 ids are empty or have blanks.*the first is that of {named}"),
    ):
        candidates_of(open_collection(folder), None, 10)


def test_a_title_may_be_null(tmp_path):
    folder = beir(tmp_path / "tiny")
    corpus = folder / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace('"title": ""', '"title": null'))
    assert open_collection(folder).documents["d1"] == ("", "a red mill")


def gzipped(path):
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def test_every_file_of_a_folder_may_be_gzipped(tmp_path):
    run = trec(tmp_path)["run"]
    folder, marco = beir(tmp_path / "tiny"), tmp_path / "marco"
    write(marco / "collection.tsv", [f"{d}\t{t}" for d, t in TEXTS.items()])
    write(marco / "queries.test.tsv", [f"{q}\t{t}" for q, t in QUERIES.items()])
    write(marco / "qrels.test.tsv", [f"{q} 0 {d} {g}" for q, row in QRELS.items() for d, g in row.items()])
    for path in [*folder.rglob("*.*"), *marco.iterdir()]:
        if path.is_file():
            gzipped(path)
    with settings.override(cache_dir=str(tmp_path / "cache")):
        for base in (folder, marco):
            for _ in range(2):  # the second time from the cache
                data = open_collection(base, run=run)
                assert candidates_of(data, run, 10).documents == ORDER and data.qrels == QRELS
                assert {d: found.text for d, found in data.documents.items()} == TEXTS
        with pytest.raises(RerankError, match=r"SPLIT='dev'; choose one of test"):
            open_collection(folder, split="dev")
        corpus = folder / "corpus.jsonl.gz"
        corpus.write_bytes(corpus.read_bytes()[:-12])
        with pytest.raises(DataError, match=r"corpus\.jsonl\.gz: broken gzip file"):
            open_collection(folder)


def test_an_archive_beside_top1000_is_not_read(tmp_path):
    top = tmp_path / "top"
    write(
        top / "top1000.dev.tsv",
        [f"{q}\t{d}\t{QUERIES[q]}\t{TEXTS[d]}" for q, row in RUN.items() for d in row],
    )
    for name in ("queries.tar.gz", "top1000.dev.tar.gz", "collection.tar.gz"):
        (top / name).write_bytes(b"an archive")
    assert open_collection(top, split=None).queries == QUERIES


def test_two_lists_in_one_file_are_both_read(tmp_path):
    hits = [
        [{"query": QUERIES[q], "hits": [{"qid": q, "docid": d, "score": s, "content": TEXTS[d]}
                                        for d, s in row.items()]}]
        for q, row in RUN.items()
    ]  # fmt: skip
    path = tmp_path / "both.json"
    path.write_text("\n".join(json.dumps(one) for one in hits))
    assert candidates_of(open_collection(path, split=None), None, 10).documents == ORDER
    path.write_text(json.dumps(hits[0]) + json.dumps(hits[0]))
    with pytest.raises(RerankError, match=r"document 'd3' is twice in the list of query '1'"):
        open_collection(path)
    path.write_text(json.dumps(hits[0]) + ' {"query": "lost"}')
    with pytest.raises(DataError, match=r"both\.json:1: more text behind the end of the JSON value"):
        open_collection(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("as_lines", [False, True])
def test_a_query_may_have_no_candidates(tmp_path, encoding, packed, as_lines):
    requests = [
        {"query": {"qid": "1", "text": QUERIES["1"]}, "candidates": []},
        {"query": {"qid": "2", "text": QUERIES["2"]},
         "candidates": [{"docid": "d2", "score": 1.0, "doc": {"contents": TEXTS["d2"]}}]},
    ]  # fmt: skip
    text = "\n".join(map(json.dumps, requests)) if as_lines else json.dumps(requests)
    path = tmp_path / ("requests.json" + ".gz" * packed)
    path.write_bytes(gzip.compress(text.encode(encoding)) if packed else text.encode(encoding))
    data = open_collection(path, qrels=trec(tmp_path)["qrels"])
    found = candidates_of(data, None, 10)
    assert data.queries == QUERIES and found.documents == {"2": ("d2",)}
    assert found.counts["queries without candidates"] == 1


def test_topics_in_xml_may_be_gzipped(tmp_path):
    xml = "<topics>" + "".join(
        f'<topic number="{q}"><query>{t}</query><question>x</question><narrative>y</narrative></topic>'
        for q, t in QUERIES.items()
    ) + "</topics>"  # fmt: skip
    path = write(tmp_path / "topics.xml.gz", [xml])
    assert collection_files.topics(path) == QUERIES
