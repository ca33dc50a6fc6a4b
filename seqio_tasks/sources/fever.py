"""FEVER: claims, and the Wikipedia sentences that support or refute them.

    train.jsonl, paper_dev.jsonl, paper_test.jsonl
        {"id", "label": "SUPPORTS", "claim", "evidence": [[[_, _, "Soul_Food_-LRB-film-RRB-", 0]]]}
    wiki-pages.zip: wiki-pages/wiki-001.jsonl ...
        {"id", "text", "lines": "0\\tSentence .\\tlink\\n1\\t..."}
    fever_symmetric_{dev,test}.jsonl
        {"id", "claim", "evidence": "text", "gold_label"}

"evidence" lists alternative sets of sentence pointers; the text of the first set that is found completely is
the evidence, each page with its title ("Soul Food (film): ..."). The zip is read without unpacking,
sequentially, for the needed pages only. Without the pages the claims have no text: then the two sets of
FEVER-Symmetric (folder fever_symmetric; claims rewritten so that they cannot be judged without evidence) are
validation and test, and there is no training split.
"""

from __future__ import annotations

import io
import json
import re
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from seqio_tasks.base import DataError, MissingData
from seqio_tasks.sources.common import (
    Row,
    SourceReport,
    find_file,
    find_files,
    json_lines,
    one_line,
    unusable,
)
from seqio_tasks.sources.splits import check_split, group_key, select_three

LABELS = {"SUPPORTS": "support", "REFUTES": "refute"}
NOT_ENOUGH = "claim without enough information"
NO_TEXT = "no evidence set is found whole in the Wikipedia pages"
_FILES = {"train": "train.jsonl", "validation": "paper_dev.jsonl", "test": "paper_test.jsonl"}
_SYMMETRIC = {"validation": "fever_symmetric_dev.jsonl", "test": "fever_symmetric_test.jsonl"}
_WIKI = ("wiki-pages/*.jsonl", "wiki-pages/wiki-pages/*.jsonl", "wiki-pages.zip")
_ESCAPES = {
    "-LRB-": "(",
    "-RRB-": ")",
    "-LSB-": "[",
    "-RSB-": "]",
    "-LCB-": "{",
    "-RCB-": "}",
    "-COLON-": ":",
}
_ESCAPED = re.compile("|".join(_ESCAPES))
_ID = re.compile(r'\{"id": ("(?:[^"\\]|\\.)*")')

Pointer = tuple[str, int]  # page, sentence


def plain(text: str) -> str:
    """Brackets as brackets, without the spaces that the corpus has inside them.

    >>> plain("Soul Food -LRB- 1997 -RRB- is a film .")
    'Soul Food (1997) is a film .'
    """
    text = _ESCAPED.sub(lambda match: _ESCAPES[match.group()], text)
    return one_line(re.sub(r"(?<=[(\[{]) | (?=[)\]}])", "", text))


def read_claims(path: Path, name: str, report: SourceReport | None = None) -> list[Row]:
    """Rows {example_id, claim, claim_label, sets: list of lists of pointers} of the decided claims."""
    rows: list[Row] = []
    for number, record in json_lines(path):
        try:
            label, claim, claim_id = record["label"], one_line(record["claim"]), record["id"]
            if label == "NOT ENOUGH INFO":
                if report is not None:
                    report[NOT_ENOUGH] += 1
                continue
            sets = [
                [(unicodedata.normalize("NFC", page), int(index)) for _, _, page, index in pointers]
                for pointers in record["evidence"]
            ]
            row: Row = {
                "example_id": f"fever/{name}/{claim_id}",
                "claim": claim,
                "claim_label": LABELS[label],
                "sets": sets,
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"not a FEVER claim ({type(error).__name__}: {error})",
                path=path,
                line=number,
                todo="use the official files with labels and evidence",
            ) from None
        rows.append(row)
    return rows


def read_pages(paths: Sequence[Path], wanted: set[str]) -> dict[str, dict[int, str]]:
    """page -> {sentence number: text} for the wanted pages (names in NFC).

    The archive has five million pages: the name is read from the beginning of the line, and only the wanted
    pages are decoded.
    """
    pages: dict[str, dict[int, str]] = {}
    for path, number, line in _wiki_lines(paths):
        match = _ID.match(line)
        try:
            page = json.loads(match.group(1) if match else line)
            name = unicodedata.normalize("NFC", page if match else page["id"])
            if name in wanted:
                content = json.loads(line)
                if found := unusable(line, content):
                    raise ValueError(found)
                pages[name] = dict(_sentences(content["lines"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"not a page of the FEVER Wikipedia ({type(error).__name__}: {error})",
                path=path,
                line=number,
                todo="use the official wiki-pages.zip",
            ) from None
    return pages


def _wiki_lines(paths: Sequence[Path]) -> Iterator[tuple[Path, int, str]]:
    for path in paths:
        if path.suffix != ".zip":
            with path.open(encoding="utf-8") as file:
                yield from ((path, number, line) for number, line in enumerate(file, 1) if line.strip())
            continue
        with zipfile.ZipFile(path) as archive:
            for member in sorted(name for name in archive.namelist() if name.endswith(".jsonl")):
                if "__MACOSX" in member:
                    continue
                with archive.open(member) as raw:
                    text = io.TextIOWrapper(raw, encoding="utf-8")
                    yield from ((path, number, line) for number, line in enumerate(text, 1) if line.strip())


def _sentences(lines: str) -> Iterator[tuple[int, str]]:
    """Number and text; links follow after a further tab. Pieces without a number belong to no sentence."""
    for line in lines.split("\n"):
        cells = line.split("\t")
        if len(cells) > 1 and cells[0].isdigit() and cells[1].strip():
            yield int(cells[0]), plain(cells[1])


def evidence_text(pointers: Iterable[Pointer], pages: dict[str, dict[int, str]]) -> str:
    """The sentences in the order of the set, each page's title before its first one; "" if one is missing.

    >>> evidence_text([("A_-LRB-b-RRB-", 0), ("A_-LRB-b-RRB-", 2)], {"A_-LRB-b-RRB-": {0: "X .", 2: "Y ."}})
    'A (b): X . Y .'
    """
    texts: list[str] = []
    before = None
    for page, index in dict.fromkeys(pointers):
        sentence = pages.get(page, {}).get(index)
        if sentence is None:
            return ""
        texts.append(sentence if page == before else f"{plain(page.replace('_', ' '))}: {sentence}")
        before = page
    return " ".join(texts)


def read_symmetric(path: Path, name: str) -> list[Row]:
    """Rows {example_id, claim, evidences, claim_label} of FEVER-Symmetric, version 0.1 or 0.2."""
    rows: list[Row] = []
    for number, record in json_lines(path):
        try:
            label = LABELS[record.get("gold_label") or record["label"]]
            text = record["evidence"] if "evidence" in record else record["evidence_sentence"]
            row: Row = {
                "example_id": f"fever_symmetric/{name}/{number}",
                "claim": plain(record["claim"]),
                "evidences": plain(text),
                "claim_label": label,
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"not a FEVER-Symmetric record ({type(error).__name__}: {error})",
                path=path,
                line=number,
                todo="use the files of TalSchuster/FeverSymmetric",
            ) from None
        rows.append(row)
    return rows


def fever(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """Claims with their evidence: the official training, dev and test files of the FEVER paper."""
    check_split(split)
    try:
        wiki = find_files(raw_dir, "fever", _WIKI, "FEVER Wikipedia (wiki-pages.zip)")
    except MissingData:
        symmetric = [Path(raw_dir) / "fever_symmetric" / name for name in _SYMMETRIC.values()]
        if split == "train" or not all(path.is_file() for path in symmetric):
            raise
        yield from _symmetric(raw_dir, split, report)
        return

    def read(name: str) -> tuple[list[Row], list[str]]:
        path = find_file(raw_dir, "fever", (_FILES[name],), f"FEVER file {_FILES[name]}")
        rows = read_claims(path, name, report if name == split else None)
        return rows, [group_key(row["claim"]) for row in rows]

    chosen = select_three(read, split, report)
    pages = read_pages(wiki, {page for row in chosen for own in row["sets"] for page, _ in own})
    for row in chosen:
        texts = (evidence_text(own, pages) for own in row.pop("sets"))
        text = next((text for text in texts if text), "")
        if text:
            yield row | {"evidences": text}
        elif report is not None:
            report[NO_TEXT] += 1


def _symmetric(raw_dir: Path, split: str, report: SourceReport | None) -> Iterator[Row]:
    def read(name: str) -> tuple[list[Row], list[str]]:
        what = f"FEVER-Symmetric {name} file"
        rows = read_symmetric(find_file(raw_dir, "fever_symmetric", (_SYMMETRIC[name],), what), name)
        return rows, [group_key(row["claim"]) for row in rows]

    yield from select_three(read, split, report)
