"""Query logs in the format of the AOL collection of 2006: sessions, and the query that ends them.

    AnonID  Query            QueryTime            ItemRank  ClickURL      user-ct-test-collection-01.txt(.gz)
    7       glass kites      2006-03-20 03:55:57                          tab-separated, with a header line
    7       kite museum      2006-03-20 03:58:02  1         http://...    one line for each click

AOL withdrew that collection because people could be recognised by their searches. None of it is therefore
packaged or quoted here, user numbers do not leave this module (sessions are numbered by their place in the
files), and sessions with an e-mail address or a long number are left out.

A session is the activity of one user with pauses of at most thirty minutes. Consecutive lines with the same
query (pages and clicks) are one query. The last query is the one to suggest, the others are the history. The
authors of INTERS do not say how they split sessions; this is the common way.
"""

from __future__ import annotations

import functools
import gzip
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, NamedTuple

from seqio_tasks.base import DataError
from seqio_tasks.sources.common import Row, SourceReport, find_files, one_line, reading_gzip
from seqio_tasks.sources.splits import check_split, group_key, select, stable_hash

GAP = timedelta(minutes=30)
LONGEST_HISTORY = 10  # queries; of longer sessions the last are kept
MOST_PER_QUERY = 3  # sessions with the same first query: thousands begin with "google"
ENOUGH = 20_000  # sessions to split: the rule uses at most 10,400

PLACEHOLDER = "query hidden by the publisher (a single dash)"
SHORT = "session with a single query"
REPEATED = "session whose last query was asked before in it"
PERSONAL = "session with an e-mail address or a long number"
COMMON = "session that begins as several others do"
NOT_NEEDED = "session beyond those that are split"

_HEADER = ["AnonID", "Query", "QueryTime", "ItemRank", "ClickURL"]
_PERSONAL = re.compile(r"\S@\S|\d(?:[ .()/-]?\d){6,}")


class Search(NamedTuple):
    """One line of the log; ``clicked`` is "" without a click."""

    user: str
    query: str
    time: datetime
    clicked: str
    line: int


class Session(NamedTuple):
    """Queries in order, with the addresses clicked after each."""

    queries: tuple[str, ...]
    clicks: tuple[tuple[str, ...], ...]


def read_log(path: Path) -> Iterator[Search]:
    """Lines of one file of the log, gzipped or not. Trailing empty cells may be missing."""
    with _opened(path) as file, reading_gzip(path):
        for number, raw in enumerate(file, start=1):
            try:
                cells = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n").split("\t")
                if number == 1:
                    if [cell.strip() for cell in cells] != _HEADER:
                        raise ValueError(f"header {cells}, expected {_HEADER}")
                    continue
                if not any(cells):
                    continue
                user, query, time, *click = cells
                if len(click) > 2 or not user:
                    raise ValueError(f"{len(cells)} cells")
                clicked = one_line(click[1]) if len(click) == 2 else ""
                yield Search(user, one_line(query), datetime.fromisoformat(time), clicked, number)
            except (ValueError, UnicodeDecodeError) as error:
                raise DataError(
                    f"not a line of the log ({error})",
                    path=path,
                    line=number,
                    todo="use the official files, unpacked or as .gz",
                ) from None


def sessions(searches: Iterator[Search], report: Counter[str]) -> Iterator[Session]:
    """Sessions of at least two different queries; lines of a user follow each other in time."""
    queries: list[str] = []
    clicks: list[list[str]] = []
    last: Search | None = None
    for search in searches:
        if last is not None and (search.user != last.user or search.time - last.time > GAP):
            yield from _finished(queries, clicks, report)
            queries, clicks = [], []
        last = search
        if search.query in ("-", ""):
            report[PLACEHOLDER] += 1
            continue
        if not queries or queries[-1] != search.query:
            queries.append(search.query)
            clicks.append([])
        if search.clicked and search.clicked not in clicks[-1]:
            clicks[-1].append(search.clicked)
    yield from _finished(queries, clicks, report)


def _finished(queries: list[str], clicks: list[list[str]], report: Counter[str]) -> Iterator[Session]:
    if len(queries) < 2:
        report[SHORT] += len(queries)
    elif queries[-1] in queries[:-1]:
        report[REPEATED] += 1
    elif any(_PERSONAL.search(text) for text in (*queries, *(url for found in clicks for url in found))):
        report[PERSONAL] += 1
    else:
        kept = slice(-LONGEST_HISTORY - 1, None)
        yield Session(tuple(queries[kept]), tuple(map(tuple, clicks[kept])))


def row_of(session: Session, example_id: str) -> Row:
    """{example_id, history_queries: list, history_docs: list, context: list, target_query}.

    history_docs are addresses clicked before the last query (the log has no titles); context has queries and
    clicks in order.
    """
    history = list(zip(session.queries[:-1], session.clicks[:-1], strict=True))
    context = [
        line
        for query, clicked in history
        for line in (f"searched: {query}", *(f"opened: {address}" for address in clicked))
    ]
    return {
        "example_id": example_id,
        "history_queries": list(session.queries[:-1]),
        "history_docs": list(dict.fromkeys(address for _, clicked in history for address in clicked)),
        "context": context,
        "target_query": session.queries[-1],
    }


def aol(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """AOL: any subset of the ten files. Sessions with the same first query are on one side of the split."""
    check_split(split)
    name = "user-ct-test-collection-*.txt"
    patterns = (f"{name}*", f"**/{name}*")
    paths = find_files(raw_dir, "aol", patterns, "file of the AOL query log")
    chosen = {path.name.removesuffix(".gz"): path for path in paths}  # one of each, gzipped or not
    stamps = tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in chosen.values())
    rows, left_out = _read(stamps)
    if report is not None and split == "train":
        report.update(left_out)
    yield from select(rows, [group_key(row["history_queries"][0]) for row in rows], split, report)


@functools.lru_cache(maxsize=1)
def _read(stamps: tuple[tuple[str, int, int], ...]) -> tuple[list[Row], Counter[str]]:
    """Rows to split, cached by path, size and modification time: reading the whole log takes minutes.

    The log has millions of sessions and the split rule uses 10,400. They are chosen by the hash that also
    orders groups in the split, so that memory is bounded and one pass is enough.
    """
    report: Counter[str] = Counter()
    groups: dict[str, list[Row]] = {}
    held, limit, number = 0, 1 << 64, 0
    for path, _, _ in stamps:
        for session in sessions(read_log(Path(path)), report):
            number += 1
            key = group_key(session.queries[0])
            if stable_hash(key) >= limit:
                report[NOT_NEEDED] += 1
                continue
            group = groups.setdefault(key, [])
            if len(group) == MOST_PER_QUERY:
                report[COMMON] += 1
                continue
            group.append(row_of(session, f"aol/{number}"))
            held += 1
            if held > 2 * ENOUGH:
                for key in sorted(groups, key=stable_hash, reverse=True):
                    if held <= ENOUGH:
                        break
                    limit = stable_hash(key)
                    dropped = len(groups.pop(key))
                    held -= dropped
                    report[NOT_NEEDED] += dropped
    return [row for rows in groups.values() for row in rows], report


def _opened(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return path.open("rb")
