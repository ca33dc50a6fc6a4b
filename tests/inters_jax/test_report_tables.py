"""The four writings of a table, and pictures whose figures can be read."""

import csv
import io
import re

from inters_jax.reports import charts, evaluation_page
from inters_jax.reports.document import Section, document, passage
from inters_jax.reports.tables import Table

HOSTILE = '<script>alert("x")</script>'
TABLE = Table("A & B", ["task", "nDCG@10"], [[HOSTILE, "+0.5"], ["=cmd|' /C calc'!A0", "1_0 %"]], ["a note"])


def test_a_table_escapes_in_every_writing():
    assert HOSTILE not in TABLE.html() and "&lt;script&gt;" in TABLE.html()
    assert "\\|" in TABLE.markdown()
    rows = list(csv.reader(io.StringIO(TABLE.csv())))
    assert rows[1] == [HOSTILE, "+0.5"]
    assert rows[2][0].startswith("'=")  # no spreadsheet runs it
    assert "1\\_0 \\%" in TABLE.latex() and "\\textless{}script" in TABLE.latex()


def test_a_page_has_no_script_and_loads_nothing():
    page = document(HOSTILE, "e", {"f": HOSTILE}, [("1", "t", "m")], [Section("a", "A", "l", "")], "cmd")
    assert "<script" not in page and "default-src 'none'" in page
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)


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
    shown = passage("a" * 400 + "b" * 400, limit=100)
    assert "700 characters left out" in shown and "a" * 50 in shown and "b" * 50 in shown


def test_a_before_and_after_says_what_makes_two_results_unequal():
    def result(split):
        manifest = {"model": "m", "split": split, "seed": 0}
        return {"manifest": manifest, "metrics": {"t": {"f1": 50.0}}, "counts": {"t": {"items": 2}}}

    table = evaluation_page.task_table(result("test"), result("validation"))
    assert "Not the same split: before validation, after test." in table.notes
    assert list(table.rows[0])[-2:] == ["50.0000", "+0.0000"]
