"""The page of a comparison: every figure that the tables have, hostile names as text, in a real browser."""

import numpy as np
import pytest
from browser_stand_ins import needs_browser, opened

from inters_jax import compare
from inters_jax.config import call
from inters_jax.evaluation.comparison import Options, compare_runs
from inters_jax.reports import comparison_page
from seqio_tasks.metrics.trec_files import write_run

HOSTILE = "q<script>document.title='taken'</script>"


@pytest.fixture(scope="module")
def runs():
    random = np.random.default_rng(0)
    queries = [HOSTILE, *(f"q{n}" for n in range(30))]
    documents = [f"d{n}" for n in range(8)]
    qrels = {query: {document: int(random.random() < 0.4) for document in documents} for query in queries}
    noise = {
        name: {query: {d: qrels[query][d] + random.normal(0, size) for d in documents} for query in queries}
        for name, size in (("noisy", 2.0), ("better", 0.5))
    }
    return noise, qrels


@pytest.fixture(scope="module")
def page(runs):
    compared = compare_runs(runs[0], runs[1], ["nDCG@5", "RR"], Options(samples=500, bootstrap=500))
    text = comparison_page.page(
        compared, title="noisy · better", eyebrow="Comparison", facts={"seed": 0}, made_by="test"
    )
    return compared, text


def test_every_test_and_mean_stands_on_the_page(page):
    compared, text = page
    for test in compared.tests:
        assert f"{test.difference:+.4f}" in text and f"{test.wins} / {test.ties} / {test.losses}" in text
    for mean in compared.tables[0].means["nDCG@5"]:
        assert f"{mean:.4f}" in text
    assert text.count('<rect class="up"') + text.count('<rect class="down"') == 31


def test_names_from_data_are_text(page):
    assert "<script" not in page[1] and "q&lt;script&gt;" in page[1]


def test_the_command_writes_page_tables_and_values(runs, tmp_path):
    noise, qrels = runs
    plain = {query.replace("<", "").replace(">", ""): grades for query, grades in qrels.items()}
    for name, run in noise.items():
        own = {query.replace("<", "").replace(">", ""): scores for query, scores in run.items()}
        write_run(tmp_path / f"{name}.trec", own, name)
    lines = [f"{q} 0 {d} {grade}\n" for q, row in plain.items() for d, grade in row.items()]
    (tmp_path / "qrels.txt").write_text("".join(lines))
    call(
        compare.compare,
        runs=[str(tmp_path / "noisy.trec"), str(tmp_path / "better.trec")],
        qrels=str(tmp_path / "qrels.txt"),
        measures="nDCG@5",
        output_dir=str(tmp_path / "out"),
        samples=200,
        bootstrap=200,
    )
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"compare.{kind}" for kind in ("html", "md", "csv", "tex", "json")}
    assert "noisy → better" in (tmp_path / "out" / "compare.csv").read_text()


@pytest.mark.slow
@needs_browser
def test_the_page_opens_in_a_browser(page, tmp_path):
    (tmp_path / "page.html").write_text(page[1])
    shown = opened(tmp_path / "page.html", tmp_path / "profile")
    assert "<title>noisy · better</title>" in shown and "Most gained" in shown
