"""Data of one's own from a YAML file: what it becomes, and that whatever is wrong is one line."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from own_data_stand_ins import HELPDESK, WORDS, helpdesk, registrations_end, write

import seqio_tasks
from seqio_tasks import catalog, mixtures, named_tasks, own_data, ranking_rows, row_source, settings
from seqio_tasks.base import DataError, MissingData, UserError
from seqio_tasks.catalog import Pair
from seqio_tasks.catalog.__main__ import main as catalog_command
from seqio_tasks.download import ir_datasets_source
from seqio_tasks.own_data.splits import HELD_OUT
from seqio_tasks.prompts.render import render
from seqio_tasks.sources.common import SourceReport
from seqio_tasks.sources.retrieval_sets import RetrievalSet, collection
from seqio_tasks.templates import FAMILIES, load
from seqio_tasks.templates.linter import check_task
from seqio_tasks.yaml_files import read_yaml

FAQ = """
    task: query_reformulation
    rows: faq.jsonl
    fields: {question: q, rewrite: a}
    answer: rewrite
    templates: faq.yaml
"""
ROUTING = """
    task: ticket_routing
    kind: classify
    description: Routing decides which team answers.
    rows: faq.jsonl
    fields: {question: q, rewrite: a}
    answer: rewrite
    labels: [one, two]
    templates: faq.yaml
"""
FOLDER = "\n    task: fact_retrieval\n    folder: set\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv("INTERS_DATASETS", raising=False)
    helpdesk(tmp_path)
    write(tmp_path / "faq.jsonl", [{"q": f"question {n}", "a": "one"} for n in range(40)])
    (tmp_path / "faq.yaml").write_text(
        "task: query_reformulation\ndatasets:\n  faq:\n    - input: 'Rewrite: {question}'\n"
        "      output: '{rewrite}'\n"
    )
    beir(tmp_path / "set", {"train": range(6), "dev": range(6, 8), "test": range(8, 10)})
    with registrations_end(), settings.override(cache_dir=str(tmp_path / "cache")):
        yield tmp_path


def beir(folder: Path, splits: dict[str, range]) -> None:
    """A BEIR folder with a query and a document for each word; the first query is in the test set too."""
    write(
        folder / "corpus.jsonl",
        [{"_id": f"d{n}", "title": "", "text": f"a {w}"} for n, w in enumerate(WORDS)],
    )
    queries = [{"_id": f"q{n}", "text": f"my {w}"} for n, w in enumerate(WORDS)]
    write(folder / "queries.jsonl", [*queries, {"_id": "again", "text": "My  password!"}])
    for name, numbers in splits.items():
        rows = [f"q{n}\td{n}\t{1 + n % 3}" for n in numbers] + (["again\td0\t1"] if name == "test" else [])
        write(folder / "qrels" / f"{name}.tsv", ["query-id\tcorpus-id\tscore", *rows])


def declare(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    own_data.register([path])
    return path


def dataset(folder: Path, body: str, name: str = "mine") -> Pair:
    """The pair of a file with one dataset."""
    declare(folder, f"datasets:\n  {name}:{body}", f"{name}.yaml")
    return catalog.added()[-1]


def rows(pair: Pair, split: str) -> list[dict]:
    return list(pair.rows("nowhere", split))


def test_a_click_log_becomes_graded_judgments_divided_by_query(folder: Path) -> None:
    pair = dataset(folder, HELPDESK)
    judged = {split: collection("mine").qrels("", split) for split in ("train", "validation", "test")}
    assert sum(map(len, judged.values())) == 40 and min(map(len, judged.values())) > 0
    grades = Counter(grade for part in judged.values() for own in part.values() for grade in own.values())
    assert grades == {1: 20, 2: 20, 0: 1}  # 3 and 13 clicks; none
    found = rows(pair, "train")
    assert {row["query_id"] for row in found} == set(judged["train"])
    assert found[0]["positives"][0]["title"] == "Your " + found[0]["query"].split()[-1]
    assert row_source.count(pair, "test", raw_dir="") == len(judged["test"])
    candidates = row_source.load_rows(pair, "test", raw_dir="", rerank=True).rows
    assert {row["query_id"] for row in candidates} <= set(judged["test"])
    # A log with a line per click gives the same as one with numbers.
    log = [{"query": f"find my {word}", "url": f"help/{word}"} for word in WORDS for _ in range(10)]
    write(folder / "log.jsonl", log)
    other = HELPDESK.replace("clicks.jsonl", "log.jsonl").replace(", clicks: clicks", "")
    dataset(folder, other, "lines")
    counted = collection("lines").qrels("", "train")
    assert {grade for own in counted.values() for grade in own.values()} == {2}


def test_rows_that_are_added_move_no_other(folder: Path) -> None:
    pair = dataset(folder, FAQ)
    before = {split: {row["question"] for row in rows(pair, split)} for split in row_source.SPLITS}
    lines = (folder / "faq.jsonl").read_text().splitlines()
    write(folder / "faq.jsonl", [{"q": "new", "a": "one"}, *reversed(lines)])
    after = {split: {row["question"] for row in rows(pair, split)} for split in row_source.SPLITS}
    assert all(before[split] == after[split] - {"new"} for split in before)
    assert [len(before[split]) for split in before] == [32, 5, 3]


def test_files_of_splits_are_used_as_given_without_what_a_later_one_has(folder: Path) -> None:
    write(folder / "test.jsonl", [{"q": "question 3", "a": "one"}, {"q": "other", "a": "one"}])
    pair = dataset(folder, FAQ.replace("rows: faq.jsonl", "splits: {train: faq.jsonl, test: test.jsonl}"))
    report = SourceReport()
    assert len(list(pair.rows("", "train", report=report))) == 39 and report == {HELD_OUT: 1}
    assert len(rows(pair, "test")) == 2
    with pytest.raises(
        MissingData, match=r"mine\.yaml:4: dataset mine has no split 'validation' \(it has tr"
    ):
        rows(pair, "validation")
    assert "no split" in (named_tasks.missing(pair.name, "validation") or "")


def test_a_beir_folder_has_its_own_splits_or_shares_of_all_its_queries(folder: Path) -> None:
    pair = dataset(folder, FOLDER)
    report = SourceReport()
    train = collection("mine").qrels("", "train", report)
    assert set(train) == {f"q{n}" for n in range(1, 6)} and report == {
        HELD_OUT: 1
    }  # q0 is asked in the test set
    assert set(collection("mine").qrels("", "test")) == {"q8", "q9", "again"}
    assert [row["query_id"] for row in rows(pair, "validation")] == ["q6", "q7"]
    dataset(folder, f"{FOLDER}    splits: {{train: 0.5, test: 0.5}}\n    grades: {{2: 1}}\n", "shared")
    parts = [collection("shared").qrels("", split) for split in ("train", "test")]
    assert sum(map(len, parts)) == 11
    assert {grade for part in parts for own in part.values() for grade in own.values()} == {0, 1}


def test_every_form_of_a_collection_gives_the_same_rows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder / "d.tsv", [f"d{n}\ta {word}" for n, word in enumerate(WORDS)])
    topics = [f"<top>\n<num> q{n}\n<title> my {word}\n</top>" for n, word in enumerate(WORDS)]
    write(folder / "topics.txt", topics)
    for name, numbers in {"train": range(1, 6), "test": range(8, 10)}.items():
        write(folder / f"{name}.qrels", [f"q{n} 0 d{n} {1 + n % 3}" for n in numbers])
    write(folder / "run.trec", [f"q{n} Q0 d{m} 1 {m} x" for n in range(10) for m in range(4)])
    trec = """
    task: fact_retrieval
    documents: d.tsv
    queries: topics.txt
    splits: {train: train.qrels, test: test.qrels}
    run: run.trec
"""
    (folder / "set" / "runs").mkdir()
    (folder / "set" / "runs" / "r").write_text((folder / "run.trec").read_text())

    def convert(name: str, base: Path, to: str) -> Iterator[object]:
        (base / to).parent.mkdir(parents=True, exist_ok=True)
        if not (base / to).exists():
            (base / to).symlink_to(folder / "set")
        yield from ()

    monkeypatch.setattr(ir_datasets_source, "convert", convert)
    pairs = [
        dataset(folder, FOLDER, "a"),
        dataset(folder, trec, "b"),
        dataset(folder, "\n    task: fact_retrieval\n    irds: {train: x/train, test: x/test}\n", "c"),
    ]
    first, *others = [
        [row | {"example_id": ""} for row in sorted(rows(pair, "train"), key=lambda row: row["query_id"])]
        for pair in pairs
    ]
    documents = [{row["positives"][0]["doc_id"] for row in found} for found in (first, *others)]
    assert documents == [{f"d{n}" for n in range(1, 6)}] * 3
    assert all([row["query"] for row in found] == [row["query"] for row in first] for found in others)
    candidates = row_source.load_rows(pairs[1], "test", raw_dir="", rerank=True).rows
    assert [row["doc_id"] for row in candidates[:4]] == ["d3", "d2", "d1", "d0"]  # of the run, not of BM25
    assert not any(row_source.missing(pair, "test", raw_dir="") for pair in pairs)


def test_queries_that_are_documents_are_no_candidates_of_themselves(folder: Path) -> None:
    write(
        folder / "set" / "queries.jsonl",
        [{"_id": f"d{n}", "text": f"{w} laptop"} for n, w in enumerate(WORDS)],
    )
    write(folder / "set" / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", "d1\td2\t1"])
    for name, flag, expected in (("plain", "", True), ("own", "    own_document: true\n", False)):
        pair = dataset(folder, FOLDER + flag, name)
        found = row_source.load_rows(pair, "test", raw_dir="", rerank=True).rows
        assert any(row["doc_id"] == "d1" for row in found) == expected


def test_ranking_data_without_templates_is_asked_in_general_words(folder: Path) -> None:
    pair = dataset(folder, HELPDESK)
    templates = load(pair.task).of(pair.dataset)
    assert [template.family for template in templates] == [family for family in FAMILIES for _ in range(2)]
    assert load("general_retrieval").of("ms_marco") != templates
    described = dataclasses.replace(load(pair.task), datasets={"mine": templates})
    assert not check_task(described, [pair])
    row = rows(pair, "train")[0]
    shown = {
        render(row, pair, variant=named_tasks.find(pair.name)[1].variant, seed=seed).template
        for seed in range(80)
    }
    assert shown == set(range(12))


def test_a_ranking_pair_from_python_has_general_templates_too(folder: Path) -> None:
    cacm = RetrievalSet("cacm", "cacm")
    beir(folder / "beir_cacm", {"train": range(6), "dev": range(6, 8), "test": range(8, 10)})
    pair = Pair(
        task="article_retrieval", dataset="cacm", group="query_document", kind="rank",
        loader=functools.partial(ranking_rows.set_rows, cacm, "article_retrieval_cacm"),
        fields=("query", "document"), metrics=("nDCG@10",), document_fields=("document",), folder="beir_cacm",
    )  # fmt: skip
    seqio_tasks.add(pair)
    row = next(iter(pair.rows(folder, "train")))
    prompt = render(row, pair, variant=named_tasks.find(pair.name)[1].variant, seed=0)
    assert prompt.description.startswith("Article retrieval") and prompt.item.target
    with pytest.raises(DataError, match="already a pair 'inters_article_retrieval_cacm'"):
        seqio_tasks.add(pair)


def test_a_new_task_has_its_description_and_its_labels(folder: Path) -> None:
    (folder / "faq.yaml").write_text(
        "task: ticket_routing\ndatasets:\n  mine:\n    - input: 'Say {options}. {question}'\n"
        "      output: '{rewrite}'\n"
    )
    pair = dataset(folder, ROUTING)
    prompt = render(
        rows(pair, "train")[0], pair, variant=named_tasks.find(f"{pair.name}_choices")[1].variant, seed=0
    )
    assert prompt.description == "Routing decides which team answers." and prompt.choices == ("one", "two")
    assert pair.metrics == ("accuracy", "macro_f1", "weighted_f1") and pair.label_field == "rewrite"


def test_a_mixture_has_the_examples_that_it_is_given_and_inters_is_as_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: recipe.tasks for name, recipe in mixtures.recipes().items()}
    # As if the file had been named before anything was asked.
    monkeypatch.setattr(mixtures, "_recipes", functools.cache(mixtures._recipes.__wrapped__))
    declare(
        folder,
        f"datasets:\n  desk:{HELPDESK}  faq:{FAQ}mixtures:\n  both: {{desk: 300, inters_quickstart: 700}}\n"
        "  alone: {faq: , desk: 10}\n",
    )
    assert {name: recipe.tasks for name, recipe in mixtures.recipes().items() if name in before} == before
    rates = dict(mixtures.members("both").available)
    assert rates.pop("inters_general_retrieval_desk") == 300
    assert set(rates) == set(mixtures.QUICKSTART) and sum(rates.values()) == pytest.approx(700)
    own = dict(mixtures.members("inters_quickstart").available)
    assert rates["inters_query_matching_msrp"] == pytest.approx(
        700 * own["inters_query_matching_msrp"] / sum(own.values())
    )
    assert mixtures.recipes()["both"].epoch() == 1000
    alone = dict(mixtures.members("alone").available)
    assert alone == {"inters_general_retrieval_desk": 10, "inters_query_reformulation_faq": 32 * 6}
    assert own_data.members("both") == {"inters_general_retrieval_desk": 300, "inters_quickstart": 700}
    assert own_data.members("inters") is None


def test_the_environment_names_files_and_a_file_is_registered_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "mine.yaml"
    path.write_text(f"datasets:\n  desk:{HELPDESK}")
    monkeypatch.setenv("INTERS_DATASETS", str(path))
    assert seqio_tasks.available("inters_general_retrieval_desk")
    with settings.override(datasets=path):
        assert len(catalog.added()) == 1
    assert catalog_command(["--rows", "desk", "--datasets", str(path)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [line[1:] for line in lines] == [
        ["train", "35", "?"],
        ["validation", "4", "?"],
        ["test", "1", "?"],
    ]
    path.write_text(path.read_text() + "\n")
    with pytest.raises(DataError, match=r"mine\.yaml: changed since it was registered; start Python again"):
        own_data.register([path])


WRONG = {
    "unknown key": (
        HELPDESK + "    grade: {1: 1}\n",
        r":7: dataset mine has no key 'grade'; did you mean grades",
    ),
    "key of another kind": (
        HELPDESK + "    labels: [a, b]\n",
        ":7: dataset mine has no key 'labels'; known are",
    ),
    "no mapping": (" 3\n", ":2: .*mine is 3; write a mapping"),
    "empty": ("\n", ":2: dataset mine is empty; say what it is: task"),
    "no task": ("\n    folder: set\n", ":2: dataset mine has no task; task: one of query_description"),
    "task": (
        "\n    task: fact_retreval\n    folder: set\n",
        ":3: .*task 'fact_retreval' is unknown; did you mean f",
    ),
    "kind of a new task": (
        "\n    task: a\n    description: b\n",
        ":3: .*task a is new, and its kind is not said",
    ),
    "kind of a task": (FOLDER + "    kind: generate\n", ":5: .*fact_retrieval is of kind rank, not generate"),
    "description": (
        FOLDER + "    description: b\n",
        ":5: .*fact_retrieval has a description already; leave it",
    ),
    "number as text": ("\n    task: 3\n", r":3: .*task is 3; write text \(YAML reads a number: quote it\)"),
    "two places": (FOLDER + "    irds: x\n", ":5: dataset mine has folder and irds; one of the three"),
    "no place": ("\n    task: fact_retrieval\n", ":2: .*has neither folder, irds nor documents"),
    "key of documents": (
        FOLDER + "    run: a\n",
        ":5: .*run belongs to documents, not to folder; leave it out",
    ),
    "measure": (FOLDER + "    metrics: nDGC@10\n", ":5: .*unknown ranking measure 'nDGC@10'"),
    "grade": (FOLDER + "    grades: {1: good}\n", ":5: .*grade of 1 is 'good'; write a whole number"),
    "grades": (FOLDER + "    grades: {1: 1, good: 2}\n", ":5: .*some keys are no numbers; write numbers"),
    "flag": (FOLDER + "    own_document: 1\n", ":5: .*own_document is 1; write true or false"),
    "shares": (FOLDER + "    splits: {train: 0.8, test: 0.1}\n", ":5: .*the shares sum to 0.9; make it 1"),
    "share": (
        FOLDER + "    splits: {train: 1.5, test: -0.5}\n",
        ":5: .*share of train is 1.5; write a number",
    ),
    "split": (FOLDER + "    splits: {dev: 1}\n", ":5: .*no key 'dev'.*known are train, validation, test"),
    "files and shares": (
        FOLDER + "    splits: {train: a, test: 0.5}\n",
        ":5: .*train is not; write shares or",
    ),
    "clicks without grades": (
        HELPDESK.replace("grades: {1: 1, 10: 2}", "own_document: true"),
        ":5: .*its lines are counted; say which",
    ),
    "grade and clicks": (HELPDESK.replace(", clicks", ", grade: g, clicks"), ":5: .*has a grade and clicks"),
    "no query": (HELPDESK.replace("query: query, ", ""), ":5: .*names no query; query: FIELD OF ITS TEXT"),
    "no judgments": (
        "\n    task: fact_retrieval\n    documents: d\n    queries: q\n",
        ":2: .*has no judgments",
    ),
    "no queries": (
        "\n    task: fact_retrieval\n    documents: d\n    judgments: q\n",
        ":2: .*where its queries are",
    ),
    "topic field": (
        FOLDER.replace("folder: set", "documents: d\n    queries: q\n    judgments: j\n    topic_field: a"),
        ":7: .*topic_field 'a' is unknown; use title, description, narrative",
    ),
    "two ids": (
        FOLDER.replace("folder: set", "irds: {train: a, test: b}"),
        ":4: .*two ids have the same part",
    ),
    "no templates": (
        FAQ.replace("    templates: faq.yaml\n", ""),
        ":2: .*no templates.*name a file: templates",
    ),
    "template file": (FAQ.replace("faq.yaml", "no.yaml"), r":7: no such file: .*no\.yaml; correct the path"),
    "no fields": (
        FAQ.replace("fields: {question: q, rewrite: a}", "id: q"),
        ":2: .*has no fields; fields: {our",
    ),
    "reserved field": (
        FAQ.replace("question:", "document:"),
        ":5: .*'document' cannot be the name of a field",
    ),
    "answer": (
        FAQ.replace("answer: rewrite", "answer: rewrit"),
        ":6: .*'rewrit' is unknown; did you mean rewrite",
    ),
    "optional": (
        FAQ + "    optional_fields: rewrite\n",
        ":8: .*'rewrite', which is not among the other fields",
    ),
    "metric": (
        FAQ + "    metrics: [rouge]\n",
        ":8: .*names 'rouge', which is not among the metrics of texts",
    ),
    "rows twice": (FAQ + "    splits: {train: a}\n", ":4: .*says twice where its rows are"),
    "no rows": (FAQ.replace("    rows: faq.jsonl\n", ""), ":2: dataset mine says not where its rows are"),
    "labels": (ROUTING.replace("[one, two]", "[one]"), ":9: dataset mine has 1 labels; labels: "),
    "truth values": (
        ROUTING.replace("[one, two]", "[yes, no]"),
        ":9: .*labels has the truth value true; write",
    ),
    "label twice": (ROUTING.replace("[one, two]", "[one, one]"), ":9: .*labels has 'one' twice; keep one"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_declaration_is_one_line_with_its_place(folder: Path, case: str) -> None:
    body, message = WRONG[case]
    (folder / "mine.yaml").write_text(f"datasets:\n  mine:{body}")
    with pytest.raises(DataError, match=rf"mine\.yaml{message}") as found:
        own_data.register([folder / "mine.yaml"])
    assert "\n" not in str(found.value) and not catalog.added()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("datasets:\n  a: {task: x}\n  a: {task: y}\n", r":3: not valid YAML \(the key 'a' is there twice"),
        ("datasets: [a]\n", ":1: the file: datasets is a list; write a mapping"),
        ("data: {}\n", ":1: the file has no key 'data'; did you mean datasets"),
        ("{}\n", ":1: the file declares nothing; write datasets"),
        ("- a\n", ": the file is a list; write a mapping"),
        (f"datasets:\n  quora:{FOLDER}", ":2: dataset quora: there is already one with this name"),
        (f"datasets:\n  a-b:{FOLDER}", ":2: dataset a-b: 'a-b' is no name; use letters"),
        (
            f"datasets:\n  a:{FOLDER}mixtures:\n  b: {{c: 1}}\n",
            ":6: mixture b: 'c' is no dataset of your own",
        ),
        (
            f"datasets:\n  a:{FOLDER}mixtures:\n  b: {{a: -1}}\n",
            ":6: mixture b: a has -1 examples; write how",
        ),
        (
            f"datasets:\n  a:{FOLDER}mixtures:\n  inters: {{a: 1}}\n",
            ":6: mixture inters: there is already one",
        ),
        ("mixtures:\n  b: {}\n", ":2: mixture b is empty; write its members"),
        (
            f"datasets:\n  msrp_0shot:{FAQ.replace('query_reformulation', 'query_matching')}"
            "    kind: classify\n    labels: [a, b]\n",
            "already a task inters_query_matching_msrp_0shot; use another",
        ),
    ],
)
def test_a_wrong_file_is_one_line_and_registers_nothing(folder: Path, text: str, message: str) -> None:
    path = folder / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"mine\.yaml.*{message}") as found:
        own_data.register([path])
    assert "\n" not in str(found.value) and not catalog.added()
    with pytest.raises(DataError, match=r"no\.yaml: no such file; DATASETS or INTERS_DATASETS names it"):
        own_data.register([folder / "no.yaml"])


@pytest.mark.parametrize(
    ("body", "file", "line", "message"),
    [
        (
            FAQ,
            "faq.jsonl",
            {"q": "a"},
            r"faq\.jsonl:41: no text under 'a' \(the record has q\); add it, or name r",
        ),
        (FAQ, "faq.jsonl", {"q": "a", "a": {}}, r"faq\.jsonl:41: 'a' is {}, no text and no list of texts"),
        (FAQ, "faq.jsonl", "{", r"faq\.jsonl:41: not JSON"),
        (
            FAQ + "    id: q\n",
            "faq.jsonl",
            {"q": "question 4", "a": "b"},
            ":41: the id 'question 4' is also that of",
        ),
        (
            ROUTING,
            "faq.jsonl",
            {"q": "a", "a": "b"},
            r":41: the label 'b' is not among one, two; .*mine\.yaml:9\)",
        ),
        (HELPDESK, "clicks.jsonl", {"query": "a"}, r"clicks\.jsonl:43: no document under url"),
        (
            HELPDESK,
            "clicks.jsonl",
            {"query": "a", "url": "b", "clicks": "c"},
            ":43: 'c' under 'clicks' is no number",
        ),
        (
            HELPDESK.replace("clicks: clicks", "grade: clicks"),
            "clicks.jsonl",
            {"query": "a", "url": "b", "clicks": "good"},
            ":43: the grade 'good' is not a whole number; map it",
        ),
        (
            HELPDESK.replace("clicks: clicks", "grade: clicks"),
            "clicks.jsonl",
            {"query": "find my badge", "url": "help/phone", "clicks": 2},
            ":43: .* is judged 0 and 1; keep one",
        ),
        (
            HELPDESK,
            "docs/1.jsonl",
            {"url": "help/phone", "body": "a"},
            "1.jsonl:6: document 'help/phone' appears twi",
        ),
        (
            HELPDESK,
            "docs/1.jsonl",
            {"url": "help/password", "body": "a"},
            "'help/password' is in another file too",
        ),
        (HELPDESK, "docs/1.jsonl", {"body": "a"}, r"1\.jsonl:6: no id under url"),
        (FOLDER, "set/qrels/train.tsv", "q1\td1\tgood", r"train\.tsv:8: grade 'good' is not a whole number"),
    ],
)
def test_a_wrong_line_of_data_is_refused_with_its_number(
    folder: Path, body: str, file: str, line: object, message: str
) -> None:
    pair = dataset(folder, body)
    lines = (folder / file).read_text().splitlines()
    write(folder / file, [*lines, line])
    with pytest.raises(DataError, match=message) as found:
        rows(pair, "train")
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (FAQ.replace("faq.jsonl", "no.jsonl"), r"mine\.yaml:4: no such file: .*no\.jsonl; correct the path"),
        (HELPDESK.replace("docs", "nodocs"), r"mine\.yaml:4: no such file: .*nodocs"),
        (HELPDESK.replace("clicks.jsonl", "nolog"), r"mine\.yaml:5: no such file: .*/nolog;"),
        (
            FOLDER.replace("set", "noset"),
            r"mine\.yaml:4: no corpus\.jsonl in .*noset; name an unpacked BEIR folder",
        ),
    ],
)
def test_missing_data_is_named_with_the_line_that_says_where_it_is(
    folder: Path, body: str, message: str
) -> None:
    pair = dataset(folder, body)
    with pytest.raises(MissingData, match=message):
        rows(pair, "train")
    assert named_tasks.missing(pair.name, "train") and not seqio_tasks.available(pair.name)


def test_an_empty_split_is_refused(folder: Path) -> None:
    write(folder / "faq.jsonl", [{"q": "a", "a": "one"}])
    pair = dataset(folder, f"{FAQ}    splits: {{train: 0.9, test: 0.1}}\n")
    with pytest.raises(DataError, match=r"mine\.yaml:8: dataset mine: split 'test' is empty: none of 1 rows"):
        rows(pair, "test")
    given = FAQ.replace("rows: faq.jsonl", "splits: {train: faq.jsonl, test: faq.jsonl}")
    with pytest.raises(DataError, match="split 'train' is empty: all its rows are in a later split too"):
        rows(dataset(folder, given, "same"), "train")


def test_a_key_that_is_twice_in_a_yaml_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "templates.yaml"
    path.write_text("task: a\ndatasets:\n  b: []\n  b: []\n")
    with pytest.raises(UserError, match=r"templates\.yaml:4: .*the key 'b' is there twice, first in line 3"):
        read_yaml(path, UserError)
    path.write_text("x: &x {a: 1}\ny: {<<: *x, a: 2}\n")
    assert read_yaml(path, UserError)["y"] == {"a": 2}
