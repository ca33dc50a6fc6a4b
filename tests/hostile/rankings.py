"""Hostile runs, judgments and measures, of `rerank` and `compare`."""

from __future__ import annotations

from typing import Any

from hostile.cases import QRELS, RUN, Act, Case, Place, on_a_full_disk, spoiled, zipped

from inters_jax.ranking import candidates, collection


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


def _qrels(text: bytes | str, name: str = "qrels.txt") -> Act:
    return lambda place: place.rerank(COLLECTION=place.beir(), QRELS=place.write(name, text))


def _compared(one: bytes | str, qrels: bytes | str = QRELS, **settings: Any) -> Act:
    """`compare` of a run with a sound one."""

    def act(place: Place) -> Any:
        paths = [str(place.write(name, text)) for name, text in (("a.trec", one), ("b.trec", RUN))]
        return place.command("compare", *paths, QRELS=place.write("qrels.tsv", qrels), **settings)

    return act


def _raw(place: Place, name: str, text: str) -> Any:
    """A plain file with the name of a zipped one."""
    place.folder.mkdir(exist_ok=True)
    (place.folder / name).write_text(text)
    return place.folder / name


SOUND = [
    ("a run is zipped", _first(RUN, "run.trec.gz"), ["d1", "d2"]),
    ("a run has CRLF and a byte order mark", _first("\ufeff" + RUN.replace("\n", "\r\n")), ["d1", "d2"]),
    ("a run has tabs and many blanks", _first(RUN.replace(" ", " \t ")), ["d1", "d2"]),
    ("a run is not in order", _first("".join(reversed(RUN.splitlines(keepends=True)))), ["d1", "d2"]),
    ("a run has equal scores", _first(RUN.replace("2.5", "1.5")), ["d2", "d1"]),
    ("a run has scores of three columns", _first("q1\td1\t0.1\nq1\td2\t0.9\n"), ["d2", "d1"]),
]
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
    (
        "RUN has a text as score",
        _run(RUN.replace("1.5", "high")),
        r"run\.trec:2: 'high' is not a finite number",
    ),
    ("RUN has NaN", _run(RUN.replace("1.5", "nan")), r"run\.trec:2: 'nan' is not a finite number"),
    ("RUN has infinity", _run(RUN.replace("1.5", "inf")), r"run\.trec:2: 'inf' is not a finite number"),
    ("RUN has 1e999", _run(RUN.replace("1.5", "1e999")), r"run\.trec:2: '1e999' is not a finite number"),
    ("RUN has 1e39", _run(RUN.replace("1.5", "1e39")), r"run\.trec:2: '1e39' .*float32"),
    (
        "RUN has a document twice",
        _run(RUN + "q1 Q0 d1 9 0.1 first\n"),
        r"run\.trec:4: document 'd1' appears twice",
    ),
    ("RUN names an unknown document", _run(RUN.replace("d2", "d9")), r"run\.trec:2: document 'd9' is not in"),
    ("RUN names an unknown query", _run(RUN.replace("q2", "q9")), r"run\.trec:3: query 'q9' is not in"),
    (
        "zipped RUN names an unknown query",
        _run(RUN.replace("q2", "q9"), "run.trec.gz"),
        r"run\.trec\.gz:3: query 'q9'",
    ),
    (
        "RUN could be ranks or scores",
        _run("q1 d1 3\nq1 d2 2\nq1 d3 1\n"),
        r"run\.trec: the third column could be",
    ),
    ("RUN_FORMAT is unknown", _run(RUN, RUN_FORMAT="best"), r"RUN_FORMAT='best' must be"),
    ("zipped RUN is cut", _run(zipped(RUN)[:-12], "run.gz"), r"run\.gz:\d+: cannot be read as text"),
    ("zipped RUN is empty", _run(b"\x1f\x8b", "run.gz"), r"run\.gz:1: cannot be read as text"),
    (
        "zipped RUN has a flipped byte",
        _run(spoiled(zipped(RUN)), "run.gz"),
        r"run\.gz:\d+: cannot be read as text",
    ),
    (
        "zipped RUN is no gzip",
        lambda p: p.rerank(RUN=_raw(p, "run.gz", RUN)),
        r"run\.gz:1: cannot be read as text",
    ),
    ("zip bomb of one line", _run(zipped("a" * 50_000_000), "run.gz"), r"run\.gz:1: 1 fields"),
    ("QRELS is missing", lambda p: p.rerank(QRELS=p.folder / "no.txt"), r"no\.txt: no such file"),
    ("QRELS is empty", _qrels(""), r"qrels\.txt: the judgment file is empty"),
    ("QRELS has two columns", _qrels("q1 d1\n"), r"qrels\.txt:1: 2 fields"),
    (
        "QRELS has a text as grade",
        _qrels("q1 0 d1 yes\n"),
        r"qrels\.txt:1: grade 'yes' is not a whole number",
    ),
    ("QRELS has a grade of 5,000 digits", _qrels(f"q1 0 d1 {'9' * 5000}\n"), r"qrels\.txt:1: grade"),
    ("QRELS has a grade beyond 64 bits", _qrels(f"q1 0 d1 {10**30}\n"), r"qrels\.txt:1: grade"),
    (
        "QRELS has two grades",
        _qrels("q1 0 d1 1\nq1 0 d1 2\n"),
        r"qrels\.txt:2: document 'd1' of query 'q1' is judged 1 and 2",
    ),
    (
        "zipped QRELS have a flipped byte",
        _qrels(spoiled(zipped(QRELS)), "qrels.gz"),
        r"qrels\.gz:\d+: cannot be read",
    ),
    ("MEASURES is unknown", lambda p: p.rerank(MEASURES="nDGC@10"), r"MEASURES: .*nDGC@10"),
    ("MEASURES is empty", lambda p: p.rerank(MEASURES=""), r"MEASURES"),
    ("MEASURES is a number", lambda p: p.rerank(MEASURES=3), r"MEASURES=3 must be text"),
    ("MEASURES has a cut-off of 0", lambda p: p.rerank(MEASURES="nDCG@0"), r"MEASURES: .*nDCG@0"),
    ("MEASURES has an open bracket", lambda p: p.rerank(MEASURES="P(rel=2@3"), r"MEASURES: .*P\(rel=2"),
    ("MEASURES has an unknown parameter", lambda p: p.rerank(MEASURES="P(x=2)@3"), r"MEASURES: .*P\(x=2\)"),
    (
        "compare has one run",
        lambda p: p.command("compare", str(p.write("a", RUN))),
        r"compare: run files need their judgments: --qrels",
    ),
    ("compare has no run", lambda p: p.command("compare"), r"compare: RUNS has no value"),
    (
        "compare has the same run twice",
        lambda p: p.command("compare", *[str(p.write("a", RUN))] * 2),
        r"compare: different runs are needed",
    ),
    (
        "compare has a missing run",
        lambda p: p.command("compare", "no.trec", str(p.write("a", RUN))),
        r"no\.trec: no such file",
    ),
    ("compare has no value for a flag", lambda p: p.command("compare", "--qrels"), r"--qrels needs a value"),
    (
        "compare has no qrels",
        lambda p: p.command("compare", str(p.write("a", RUN)), str(p.write("b", RUN))),
        r"--qrels FILE",
    ),
    ("compare has a broken run", _compared("hello\n"), r"a\.trec:1: 1 fields"),
    ("compare has a run of 1e39", _compared(RUN.replace("1.5", "1e39")), r"a\.trec:2: '1e39' .*float32"),
    ("compare has broken qrels", _compared(RUN, "q1 0 d1 x\n"), r"qrels\.tsv:1: grade 'x'"),
    ("compare has qrels of others", _compared(RUN, "q8 0 d1 1\n"), r"q8|queries"),
    ("compare has an unknown measure", _compared(RUN, MEASURES="nDGC@10"), r"nDGC@10"),
    ("compare has LEVEL 1", _compared(RUN, LEVEL=1.0), r"level 1\.0 must lie between 0 and 1"),
    ("compare has LEVEL 2", _compared(RUN, LEVEL=2.0), r"LEVEL=2\.0 must be"),
    ("compare has SAMPLES 0", _compared(RUN, SAMPLES=0), r"SAMPLES=0 must be"),
    (
        "compare has a folder and a run",
        lambda p: p.command("compare", str(p.evaluation), str(p.write("a", RUN))),
        r"is an evaluation and others are run files",
    ),
    (
        "compare writes on a full disk",
        lambda p: on_a_full_disk(_compared(RUN.replace("2.5", "0.5"), OUTPUT_DIR=p.folder / "out"))(p),
        r"compare: .*/out/.*: no disk space",
    ),
    (
        "compare writes below a file",
        lambda p: _compared(RUN.replace("2.5", "0.5"), OUTPUT_DIR=p.write("f", "") / "out")(p),
        r"f/out.*: Not a directory",
    ),
]

CASES = [
    *(Case(name, act, value=value) for name, act, value in SOUND),
    *(Case(name, act, error) for name, act, error in RUNS),
]
