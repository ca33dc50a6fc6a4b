"""The commands and programs that README.md and docs/*.md show, in the order of each page.

A command is a line of a shell block, an indented line or a code span that starts with one of `PROGRAMS`.
The Python blocks of a page are one program. ``python tests/documented_commands.py`` prints them all.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]

SHELLS = ("bash", "sh")
# Languages of blocks that hold no command. The rest of a block without a language is taken for a shell's.
OTHERS = ("text", "gin", "json", "yaml", "dockerfile")
PROGRAMS = re.compile(r"(python|bash|pip|gcloud|git|sky|xpk|curl|pytest|scripts/\S+\.(sh|py)) ")


@dataclasses.dataclass(frozen=True)
class Command:
    """A command as a page shows it: its words, after the shell has read them."""

    page: str
    line: int
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)

    @property
    def module(self) -> str:
        """``inters_jax.train`` of ``python -m inters_jax.train ...``; "" for other programs."""
        return self.words[2] if self.words[:2] == ["python", "-m"] else ""

    @property
    def verb(self) -> str:
        """``train`` of ``python -m inters_jax.train ...``; "" for other programs."""
        return self.module.removeprefix("inters_jax.") if self.module.startswith("inters_jax.") else ""

    @property
    def arguments(self) -> list[str]:
        return self.words[3:] if self.module else self.words[1:]

    @property
    def bare(self) -> bool:
        """Whether it only names a command of ours, as in "`python -m inters_jax.plan` says ..."."""
        return bool(self.verb) and not self.arguments

    @property
    def reads_no_folder(self) -> bool:
        """Whether it does the same on every page, as ``python -m seqio_tasks.catalog`` does."""
        return "=" not in self.text and "/" not in self.text

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: its language, the line after its fence, its text."""

    language: str
    line: int
    text: str


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def split(text: str) -> tuple[list[Block], list[tuple[int, str]]]:
    """The fenced blocks of a page, and its other lines with their numbers."""
    blocks: list[Block] = []
    others: list[tuple[int, str]] = []
    language, start, inside = "", 0, None
    for number, line in enumerate(text.splitlines(), start=1):
        fence = line.strip().startswith("```")
        if inside is None and fence:
            language, start, inside = line.strip().removeprefix("```"), number + 1, []
        elif inside is None:
            others.append((number, line))
        elif fence:
            blocks.append(Block(language, start, "\n".join(inside)))
            inside = None
        else:
            inside.append(line)
    assert inside is None, "a block without an end"
    return blocks, others


def commands(page: str) -> list[Command]:
    """The commands of a page in its order, each text once."""
    blocks, others = split(read(page))
    found: list[tuple[int, str]] = []
    for block in blocks:
        if block.language in SHELLS or not block.language:
            found += _joined(enumerate(block.text.splitlines(), start=block.line))
    indented, prose = _divided(others)
    found += [(number, line) for number, line in _joined(indented) if PROGRAMS.match(f"{line} ")]
    found += _spans(prose)
    unique = dict.fromkeys(text for _, text in sorted(found))
    first = {text: number for number, text in sorted(found, reverse=True)}
    return [Command(page, first[text], text) for text in unique]


def program(page: str) -> list[Block]:
    """The Python blocks of a page."""
    return [block for block in split(read(page))[0] if block.language == "python"]


def _joined(lines: Iterator[tuple[int, str]] | list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Lines that end in a backslash with the ones they continue; no comments, no empty lines."""
    found: list[tuple[int, str]] = []
    open_line = False
    for number, line in lines:
        line = line.strip()
        if open_line:
            start, text = found.pop()
            found.append((start, f"{text} {line}"))
        elif line and not line.startswith("#"):
            found.append((number, line))
        else:
            continue
        open_line = line.endswith("\\")
        if open_line:
            start, text = found.pop()
            found.append((start, text.removesuffix("\\").rstrip()))
    return [(number, re.sub(r"\s+#\s.*$", "", text)) for number, text in found]


def _divided(lines: list[tuple[int, str]]) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Lines of indented blocks, and prose."""
    indented: list[tuple[int, str]] = []
    prose: list[tuple[int, str]] = []
    block = False
    blank = True
    for number, line in lines:
        deep = line.startswith("    ")
        block = deep and (blank or block)
        (indented if block else prose).append((number, line))
        blank = not line.strip()
    return indented, prose


def _spans(prose: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Code spans that are commands; a span may run over the end of a line."""
    found: list[tuple[int, str]] = []
    text = "\n".join(line for _, line in prose)
    for match in re.finditer(r"(?<!`)`([^`]+)`(?!`)", text):
        span = " ".join(match[1].split())
        if "\n\n" not in match[1] and PROGRAMS.match(span):
            found.append((prose[text.count("\n", 0, match.start())][0], span))
    return found


if __name__ == "__main__":
    for page in PAGES:
        for command in commands(page):
            print(command)
        for block in program(page):
            print(f"{page}:{block.line}: (Python)")
