"""scripts/concept_frequency.py: words, terms, files and the table; Beam writes the same bytes."""

import csv
import gzip
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "concept_frequency.py"
_spec = importlib.util.spec_from_file_location("concept_frequency", SCRIPT)
assert _spec is not None and _spec.loader is not None
cf = importlib.util.module_from_spec(_spec)
sys.modules["concept_frequency"] = cf  # dataclasses look up their module
_spec.loader.exec_module(cf)


@pytest.fixture
def terms(tmp_path):
    path = tmp_path / "terms.list"
    path.write_text("# mine\n[asking]\nquery\nquery expansion\n[order]\nreranking | re-ranking\nranking\n")
    return path


def counted(text, terms):
    counts = Counter()
    cf.count_text(text, cf.Terms.read(terms), counts)
    return dict(counts)


def test_case_plural_hyphen_and_longer_terms(terms):
    text = "Queries! QUERY-EXPANSION and re-rankings; Reranking, query\texpansions."
    assert counted(text, terms) == {
        cf.TEXTS: 1,
        cf.WORDS: 9,
        "query": 3,
        "query expansion": 2,
        "reranking": 2,
        "ranking": 1,  # the one within "re-rankings"
        cf.ANY: 5,
    }
    assert counted("", terms) == counted(" -- ", terms) == {}


def test_folding_is_the_same_for_terms_and_texts():
    for one, many in (
        ("corpus", "corpus"),
        ("index", "indexes"),
        ("query", "queries"),
        ("search", "searches"),
    ):
        assert cf.fold(one) == cf.fold(many)
    assert [cf.fold(word) for word in ("is", "news", "class", "axes")] == ["is", "new", "class", "ax"]
    assert cf.words_of("ﬁle \u00c9tats") == ["file", "état"]


def test_the_shipped_list_is_read_and_has_no_duplicates(tmp_path, terms):
    shipped = cf.Terms.read(cf.TERMS)
    assert len(shipped.sections) > 60 and len(set(shipped.sections.values())) == 5
    terms.write_text("ranking\nother | Rankings\n")
    with pytest.raises(cf.CountError, match=r"terms.list:2: 'Rankings' already belongs to 'ranking'"):
        cf.Terms.read(terms)
    terms.write_text("# nothing\n")
    with pytest.raises(cf.CountError, match="no term"):
        cf.Terms.read(terms)


def write(folder):
    """A corpus in all forms, and a reference."""
    corpus, reference = folder / "corpus", folder / "reference"
    (corpus / "below").mkdir(parents=True)
    reference.mkdir()
    (corpus / "a.txt").write_text("A query and its query expansion.\n\nThe ranking.\n", encoding="utf-8")
    (corpus / "notes.md").write_text("query query query\n")
    with gzip.open(corpus / "below" / "b.jsonl.gz", "wt", encoding="utf-8") as out:
        out.write(json.dumps({"title": "Queries", "text": "of users", "id": "query"}) + "\n")
    (reference / "r.story").write_text("nothing about it but one query here\n")
    return corpus, reference


def arguments(folder, terms, *more, output="out.csv"):
    corpus, reference = folder / "corpus", folder / "reference"
    return ["--input", str(corpus), "--reference", str(reference), "--suffixes", ".story",
            "--terms", str(terms), "--output", str(folder / output), *more]  # fmt: skip


def test_the_table_of_a_folder_by_hand(tmp_path, terms, capsys):
    write(tmp_path)
    assert cf.main(arguments(tmp_path, terms)) == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = {row["term"]: row for row in csv.DictReader(file)}
    assert list(rows) == [cf.ANY, "query", "query expansion", "ranking", "reranking"]
    query = rows["query"]  # 11 words here, 7 there
    assert (query["section"], query["count"], query["reference_count"]) == ("asking", "3", "1")
    assert float(query["per_million"]) == pytest.approx(3 / 11 * 1e6, abs=1e-3)
    assert float(query["log2_ratio"]) == pytest.approx(math.log2(3.5 / 11.5 / (1.5 / 7.5)), abs=1e-4)
    share = 4 / 18
    by_hand = 2 * (3 * math.log(3 / (share * 11)) + math.log(1 / (share * 7)))
    assert float(query["g2"]) == pytest.approx(by_hand, abs=0.01)
    assert rows[cf.ANY]["count"] == "4" and rows["reranking"]["count"] == "0"
    assert not list(tmp_path.glob(".*partial"))
    assert "out.csv" in capsys.readouterr().out


def test_a_json_output_is_a_reference(tmp_path, terms):
    corpus, reference = write(tmp_path)
    counted_before = ["--input", str(reference), "--suffixes", ".story", "--terms", str(terms)]
    assert cf.main([*counted_before, "--output", str(tmp_path / "ref.json")]) == 0
    assert cf.main(arguments(tmp_path, terms)) == 0
    again = ["--input", str(corpus), "--terms", str(terms), "--reference", str(tmp_path / "ref.json")]
    assert cf.main([*again, "--output", str(tmp_path / "again.csv")]) == 0
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "out.csv").read_bytes()
    (tmp_path / "ref.json").write_text("[]")
    assert cf.main([*again, "--output", str(tmp_path / "again.csv")]) == 1


def test_of_a_beir_folder_only_the_corpus_counts(tmp_path):
    inner = tmp_path / "beir_x" / "x"
    (inner / "qrels").mkdir(parents=True)
    for name in ("corpus", "queries"):
        (inner / f"{name}.jsonl").write_text('{"_id": "1", "text": "query"}\n')
    assert cf.files_of(str(tmp_path / "beir_x"), ()) == [str(inner / "corpus.jsonl")]
    assert cf.files_of(str(inner), ()) == [str(inner / "corpus.jsonl")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", r"bad.jsonl:2: not a JSON line"),
        ('{"words": "x"}', r"bad.jsonl:2: none of the fields title, text"),
        ("7", r"bad.jsonl:2: none of the fields"),
    ],
)
def test_broken_records_are_named(tmp_path, terms, capsys, line, message):
    (tmp_path / "bad.jsonl").write_text(f'{{"text": ""}}\n{line}\n')
    command = ["--input", str(tmp_path), "--terms", str(terms), "--output", str(tmp_path / "o.csv")]
    assert cf.main(command) == 1
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert not (tmp_path / "o.csv").exists()


def test_empty_input_and_unknown_arguments_are_refused(tmp_path, terms, capsys):
    command = ["--input", str(tmp_path / "none"), "--terms", str(terms), "--output", str(tmp_path / "o.csv")]
    assert cf.main(command) == 1
    assert "no file to read" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cf.main([*command, "--project=p"])
    with pytest.raises(SystemExit):
        cf.main([*command[:-1], "o.tsv"])


def beam_python():
    """A Python that has Beam: this one, or that of INTERS_BEAM_VENV."""
    if importlib.util.find_spec("apache_beam"):
        return sys.executable
    venv = os.environ.get("INTERS_BEAM_VENV")
    return str(Path(venv) / "bin" / "python") if venv else None


@pytest.mark.slow
@pytest.mark.skipif(
    os.environ.get("INTERS_TEST_BEAM") != "1" or beam_python() is None,
    reason="INTERS_TEST_BEAM=1 with Beam installed, or in the environment INTERS_BEAM_VENV",
)
@pytest.mark.parametrize("output", ["beam.csv", "beam.json"])
def test_beam_writes_the_same_bytes(tmp_path, terms, output):
    write(tmp_path)
    command = [
        beam_python(),
        str(SCRIPT),
        *arguments(tmp_path, terms, "--runner=DirectRunner", output=output),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert cf.main(arguments(tmp_path, terms, output=f"local{Path(output).suffix}")) == 0
    assert (tmp_path / output).read_bytes() == (tmp_path / f"local{Path(output).suffix}").read_bytes()
