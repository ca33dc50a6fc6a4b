"""Tables in every format, charts whose values can be read, and pages that treat data as text."""

import ast
import csv
import io
import re
from pathlib import Path

import pytest
from inspection_stand_ins import Elements
from markupsafe import Markup

import inters_jax
from inters_jax.evaluation import items
from inters_jax.reports import charts, page, svg, tables
from inters_jax.reports.evaluation_tables import average_table, group_table, task_table
from inters_jax.reports.page import Case, Details, Heading, Note, Passage, Picture, Section, Tile
from inters_jax.reports.tables import Cell, Table

HOSTILE = '<script>alert("x")</script>'
TABLE = Table("A & B", ["task", "nDCG@10"], [[HOSTILE, "+0.5"], ["=cmd|' /C calc'!A0", "1_0 %"]], ["a note"])
CHART = charts.change(None, 50.0, None)
RICH = Table(
    "",
    ["task", "lengths", "count"],
    [[Cell("a", detail="2 passes", task="a"), Cell(picture=CHART), Cell("0", kind="zero")]],
    align="lpr",
)


def shown(*blocks, title="t", tiles=(), facts=None):
    """A page of one section, taken apart."""
    return Elements(page.report(title, "e", facts or {}, tiles, [Section("a", "A", "l", blocks)], "cmd"))


def test_a_table_escapes_in_every_format():
    document = shown(TABLE)
    assert not document.named("script")
    rows = [document.cells(n) for n, (tag, _) in enumerate(document.found) if tag == "tr"]
    assert rows == [["task", "nDCG@10"], [HOSTILE, "+0.5"], ["=cmd|' /C calc'!A0", "1_0 %"]]
    assert [document.text[n] for n, (tag, _) in enumerate(document.found) if tag == "h3"] == ["A & B"]
    assert "\\|" in TABLE.markdown()
    cells = list(csv.reader(io.StringIO(TABLE.csv())))
    assert cells[1] == [HOSTILE, "+0.5"]
    assert cells[2][0].startswith("'=")  # no spreadsheet runs it
    assert "1\\_0 \\%" in TABLE.latex() and "\\textless{}script" in TABLE.latex()


def test_text_is_aligned_indented_below_its_title_and_needs_no_header():
    assert Table("T", ["", ""], [["parts", "1"], ["all", "20"]], ["note"]).text().splitlines() == [
        "T",
        "  parts   1",
        "  all    20",
        "note",
    ]
    assert Table("", ["a", "b"], [["x", "10"]]).text() == "a   b\nx  10"
    assert Table("T", ["", ""], []).text() == "T"


def test_pictures_stand_on_pages_only():
    assert RICH.text() == "task  count\na         0"
    assert "lengths" not in RICH.markdown() + RICH.csv() + RICH.latex()
    assert RICH.latex().splitlines()[1] == "\\begin{tabular}{lr}"
    document = shown(RICH)
    assert [a["class"] for a in document.named("svg")] == ["change"]
    assert document.named("td")[0]["class"] == "wide" and document.named("td")[1]["class"] == "zero"
    assert [a["data-name"] for a in document.named("td")] == ["lengths", "count"]
    assert document.texts("a", "task") == ["a"] and document.named("a")[-1]["data-task"] == "a"


@pytest.mark.parametrize(
    "block",
    [
        Heading(HOSTILE),
        Note(HOSTILE),
        Passage(HOSTILE),
        Case(HOSTILE, [(HOSTILE, HOSTILE)]),
        Details(HOSTILE, [Note(HOSTILE)]),
        Picture(charts.movement({HOSTILE: 0.1}, {HOSTILE: 0.2})),
        Picture(charts.groups([(HOSTILE, [(HOSTILE, 1.0)])])),
        Picture(charts.interval_rows([(HOSTILE, 0.0, 1.0, 2.0)])),
        Table(HOSTILE, [HOSTILE], [[HOSTILE]], [HOSTILE]),
        Table("", ["a", HOSTILE], [["x", Cell(HOSTILE, HOSTILE, HOSTILE, HOSTILE)]], kind=HOSTILE),
        Table("", ["a"], [[Cell(HOSTILE, task=HOSTILE)]], align=HOSTILE),
    ],
    ids=lambda block: type(block).__name__,
)
def test_every_block_shows_data_as_text(block):
    document = shown(block)
    assert not document.named("script")
    values = [value for _, attributes in document.found for value in attributes.values()]
    assert any(HOSTILE in text for text in [*document.text.values(), *values])


def test_a_page_has_no_script_and_loads_nothing():
    text = page.report(
        HOSTILE, HOSTILE, {HOSTILE: HOSTILE, "none": None}, [Tile(*[HOSTILE] * 3)],
        [Section("a", HOSTILE, HOSTILE, [])], HOSTILE,
    )  # fmt: skip
    assert "<script" not in text and "default-src 'none'" in text and "none <b>" not in text
    assert not re.search(r'(?:src|href)="(?!#|data:)', text)
    assert sum(value == HOSTILE for value in Elements(text).text.values()) >= 7


def test_the_policy_names_the_script_and_what_it_may_ask():
    policy = page.content_policy("let a = 1", "'self'")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert policy.endswith("; connect-src 'self'")


def test_a_template_refuses_a_value_that_is_missing():
    with pytest.raises(Exception, match="'eyebrow' is undefined"):
        page.render("serve", title="t", facts={})


def test_elements_escape_text_and_attributes_and_round_numbers():
    shape = svg.element("text", HOSTILE, Markup("<title/>"), class_='"x"', x=1 / 3, text_anchor="end")
    assert shape == (
        '<text class="&#34;x&#34;" x="0.33" text-anchor="end">'
        "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;<title/></text>"
    )
    assert svg.element("path", d="M0 0", y=10.0) == '<path d="M0 0" y="10"/>'


def test_movement_draws_a_bar_for_every_query_sorted_by_change():
    picture = charts.movement({"a": 0.2, "b": 0.5, "c": 0.5}, {"a": 0.7, "b": 0.5, "c": 0.0})
    assert re.findall(r"<title>(\w): ", picture) == ["a", "b", "c"]
    assert 'aria-label="3 queries: 1 better, 1 worse, largest change 0.5000"' in picture


def test_thousands_of_queries_are_thinned_evenly_and_all_counted():
    before = {str(n): 0.0 for n in range(5000)}
    after = {query: n / 5000 for n, query in enumerate(before)}
    picture = charts.movement(before, after)
    assert picture.count("<rect") == charts.MAX_BARS and "5000 queries: 4999 better" in picture


def test_change_and_groups_say_their_figures():
    assert 'aria-label="50 of 100, before 25"' in charts.change(25.0, 50.0, (40.0, 60.0))
    assert "Q, after: 42.0" in charts.groups([("Q", [("before", 10.0), ("after", 42.0)])])


def test_long_passages_are_cut_in_the_middle_and_say_so():
    text = page.excerpt("a" * 400 + "b" * 400, limit=100)
    assert "700 characters left out" in text and "a" * 50 in text and "b" * 50 in text


def test_a_before_and_after_says_what_makes_two_results_unequal():
    def result(split):
        manifest = {"model": "m", "split": split, "seed": 0}
        return {"manifest": manifest, "metrics": {"t": {"f1": 50.0}}, "counts": {"t": {"items": 2}}}

    table = task_table(result("test"), result("validation"))
    assert "Not the same split: before validation, after test." in table.notes
    *_, old, change, picture = table.rows[0]
    assert (old, change) == ("50.0000", "+0.0000")
    assert 'aria-label="50 of 100, before 50"' in picture.picture


def test_every_figure_of_an_evaluation_has_its_n():
    small, large = "inters_argument_retrieval_touche_rerank", "inters_query_expansion_gov2"
    result = {
        "manifest": {"model": "m"},
        "metrics": {small: {"nDCG@10": 0.5}, large: {"rouge_l": 20.0}},
        "counts": {small: {"items": 800, "queries": 4}, large: {"items": 1200, "questions": 1200}},
    }
    own = items.Items(small, {"nDCG@10": dict(zip("abcd", (0.0, 0.0, 1.0, 1.0), strict=True))}, {})
    found = task_table(result, None, {small: own})
    assert found.header[:5] == ["task", "metric", "value", "n", "95 % interval"]
    assert [row[3:5] for row in found.rows] == [["4", "0.0000 to 1.0000"], ["1,200", "-"]]
    means = {row[0]: row for row in average_table(result, None, {small: own}).rows}
    assert means["query document"][3:] == [
        "50.00",
        "0.00 to 100.00",
        "1 of 15",
        "4",
        "50.00",
        "0.00 to 100.00",
    ]
    assert means["all pairs"][3:] == ["35.00", "-", "2 of 56", "1,204", "20.10", "-"]
    (sizes,) = (row for row in group_table(result, None).rows if row[0] == "this model, judged")
    assert sizes[1:] == ["1 of 26 pairs, n = 1,200", "-", "1 of 15 pairs, n = 4"]


def test_a_markdown_page_joins_paragraphs_and_tables():
    text = tables.markdown("T", ["one", "", Table("A", ["a"], [["x"]], ["note"]), "last"])
    assert text == "# T\n\none\n\n## A\n\n| a   |\n|-----|\n| x   |\n\nnote\n\nlast\n"


ROOT = Path(inters_jax.__file__).parent


def imported(file):
    """The modules and names that a file imports, at its top or anywhere else."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names))


def test_libraries_import_no_command():
    files = [file for file in ROOT.glob("*.py") if '__name__ == "__main__"' in file.read_text()]
    commands = {f"inters_jax.{file.stem}" for file in files}
    assert {"inters_jax.compare", "inters_jax.train"} <= commands
    for file in ROOT.glob("*/**/*.py"):
        assert not commands & set(imported(file)), file


@pytest.mark.parametrize("package", ["data", "evaluation", "experiments", "inspection", "planning"])
def test_what_is_computed_does_not_depend_on_how_it_is_shown(package):
    for file in (ROOT / package).glob("*.py"):
        assert not any(name.startswith("inters_jax.reports") for name in imported(file)), file
