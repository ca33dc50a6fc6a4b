"""One table, four writings: HTML for the page, Markdown, CSV for a spreadsheet, LaTeX for a paper."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from inters_jax.evaluation import report

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}",
}  # fmt: skip
_LONG = ' class="long"'  # of a cell whose text may be broken into lines


@dataclass(frozen=True)
class Table:
    """A titled table; the first column is text, the others are numbers or short words.

    pictures: SVG per row for a further column that only the page has; notes: sentences below the table.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    pictures: Sequence[str] = field(default=())

    def html(self, *, titled: bool = True) -> str:
        """Everything escaped but the pictures; long names may break behind an underscore.

        >>> Table("t", ["a", "b"], [["<x>", "1"]]).html().count("&lt;x&gt;")
        1
        """
        heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in self.header)
        heads += '<th class="wide"></th>' if self.pictures else ""
        body = []
        for number, row in enumerate(self.rows):
            cells = f'<th scope="row">{escape(row[0]).replace("_", "_<wbr>")}</th>'
            cells += "".join(f"<td{_LONG if len(cell) > 32 else ''}>{escape(cell)}</td>" for cell in row[1:])
            cells += f'<td class="wide">{self.pictures[number]}</td>' if self.pictures else ""
            body.append(f"<tr>{cells}</tr>")
        notes = "".join(f'<p class="note">{escape(note)}</p>' for note in self.notes)
        return (
            (f"<h3>{escape(self.title)}</h3>" if titled else "")
            + f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(body)}</tbody>'
            f"</table></div>{notes}"
        )

    def markdown(self) -> str:
        cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in self.rows]
        notes = "".join(f"\n\n{note}" for note in self.notes)
        return f"## {self.title}\n\n{report.table(list(self.header), cells)}{notes}\n"

    def csv(self) -> str:
        """RFC 4180.

        >>> Table("t", ["a", "b"], [["x, y", "1"]]).csv().splitlines()
        ['a,b', '"x, y",1']
        """
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerow(self.header)
        # A cell that begins like a formula would be run by spreadsheets.
        writer.writerows([["'" + cell if _is_formula(cell) else cell for cell in row] for row in self.rows])
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
        lines = [f"% {self.title}", f"\\begin{{tabular}}{{l{'r' * (len(self.header) - 1)}}}", "\\toprule"]
        lines += [" & ".join(map(tex, self.header)) + r" \\", "\\midrule"]
        lines += [" & ".join(map(tex, row)) + r" \\" for row in self.rows]
        return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def tex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_LATEX.get(character, character) for character in text)


def _is_formula(cell: str) -> bool:
    """Whether a spreadsheet would take a cell for a formula; signed numbers are numbers."""
    if not cell.startswith(("=", "+", "-", "@", "\t", "\r")) or len(cell) == 1:
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return False
