"""The page of a sweep in a real browser: figures and tables are there, names are text, nothing is loaded."""

import re

import numpy as np
import pytest
from browser_stand_ins import document as opened
from browser_stand_ins import needs_browser, requests, title

from inters_jax.evaluation.comparison import Options
from inters_jax.experiments import main_comparison
from inters_jax.experiments.lists import Experiment, ExperimentList
from inters_jax.experiments.results import Results
from inters_jax.reports import sweep_page
from inters_jax.reports.sweep_tables import spread, tables

pytestmark = [pytest.mark.slow, needs_browser]

HOSTILE = "</svg><script>document.title='taken'</script><img src='http://example.invalid/a.png'>"
HOSTILE_SERIES = "rows \"<b onclick='x()'>&amp; {p}"
LONG = "without query_intent_classification, asked with five demonstrations"
PAIRS = ("inters_query_matching_msrp", "inters_reading_comprehension_boolq", "inters_fact_retrieval_scifact")
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def made():
    """An experiment list and what it gave: six experiments, three pairs of three groups, forty questions."""
    named = {
        "main": (0.6, {HOSTILE_SERIES: 100, "by wording": 0}),
        HOSTILE: (0.3, {HOSTILE_SERIES: 25, "by wording": 1}),
        "rows 50": (0.45, {HOSTILE_SERIES: 50, "by wording": 2}),
        "rows 75": (0.46, {HOSTILE_SERIES: 75}),
        "rows 76": (0.465, {HOSTILE_SERIES: 76}),
        LONG: (0.99, {}),
    }
    random = np.random.default_rng(0)
    found = {}
    for name, (level, series) in named.items():
        own = found[name] = Results(Experiment(name, steps=("train", "evaluate"), series=series))
        for pair in PAIRS:
            for seed in SEEDS:
                right = (random.random(40) < level).astype(float)
                own.items.setdefault(pair, {})[seed] = {f"q{n}": value for n, value in enumerate(right)}
                own.values.setdefault(pair, {})[seed] = 100 * float(right.mean())
    experiments = tuple(own.experiment for own in found.values())
    return ExperimentList("sweep of <names>", "main", SEEDS, experiments), found


@pytest.fixture(scope="module")
def page(made, tmp_path_factory):
    experiments, found = made
    tested = main_comparison.tests(found, "main", Options(samples=500, bootstrap=100))
    shown = tables(found, "main", tested)
    path = tmp_path_factory.mktemp("sweep") / "sweep.html"
    path.write_text(sweep_page.page(experiments, found, shown, runs=18), encoding="utf-8")
    return path


def cells(document):
    """The text of every table cell."""
    return [document.text[n] for n, (tag, _) in enumerate(document.found) if tag in ("td", "th")]


def test_figures_and_tables_of_every_experiment_are_there(page, made):
    document, (_, found) = opened(page), made
    assert title(document) == "sweep of <names>"
    shown = cells(document)
    for name, own in found.items():
        assert name in shown and spread(own.means(PAIRS)) in shown
        for pair in PAIRS:
            assert pair in shown and spread(list(own.values[pair].values())) in shown
    kinds = [attributes["class"] for attributes in document.named("svg")]
    assert kinds.count("intervals") == 1 + len(PAIRS) and kinds.count("curves") == 2
    discs = [a for a in document.named("circle") if a.get("class") == "disc"]
    # A mean for each experiment, whole and by group; the points of two series.
    assert len(discs) == len(found) * (1 + len(PAIRS)) + 5 + 3


def test_names_from_a_list_are_text(page):
    document = opened(page)
    assert not document.named("script") and not document.named("img")
    assert not any(name.startswith("on") for _, attributes in document.found for name in attributes)
    headings = [document.text[n] for n, (tag, _) in enumerate(document.found) if tag == "h3"]
    assert HOSTILE_SERIES in headings


def test_the_page_asks_nothing_of_the_network_and_runs_nothing(page, tmp_path):
    opened(page, log=tmp_path / "page.json")
    assert requests(tmp_path / "page.json") == []
    broken = tmp_path / "broken.html"
    broken.write_text(page.read_text().replace("<main>", f"<main>{HOSTILE}", 1))
    document = opened(broken, log=tmp_path / "broken.json")
    assert title(document) == "sweep of <names>" and requests(tmp_path / "broken.json") == []


def test_numbers_in_the_curves_do_not_lie_on_each_other(page):
    """Every number of a curve has room of its own: no two of one row are nearer than their width."""
    for picture in re.findall(r'<svg class="curves".*?</svg>', page.read_text(), re.S):
        texts = re.findall(r'<text class="(value|name)" x="([\d.]+)" y="([\d.]+)">([^<]*)<', picture)
        assert texts
        for kind in ("value", "name"):
            boxes = [(float(x), float(y), 6.5 * len(text) / 2) for k, x, y, text in texts if k == kind]
            for n, (x, y, half) in enumerate(boxes):
                for other_x, other_y, other_half in boxes[:n]:
                    assert abs(x - other_x) >= half + other_half or abs(y - other_y) >= 11
