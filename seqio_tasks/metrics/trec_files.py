"""Run and judgment files in TREC, MS MARCO and BEIR format, which is detected.

    run    TREC      ``qid Q0 docid rank score tag``   (the rank column is ignored, as trec_eval does)
           MS MARCO  ``qid docid rank``                (score = -rank)
           scores    ``qid docid score``               (Tevatron and others)
    qrels  TREC      ``qid 0 docid grade``
           BEIR      ``query-id<TAB>corpus-id<TAB>score`` below such a header

The last two forms of a run have the same three columns. Ranks of a query are consecutive whole numbers, such
as 1, 2, 3; anything else is a score. The reading is logged; what could be either is refused, and `form`
decides.

Files may be gzipped (``.gz``) and may have CRLF line ends. Every error names file and line.
"""

from __future__ import annotations

import gzip
import itertools
import logging
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from seqio_tasks.base import DataError, MissingData, UserError, replacing, whole_number
from seqio_tasks.metrics.ranking import float32_scores, is_score, ranking_order

log = logging.getLogger(__name__)

RUN_FORMATS = ("auto", "ranks", "scores")

_RUN_FORMS = "expected `qid Q0 docid rank score tag` (TREC), `qid docid rank` (MS MARCO) or `qid docid score`"
_QRELS_FORMS = "expected `qid 0 docid grade` (TREC) or `query-id<TAB>corpus-id<TAB>score` (BEIR)"


def read_run(path: str | Path, form: str = "auto") -> dict[str, dict[str, float]]:
    """Read a run: query id -> document id -> score, in file order.

    Args:
      path: the file.
      form: what the third column of three is: "ranks", "scores", or "auto" to tell them apart. TREC runs of
        six columns ignore it.

    Raises:
      DataError: the file is empty or not a run, or its three columns could be ranks as well as scores.
    """
    if form not in RUN_FORMATS:
        raise UserError(f"run format {form!r} is unknown; choose one of {', '.join(RUN_FORMATS)}")
    run: dict[str, dict[str, float]] = {}
    width = 0
    for number, line in _lines(path):
        fields = line.split()
        width = width or len(fields)
        if len(fields) != width or width not in (6, 3):
            raise DataError(f"{len(fields)} fields; {_RUN_FORMS}", path=path, line=number)
        if width == 6:
            query, _, document, _, text, _ = fields
        else:
            query, document, text = fields
        scores = run.setdefault(query, {})
        if document in scores:
            raise DataError(
                f"document {document!r} appears twice for query {query!r}", path=path, line=number,
                todo="keep one line per query and document",
            )  # fmt: skip
        scores[document] = _number(text, path, number)
    if not run:
        raise DataError("the run file is empty", path=path)
    if width == 3 and (form == "ranks" or (form == "auto" and _holds_ranks(run, path))):
        return {query: {document: -rank for document, rank in ranks.items()} for query, ranks in run.items()}
    return run


def read_runs(paths: Sequence[Path], form: str = "auto") -> dict[str, dict[str, float]]:
    """Read run files that together are one run, such as one file per split.

    Raises:
      DataError: two files have results for the same query: they are different runs.
    """
    run: dict[str, dict[str, float]] = {}
    owner: dict[str, Path] = {}
    for path in paths:
        for query, scores in read_run(path, form).items():
            if query in owner:
                raise DataError(
                    f"query {query!r} has results here and in {owner[query].name}: different runs are not "
                    "merged", path=path, todo="keep one of the files, or set RUN to the one to rerank",
                )  # fmt: skip
            owner[query], run[query] = path, scores
    return run


def _holds_ranks(run: Mapping[str, Mapping[str, float]], path: str | Path) -> bool:
    """Whether the third column holds ranks (else scores); says which, and refuses what could be either."""
    lists = [list(values.values()) for values in run.values()]
    several = [values for values in lists if len(values) > 1]
    whole = all(value >= 0 and value.is_integer() for values in lists for value in values)
    odd = next((query for query, values in run.items() if not _consecutive(values.values())), None)
    ranks = whole and odd is None
    # Files are written best first: consecutive numbers that fall may be scores, gaps in rising ones may be
    # removed documents.
    falling = bool(several) and all(_rising(values[::-1]) for values in several)
    rising = bool(several) and all(_rising(values) for values in several)
    if (ranks and falling) or (not ranks and whole and rising):
        raise DataError(
            "the third column could be ranks or scores: its whole numbers "
            + ("fall from line to line" if ranks else f"rise from line to line, with gaps (query {odd!r})"),
            path=path,
            todo="set RUN_FORMAT to 'ranks' (1 is best) or 'scores' (the highest is best), or write a TREC "
            "run of six columns",
        )
    why = (
        "the numbers of each query are consecutive"
        if ranks
        else (
            f"those of query {odd!r} are not consecutive whole numbers"
            if odd is not None
            else "some are negative"
        )
    )
    log.warning(
        "%s: the third column is read as %s, because %s; RUN_FORMAT='%s' would read it otherwise",
        path, "ranks (the lowest is best)" if ranks else "scores (the highest is best)", why,
        "scores" if ranks else "ranks",
    )  # fmt: skip
    return ranks


def _consecutive(values: Iterable[float]) -> bool:
    ordered = sorted(values)
    return all(value.is_integer() for value in ordered) and all(
        after - before == 1 for before, after in itertools.pairwise(ordered)
    )


def _rising(values: Sequence[float]) -> bool:
    return all(before < after for before, after in itertools.pairwise(values))


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
        grade = whole_number(text)
        if grade is None:
            raise DataError(
                f"grade {text!r:.40} is not a whole number of 32 bits; {_QRELS_FORMS}", path=path, line=number
            )
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
    if not path.is_file():
        raise MissingData("no such file", path=path, todo="check the path")
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
        raise DataError(f"{text!r:.40} is not a finite number; {_RUN_FORMS}", path=path, line=line)
    if not is_score(value):
        raise DataError(
            f"{text!r:.40} is beyond float32, in which rankings are compared", path=path, line=line,
            todo="scale the scores",
        )  # fmt: skip
    return value
