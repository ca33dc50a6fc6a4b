"""Mined negatives: the rules by hand and against a plain loop, the command, and the rows of training."""

from __future__ import annotations

import itertools
import logging
import random
from collections import Counter
from pathlib import Path

import pytest
from own_data_stand_ins import HELPDESK, WORDS, helpdesk, registrations_end, write

from seqio_tasks import catalog, own_data, ranking_rows, settings
from seqio_tasks.base import DataError, MissingData, UserError, text_hash
from seqio_tasks.negatives import mining, rules
from seqio_tasks.negatives.__main__ import main
from seqio_tasks.negatives.mining import mine
from seqio_tasks.negatives.rules import KEPT, REASONS, Rules, negatives_of
from seqio_tasks.sources.mined import read_mined, text_of
from seqio_tasks.sources.retrieval_sets import SETS, RetrievalSet
from seqio_tasks.sources.splits import group_key, stable_hash

HEADER = "query-id\tcorpus-id\tscore"
SCORES = {"a": 10.0, "b": 9.0, "c": 8.5, "d": 8.5, "e": 8.0, "f": 7.0, "g": 2.0, "h": 1.0}
JUDGED = {"b": 2, "f": 0, "c": 1}


def no_fault(doc_id: str) -> str:
    return ""


def chosen(rule: Rules, teacher: dict[str, float] = SCORES) -> tuple[list[str], Counter[str]]:
    counts: Counter[str] = Counter()
    found = negatives_of("q", SCORES, JUDGED, teacher, rule, no_fault, counts)
    return found, +counts


# The positive is c, the lowest of the two relevant documents: 8.5.
@pytest.mark.parametrize(
    ("rule", "kept", "counts"),
    [
        (Rules(), "adegh", {rules.RELEVANT: 2, rules.JUDGED: 1}),
        (Rules(first_rank=2, last_rank=5), "de", {rules.OUT_OF_DEPTH: 4, rules.RELEVANT: 2}),
        (Rules(max_share=1), "degh", {rules.SHARE: 1, rules.RELEVANT: 2, rules.JUDGED: 1}),
        (Rules(max_share=0.95), "egh", {rules.SHARE: 2, rules.RELEVANT: 2, rules.JUDGED: 1}),
        (Rules(margin=0.5), "egh", {rules.MARGIN: 2, rules.RELEVANT: 2, rules.JUDGED: 1}),
        (Rules(margin=0.6), "gh", {rules.MARGIN: 3, rules.RELEVANT: 2, rules.JUDGED: 1}),
        (Rules(max_score=2), "gh", {rules.SCORE: 3, rules.RELEVANT: 2, rules.JUDGED: 1}),
        (
            Rules(max_share=1, margin=0.6, max_score=1),
            "h",
            {rules.SHARE: 1, rules.MARGIN: 2, rules.SCORE: 1, rules.RELEVANT: 2, rules.JUDGED: 1},
        ),
        (Rules(per_query=2), "ad", {rules.BEYOND: 3, rules.RELEVANT: 2, rules.JUDGED: 1}),
    ],
    ids=str,
)  # fmt: skip
def test_each_rule_by_hand(rule: Rules, kept: str, counts: dict[str, int]) -> None:
    assert chosen(rule) == (list(kept), Counter(counts) + Counter({KEPT: len(kept)}))


def test_equal_scores_stand_as_in_trec_eval() -> None:
    # c and d score the same: d, the greater id, is third and c fourth.
    assert chosen(Rules(first_rank=3, last_rank=3))[0] == ["d"]
    assert chosen(Rules(first_rank=4, last_rank=4))[1] == Counter({rules.OUT_OF_DEPTH: 7, rules.RELEVANT: 1})


def test_scores_of_a_teacher_decide_and_ranks_stay_those_of_the_run() -> None:
    teacher = {"a": 0.1, "d": 0.9, "e": 0.5, "g": 0.2, "b": 0.6}  # h and the relevant c have none
    found, counts = chosen(Rules(max_share=0.9, first_rank=1), teacher)
    assert found == ["a", "e", "g"] and counts[rules.UNSCORED] == 1 and counts[rules.SHARE] == 1
    del teacher["b"]
    found, counts = chosen(Rules(margin=0.1), teacher)
    assert not found and counts[rules.UNSCORED_POSITIVES] == 4 and counts[rules.UNSCORED] == 1
    assert chosen(Rules(max_score=0.5), teacher)[0] == ["a", "e", "g"]  # needs no positive


def test_a_share_of_a_score_below_zero_is_refused_and_a_margin_is_not() -> None:
    logits = {doc: score - 9 for doc, score in SCORES.items()}
    with pytest.raises(DataError, match=r"'c' of query 'q' has the teacher score -0\.5: a share of a number"):
        chosen(Rules(max_share=0.95), logits)
    assert chosen(Rules(margin=0.5), logits)[0] == ["e", "g", "h"]


def test_random_sampling_depends_on_seed_query_and_document_alone() -> None:
    draws = [tuple(chosen(Rules(per_query=2, sampling="random", seed=seed))[0]) for seed in range(60)]
    assert draws == [tuple(chosen(Rules(per_query=2, sampling="random", seed=seed))[0]) for seed in range(60)]
    assert set(draws) == set(itertools.combinations("adegh", 2))  # all ten, in the order of the run
    few = SCORES | {"z": 0.5}  # a candidate more displaces at most one
    before = set(draws[0])
    after = negatives_of("q", few, JUDGED, few, Rules(per_query=2, sampling="random"), no_fault, Counter())
    assert len(before & set(after)) >= 1


def plain(run, judged, teacher, rule, empty, same):
    """The negatives of a query by the definitions, one rule after the other."""
    order = sorted(sorted(run, reverse=True), key=lambda doc: -run[doc])
    left = order[rule.first_rank - 1 : rule.last_rank]
    left = [doc for doc in left if doc not in judged and doc not in empty and doc not in same]
    if rule.max_share is not None or rule.margin is not None or rule.max_score is not None:
        left = [doc for doc in left if doc in teacher]
    for positive in [doc for doc in judged if judged[doc] > 0 and doc in teacher]:
        if rule.max_share is not None:
            left = [doc for doc in left if teacher[doc] <= rule.max_share * teacher[positive]]
        if rule.margin is not None:
            left = [doc for doc in left if teacher[doc] <= teacher[positive] - rule.margin]
    if (rule.max_share is not None or rule.margin is not None) and not any(
        judged[doc] > 0 for doc in judged if doc in teacher
    ):
        left = []
    if rule.max_score is not None:
        left = [doc for doc in left if teacher[doc] <= rule.max_score]
    if rule.per_query is not None and rule.sampling == "top":
        left = left[: rule.per_query]
    if rule.per_query is not None and rule.sampling == "random":
        first = sorted(left, key=lambda doc: text_hash(f"{rule.seed}\0q\0{doc}"))[: rule.per_query]
        left = [doc for doc in left if doc in first]
    return left


def test_the_same_as_a_plain_loop_and_every_candidate_is_counted_once() -> None:
    draw = random.Random(7)
    kept = 0
    for _ in range(400):
        documents = [f"d{n}" for n in range(draw.randint(2, 60))]
        size = draw.randint(len(documents) // 2, len(documents))
        run = {doc: draw.randint(0, 12) / 4 for doc in draw.sample(documents, size)}
        judged = {doc: draw.randint(-1, 2) for doc in documents if draw.random() < 0.1}
        teacher = {doc: draw.randint(0, 40) / 8 for doc in documents if draw.random() < 0.9}
        empty = {doc for doc in documents if draw.random() < 0.1}
        same = {doc for doc in documents if draw.random() < 0.1} - empty
        first = draw.randint(1, 4)
        rule = Rules(
            first, first + draw.randint(0, 60), draw.choice([None, 0.5, 0.95]),
            draw.choice([None, 0.0, 0.25]), draw.choice([None, 3.0]), draw.choice([None, 1, 5]),
            draw.choice(["top", "random"]), draw.randint(0, 9),
        )  # fmt: skip
        counts: Counter[str] = Counter()

        def removed(doc: str, empty: set[str] = empty, same: set[str] = same) -> str:
            return rules.EMPTY if doc in empty else rules.SAME_TEXT if doc in same else ""

        found = negatives_of("q", run, judged, teacher, rule, removed, counts)
        assert found == plain(run, judged, teacher, rule, empty, same), rule
        assert sum(counts.values()) == len(run) and set(counts) <= {*REASONS, KEPT}
        kept += len(found)
    assert kept > 500


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"first_rank": 0}, "ranks 0 to 100: write 1 <= first <= last"),
        ({"first_rank": 9, "last_rank": 8}, "ranks 9 to 8"),
        ({"max_share": 95.0}, "the share 95 of the positive's score is not above 0 and up to 1"),
        ({"max_share": float("nan")}, "the share nan"),
        ({"margin": -0.1}, "the margin -0.1 is not a number from 0 on"),
        ({"max_score": float("nan")}, "the maximum score is not a number"),
        ({"per_query": 0}, "0 negatives per query: write 1 or more"),
        ({"sampling": "best"}, "sampling 'best' is unknown; choose one of top, random"),
    ],
)
def test_rules_that_mean_nothing_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Rules(**wrong)


# A collection of twelve documents; the run names all of them for both queries of training.
COLLECTION = SETS["scifact"]
DOCUMENTS = [f"text {n}" for n in range(10)] + ["TEXT 0!", ""]


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def refuse(*_: object) -> None:
        raise AssertionError("BM25 was asked")

    monkeypatch.delenv("INTERS_DATASETS", raising=False)
    monkeypatch.setattr(ranking_rows, "_bm25", refuse)
    folder = tmp_path / "beir_scifact"
    documents = ({"_id": f"d{n}", "title": "", "text": text} for n, text in enumerate(DOCUMENTS))
    write(folder / "corpus.jsonl", documents)
    write(folder / "queries.jsonl", [{"_id": f"q{n}", "text": f"query {n}"} for n in range(4)])
    write(folder / "qrels" / "train.tsv", [HEADER, "q0\td0\t1", "q0\td9\t0", "q1\td1\t1", "q1\td2\t2"])
    write(folder / "qrels" / "test.tsv", [HEADER, "q2\td3\t1"])
    runs = [f"q{q} Q0 d{n} 0 {20 - n if n < 10 else 20.5 + n} t" for q in range(3) for n in range(12)]
    write(folder / "runs" / "first.trec", runs)
    with settings.override(cache_dir=str(tmp_path / "cache")):
        yield tmp_path


def command(raw: Path, *arguments: str, name: str = "scifact", output: str = "out.tsv") -> Path:
    path = raw / output
    assert main([name, "--raw_dir", str(raw), "--output", str(path), *arguments]) == 0
    return path


def test_the_command_writes_judgments_of_grade_zero_and_says_what_was_removed(
    raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = command(raw, "--max_share_of_positive", "0.9", "--last_rank", "11", "--per_query", "3")
    # q0: d11 has no text, d10 that of d0, which scores 20: at most 18. q1: d2 scores 18: at most 16.2.
    expected = ["q0\td2\t0", "q0\td3\t0", "q0\td4\t0", "q1\td4\t0", "q1\td5\t0", "q1\td6\t0"]
    assert path.read_text() == "\n".join([HEADER, *expected, ""])
    printed = {" ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    assert printed == {
        f"{mining.QUERIES} 2", f"{mining.POSITIVES} 3", f"{mining.SCORED_POSITIVES} 3", "candidates 24",
        f"{rules.OUT_OF_DEPTH} 2", f"{rules.RELEVANT} 3 13.6 %", f"{rules.EMPTY} 2 9.1 %",
        f"{rules.SAME_TEXT} 1 4.5 %", f"{rules.SHARE} 4 18.2 %", f"{rules.BEYOND} 6 27.3 %",
        f"{KEPT} 6 27.3 %", f"6 negatives of 2 queries are now in {path}",
    }  # fmt: skip


def test_the_same_bytes_from_any_order_of_lines_and_nothing_is_overwritten(
    raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = raw / "beir_scifact" / "runs" / "first.trec"
    lines = run.read_text().splitlines()
    random.Random(1).shuffle(lines)
    shuffled = str(write(raw / "shuffled.trec", lines))
    arguments = ("--margin", "1", "--per_query", "4", "--sampling", "random", "--seed", "3")
    first = command(raw, *arguments)
    second = command(raw, *arguments, "--run", shuffled, "--teacher", shuffled, output="two.tsv")
    assert first.read_bytes() == second.read_bytes()
    assert f"{mining.OTHER_QUERIES} 1" in " ".join(capsys.readouterr().out.split())
    command(raw, *arguments)
    assert "8 negatives of 2 queries were already in" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"out\.tsv: there are other negatives in this file; remove"):
        command(raw, "--margin", "2")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--teacher", "t.trec"], "--teacher is read by --max_share_of_positive, --margin or --max_score"),
        (["--sampling", "random"], "--sampling is read with --per_query: without a number all are kept"),
        (["--per_query", "1", "--seed", "1"], "--seed is read with --sampling random"),
        (["--run_format", "ranks"], "--run_format is read with --run"),
        (
            ["--max_score", "-1"],
            r"no negative is left, and nothing was written .*above the maximum score 17",
        ),
        (["--run", "gone.trec"], "gone.trec: no such file; check the path"),
        (["--run", "absent.trec"], "absent.trec: the run names document 'd77' for query 'q1'; it is not in"),
        (["--run", "absent.trec", "--teacher", "logits.trec", "--margin", "1"], "absent.trec: the run names"),
        (
            ["--run", "logits.trec", "--max_share_of_positive", ".9"],
            "logits.trec: relevant document 'd1' of q",
        ),
        (["--split", "validation"], "scifact has no query with a relevant document in the split validation"),
    ],
)
def test_what_cannot_be_mined_is_refused_in_one_line(
    raw: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(raw)
    write(raw / "absent.trec", ["q1 Q0 d77 1 3.0 t", "q1 Q0 d3 2 2.0 t"])
    write(raw / "logits.trec", ["q1 Q0 d1 1 -3.0 t", "q1 Q0 d3 2 -4.0 t"])
    with pytest.raises(SystemExit, match=message) as refused:
        command(raw, *arguments)
    assert str(refused.value).startswith("negatives: ") and "\n" not in str(refused.value)
    assert not (raw / "out.tsv").exists()


def test_an_unknown_dataset_is_named_with_the_nearest(raw: Path) -> None:
    with pytest.raises(SystemExit, match="no ranking dataset is named 'scifac'; did you mean scifact"):
        command(raw, name="scifac")
    assert command(raw, name="inters_fact_retrieval_scifact").is_file()


def rows_of(raw: Path, split: str = "train", **options) -> dict[str, list[str]]:
    """query id -> its negatives."""
    rows = ranking_rows.set_rows(COLLECTION, "x", raw, split, **options)
    return {row["query_id"]: [document["doc_id"] for document in row["negatives"]] for row in rows}


def test_training_takes_mined_negatives_and_asks_no_first_stage(
    raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = rows_of(raw, candidates=6), rows_of(raw, "test", candidates=6)
    path = command(raw, "--margin", "3.5", output="beir_scifact/negatives/train.tsv")
    mined = read_mined(path).lines
    assert {query: set(found) for query, found in mined.items()} == {
        "q0": {"d4", "d5", "d6", "d7", "d8"},
        "q1": {"d6", "d7", "d8", "d9"},
    }
    (raw / "beir_scifact" / "runs" / "first.trec").unlink()  # BM25 would be asked, and refuses
    for seed in range(5):
        found = rows_of(raw, candidates=6, seed=seed)
        assert found["q0"][0] == "d9" and set(found["q0"][1:3]) <= {*mined["q0"]}  # d9 is judged 0
        assert set(found["q1"][:3]) <= {*mined["q1"]}
        assert not {"d0"} & {*found["q0"]} and not {"d1", "d2"} & {*found["q1"]}
    assert not caplog.records
    with pytest.raises(AssertionError, match="BM25 was asked"):
        rows_of(raw, "test")  # another split: the file is for training
    path.write_text("".join(line for line in path.open() if not line.startswith("q1")))
    with caplog.at_level(logging.WARNING):
        found = rows_of(raw, candidates=6)
    assert "no negatives for 1 of the 2 queries of train; they get random ones" in caplog.text
    assert len(found["q1"]) == 6 and not {"d1", "d2"} & {*found["q1"]}
    assert before[0] != found and len(before[1]["q2"]) == 6


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["q0\td4\t0", "q0\td0\t0"], ":3: document 'd0' is judged relevant to query 'q0'; mine the neg"),
        (["q0\td44\t0"], ":2: document 'd44', a negative of query 'q0', is not in the corpus; use the file"),
        (["q0\td4\t0", "q7\td4\t0"], ":3: query 'q7' is not in the collection; use the file of this coll"),
        (["q0\td4\t1"], ":2: the score is '1', not 0; leave out what is not a negative"),
        (["q0\td4\t0", "q0\td4\t0"], ":3: document 'd4' of query 'q0' is also in line 2; keep one"),
        (["q0\t\t0"], ":2: empty query or document id; check the line"),
        ([], "train.tsv: no negative in the file; remove it, or mine with other rules"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_its_line(raw: Path, lines: list[str], message: str) -> None:
    write(raw / "beir_scifact" / "negatives" / "train.tsv", [HEADER, *lines])
    with pytest.raises(DataError, match=message):
        rows_of(raw)


def test_an_id_that_a_file_of_negatives_cannot_hold_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"the id 'a\\tb' is empty, begins or ends with a blank, or has a tab"
    ):
        text_of({"q": ["a\tb"]})


def test_the_query_itself_is_no_candidate_and_ids_have_the_prefix_of_their_forum(raw: Path) -> None:
    collection = RetrievalSet("forums", "forums", forums=("one", "two"), own_document=True)
    outer = raw / "beir_forums"
    for forum in collection.forums:
        documents = [{"_id": f"{n}", "title": forum, "text": f"text {n}"} for n in range(6)]
        write(outer / forum / "corpus.jsonl", documents)
        write(outer / forum / "queries.jsonl", [{"_id": "0", "text": f"query of {forum}"}])
        write(outer / forum / "qrels" / "train.tsv", [HEADER, "0\t1\t1"])
        write(outer / forum / "qrels" / "test.tsv", [HEADER])
        write(outer / forum / "qrels" / "dev.tsv", [HEADER])
    lines = [f"{forum}/0 Q0 {forum}/{n} 0 {9 - n} t" for forum in collection.forums for n in range(5)]
    run = write(raw / "all.trec", lines)
    found = mine(collection, raw, "train", Rules(first_rank=2, max_share=0.8), run_file=run)
    # The query itself, 0, has no rank: the first is that of 1, and 2 (7 of 8 points) scores too high.
    assert found.negatives == {"one/0": ["one/3", "one/4"], "two/0": ["two/3", "two/4"]}
    assert found.candidates[rules.ITSELF] == 2 == found.candidates[rules.OUT_OF_DEPTH]
    write(outer / "negatives" / "train.tsv", text_of(found.negatives).splitlines())
    rows = list(ranking_rows.set_rows(collection, "x", raw, "train", candidates=4))
    hard = {row["query_id"]: {document["doc_id"] for document in row["negatives"][:2]} for row in rows}
    assert hard == {query: {*negatives} for query, negatives in found.negatives.items()}


def test_queries_that_cannot_have_negatives_are_counted(raw: Path) -> None:
    qrels = [HEADER, "q0\td0\t1", "q1\tgone\t1", "q3\td3\t1"]
    write(raw / "beir_scifact" / "qrels" / "train.tsv", qrels)
    run = write(raw / "few.trec", [f"q{q} Q0 d{n} 0 {9 - n} t" for q in range(2) for n in range(5)])
    found = mine(COLLECTION, raw, "train", Rules(), run_file=run)
    assert found.negatives == {"q0": ["d1", "d2", "d3", "d4"], "q3": []}
    counted = {mining.QUERIES: 2, mining.WITHOUT_POSITIVE: 1, mining.WITHOUT_CANDIDATES: 1}
    counted |= {mining.WITHOUT_NEGATIVES: 1, mining.POSITIVES: 2, mining.SCORED_POSITIVES: 1}
    assert +found.others == Counter(counted)


DECLARED = f"""
datasets:
  desk:{HELPDESK}    splits: {{train: 0.6, test: 0.4}}
"""


def declared(folder: Path, more: str = "") -> ranking_rows.Row:
    """The first training row of a declaration with further keys."""
    path = folder / "search.yaml"
    path.write_text(DECLARED + more)
    with registrations_end():
        own_data.register([path])
        pair = catalog.added()[-1]
        row = next(iter(pair.rows("nowhere", "train")))
        return row | {"paths": pair.paths}


def test_a_declaration_names_the_negatives_of_its_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INTERS_DATASETS", raising=False)
    helpdesk(tmp_path)
    declaration = write(tmp_path / "search.yaml", [DECLARED])
    queries = {f"{verb} my {word}" for verb in ("find", "lost", "change", "order") for word in WORDS}
    ids = [f"{stable_hash(group_key(query)):016x}" for query in sorted(queries)]
    run = write(tmp_path / "run", [f"{q} Q0 help/{w} 0 {n} t" for q in ids for n, w in enumerate(WORDS)])
    with settings.override(cache_dir=str(tmp_path / "cache")):
        with registrations_end():
            arguments = ("--datasets", str(declaration), "--run", str(run), "--per_query", "2")
            path = command(tmp_path, *arguments, name="desk")
        mined = read_mined(path)
        monkeypatch.setattr(ranking_rows, "_bm25", None)
        for more in ("    negatives: out.tsv\n", "    negatives: {train: out.tsv}\n"):
            row = declared(tmp_path, more)
            assert {one["doc_id"] for one in row["negatives"][:2]} == {*mined.lines[row["query_id"]]}
            assert str(path) in row["paths"]  # so that `prepare` sees a change
        for more, message in (
            ("    negatives: gone.tsv\n", r"search.yaml:9: no such file: .*gone.tsv; correct the path"),
            (
                "    negatives: {training: out.tsv}\n",
                r"search.yaml:9: .*no key 'training'; did you mean train",
            ),
            (
                "    negatives: {}\n",
                "search.yaml:9: dataset desk: negatives is empty; write a file, or train",
            ),
            (
                "    negatives: [out.tsv]\n",
                "search.yaml:9: dataset desk: negatives is a list; write a mapping",
            ),
        ):
            with pytest.raises((DataError, MissingData), match=message):
                declared(tmp_path, more)


def test_a_folder_of_ones_own_has_its_negatives_inside(raw: Path) -> None:
    write(raw / "beir_scifact" / "negatives" / "train.tsv", [HEADER, "q0\td7\t0", "q1\td8\t0"])
    own = write(raw / "own.yaml", ["datasets: {mine: {task: fact_retrieval, folder: beir_scifact}}"])
    with registrations_end():
        own_data.register([own])
        rows = list(catalog.added()[-1].rows("nowhere", "train"))
    assert [row["negatives"][1 - number]["doc_id"] for number, row in enumerate(rows)] == ["d7", "d8"]
