"""The table of every report, rendered as text for a terminal, Markdown, CSV and LaTeX.

Pages render it as HTML (`inters_jax.reports.page`), which also shows what only a page can: pictures, second
lines and links in a `Cell`.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from seqio_tasks.base import aligned

NONE = "-"  # the cell of a value that does not exist

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}",
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A cell of which a page shows more than the text.

    Attributes:
      text: what every renderer shows.
      detail: a second, smaller line.
      kind: CSS class of the cell.
      tag: CSS class of a label around the text; "" for none.
      task: name of a task whose examples the cell links to.
      picture: SVG, instead of the text.
    """

    text: str = ""
    detail: str = ""
    kind: str = ""
    tag: str = ""
    task: str = ""
    picture: Markup = Markup()  # noqa: RUF009 (immutable)


Row = Sequence[str | Cell]


@dataclass(frozen=True)
class Table:
    """A titled table.

    Attributes:
      title: "" for none.
      header: names of the columns; all blank for a table without a header.
      rows: cells by column.
      notes: sentences below the table.
      align: "l", "r" or "p" for each column; "p" holds pictures and is left out where there are none. By
        default the first column is text ("l") and the others are numbers ("r").
      kind: CSS class of the table.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    align: str = ""
    kind: str = ""

    @property
    def sides(self) -> str:
        """The alignment of every column."""
        return self.align or "l" + "r" * (len(self.header) - 1)

    def untitled(self) -> Table:
        """The same table without its title."""
        return dataclasses.replace(self, title="")

    def text(self) -> str:
        """Aligned columns for a terminal; below a title they are indented."""
        header, rows, sides = self._plain()
        lines = aligned([header, *rows] if any(header) else rows, sides)
        body = [self.title, *("  " + line for line in lines)] if self.title else lines
        return "\n".join([*body, *self.notes])

    def markdown(self) -> str:
        """A second-level heading, a pipe table with aligned columns, and the notes as paragraphs.

        >>> print(Table("T", ["task", "nDCG@10"], [["a|b", "0.5000"]]).markdown())
        ## T
        <BLANKLINE>
        | task | nDCG@10 |
        |------|--------:|
        | a\\|b |  0.5000 |
        <BLANKLINE>
        """
        header, rows, sides = self._plain()
        lines = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (header, *rows)]
        widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
        padded = [
            [cell.rjust(width) if side == "r" else cell.ljust(width)
             for cell, width, side in zip(line, widths, sides, strict=True)]
            for line in lines
        ]  # fmt: skip
        first, *others = ["| " + " | ".join(line) + " |" for line in padded]
        rule = [
            "-" * (width + 1) + (":" if side == "r" else "-")
            for width, side in zip(widths, sides, strict=True)
        ]
        heading = [f"## {self.title}\n"] if self.title else []
        notes = [f"\n{note}" for note in self.notes]
        return "\n".join([*heading, first, "|" + "|".join(rule) + "|", *others, *notes]) + "\n"

    def csv(self) -> str:
        """RFC 4180. Cells that a spreadsheet would run as a formula are quoted with an apostrophe.

        >>> Table("t", ["a", "b"], [["x, y", "1"]]).csv().splitlines()
        ['a,b', '"x, y",1']
        """
        header, rows, _ = self._plain()
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerows([header] if any(header) else [])
        writer.writerows([["'" + cell if _is_formula(cell) else cell for cell in row] for row in rows])
        return out.getvalue()

    def latex(self) -> str:
        """A `tabular` with booktabs rules.

        >>> print(Table("t", ["a_b", "n"], [["50 %", "1"]]).latex())
        % t
        \\begin{tabular}{lr}
        \\toprule
        a\\_b & n \\\\
        \\midrule
        50 \\% & 1 \\\\
        \\bottomrule
        \\end{tabular}
        <BLANKLINE>
        """
        header, rows, sides = self._plain()
        lines = [f"% {self.title}", f"\\begin{{tabular}}{{{sides}}}", "\\toprule"]
        lines += [" & ".join(map(tex, header)) + r" \\", "\\midrule"] if any(header) else []
        lines += [" & ".join(map(tex, row)) + r" \\" for row in rows]
        return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])

    def _plain(self) -> tuple[list[str], list[list[str]], str]:
        """Header, rows and alignment without columns of pictures."""
        kept = [number for number, side in enumerate(self.sides) if side != "p"]
        cells = [[row[number] for number in kept] for row in (self.header, *self.rows)]
        header, *rows = [[cell if isinstance(cell, str) else cell.text for cell in row] for row in cells]
        return header, rows, "".join(self.sides[number] for number in kept)


def p_text(value: float) -> str:
    """A p-value as tables show it.

    >>> p_text(0.03), p_text(0.00001)
    ('0.0300', '1e-05')
    """
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.0e}"


def tex(text: str) -> str:
    """Escape text for LaTeX."""
    return "".join(_LATEX.get(character, character) for character in text)


def latex(tables: Iterable[Table]) -> str:
    """Several tables as one LaTeX file."""
    return "\n".join(table.latex() for table in tables)


def markdown(title: str, parts: Iterable[str | Table]) -> str:
    """A Markdown page of paragraphs and tables."""
    texts = [part if isinstance(part, str) else part.markdown().rstrip("\n") for part in parts]
    return "\n\n".join([f"# {title}", *(text for text in texts if text)]) + "\n"


def _is_formula(cell: str) -> bool:
    """Whether a spreadsheet would run a cell as a formula; signed numbers are numbers."""
    if not cell.startswith(("=", "+", "-", "@", "\t", "\r")) or len(cell) == 1:
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return False
