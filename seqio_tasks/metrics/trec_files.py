"""Run and judgment files in TREC, MS MARCO and BEIR format, which is detected.

    run    TREC      ``qid Q0 docid rank score tag``   (the rank column is ignored, as trec_eval does)
           MS MARCO  ``qid docid rank``                (score = -rank)
    qrels  TREC      ``qid 0 docid grade``
           BEIR      ``query-id<TAB>corpus-id<TAB>score`` below such a header

Files may be gzipped (``.gz``) and may have CRLF line ends. Every error names file and line.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from seqio_tasks.base import DataError, replacing
from seqio_tasks.metrics.ranking import float32_scores, ranking_order

_RUN_FORMS = "expected `qid Q0 docid rank score tag` (TREC) or `qid docid rank` (MS MARCO)"
_QRELS_FORMS = "expected `qid 0 docid grade` (TREC) or `query-id<TAB>corpus-id<TAB>score` (BEIR)"


def read_run(path: str | Path) -> dict[str, dict[str, float]]:
    """Read a run: query id -> document id -> score, in file order.

    Raises:
      DataError: the file is empty or not a run.
    """
    run: dict[str, dict[str, float]] = {}
    width = 0
    for number, line in _lines(path):
        fields = line.split()
        width = width or len(fields)
        if len(fields) != width or width not in (6, 3):
            raise DataError(f"{len(fields)} fields; {_RUN_FORMS}", path=path, line=number)
        if width == 6:
            query, _, document, _, text, _ = fields
            score = _number(text, path, number)
        else:
            query, document, text = fields
            score = -_number(text, path, number)
        scores = run.setdefault(query, {})
        if document in scores:
            raise DataError(
                f"document {document!r} appears twice for query {query!r}", path=path, line=number,
                todo="keep one line per query and document",
            )  # fmt: skip
        scores[document] = score
    if not run:
        raise DataError("the run file is empty", path=path)
    return run


def read_qrels(path: str | Path) -> dict[str, dict[str, int]]:
    """Read judgments: query id -> document id -> grade.

    Raises:
      DataError: the file is empty, or not a judgment file, or has two grades for one document.
    """
    qrels: dict[str, dict[str, int]] = {}
    width = 0
    for number, line in _lines(path):
        fields = line.split("\t") if "\t" in line else line.split()
        if not width and fields[0].strip().lower().replace("_", "-") in ("query-id", "qid", "queryid"):
            continue
        if len(fields) == 1 or (len(fields) not in (3, 4)):
            fields = line.split()
        width = width or len(fields)
        if len(fields) != width or width not in (3, 4):
            raise DataError(f"{len(fields)} fields; {_QRELS_FORMS}", path=path, line=number)
        query, document, text = (field.strip() for field in (fields[0], fields[-2], fields[-1]))
        try:
            grade = int(text)
        except ValueError:
            raise DataError(
                f"grade {text!r} is not a whole number; {_QRELS_FORMS}", path=path, line=number
            ) from None
        if qrels.setdefault(query, {}).setdefault(document, grade) != grade:
            raise DataError(
                f"document {document!r} of query {query!r} is judged {qrels[query][document]} and {grade}",
                path=path, line=number, todo="keep one judgment",
            )  # fmt: skip
    if not qrels:
        raise DataError("the judgment file is empty", path=path)
    return qrels


def write_run(
    path: str | Path,
    run: Mapping[str, Mapping[str, float]],
    tag: str,
    *,
    ties: Literal["document", "given"] = "document",
    depth: int | None = None,
) -> int:
    """Write a TREC run with strictly decreasing scores, so that all tools rank it alike.

    A score that is not below its predecessor as float32 is written as the next smaller float32.

    Args:
      path: the file.
      run: query id -> document id -> score.
      tag: the name of the run, one word.
      ties: the order of equal scores: by document id descending, as in trec_eval ("document"), or as given
        ("given": a reranker passes its first-stage order).
      depth: the most documents per query; None: all.

    Returns:
      The number of lines.

    Raises:
      DataError: the tag or an id is empty or has spaces, or a score cannot be written.
    """
    if not tag or tag.split() != [tag]:
        raise DataError(f"run tag {tag!r} must be one word without spaces", path=path)
    lines = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for query, scores in run.items():
            values = dict(zip(scores, float32_scores(query, scores).tolist(), strict=True))
            ordered = (
                ranking_order(scores) if ties == "document" else sorted(values, key=lambda d: -values[d])
            )
            previous = np.float32(np.inf)
            for rank, document in enumerate(ordered[:depth], start=1):
                for identifier in (query, document):
                    if identifier.split() != [identifier]:
                        raise DataError(
                            f"id {identifier!r} is empty or has spaces", path=path, line=lines + 1
                        )
                previous = min(np.float32(values[document]), np.nextafter(previous, np.float32(-np.inf)))
                if not math.isfinite(previous):
                    raise DataError(
                        f"query {query!r}: no float32 is left below its smallest score", path=path
                    )
                file.write(f"{query} Q0 {document} {rank} {previous:.9g} {tag}\n")
                lines += 1
    return lines


def _lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """(line number, line without its end) of every non-blank line."""
    path = Path(path)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig") as file:
        number = 0
        try:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
        except (UnicodeDecodeError, gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"cannot be read as text: {error}", path=path, line=number + 1) from None


def _number(text: str, path: str | Path, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{text!r} is not a finite number; {_RUN_FORMS}", path=path, line=line)
    return value
