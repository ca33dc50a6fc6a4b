"""Tab-separated sets: MSRP (paraphrases), ORCAS-I (query intents), MIMICS (clarification panes).

None of them uses quoting: a double quote is an ordinary character.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seqio_tasks.base import DataError
from seqio_tasks.sources.common import Row, SourceReport, find_file, tsv_rows
from seqio_tasks.sources.splits import check_split, group_key, select, select_official

INTENTS = ("factual", "abstain", "instrumental", "transactional", "navigational")
NO_GOOD_OPTION = "no clarification option is labelled good"
NO_QUERY = "empty query"


def read_msrp(path: Path, name: str) -> list[Row]:
    """Rows {example_id, sentence1, sentence2, answer} of msr_paraphrase_train.txt or _test.txt.

    The files have a byte order mark, CRLF line ends and unbalanced quotes.
    """
    rows: list[Row] = []
    columns = ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String")
    for number, cells in tsv_rows(path, columns):
        quality, _, _, first, second = (cells[column] for column in columns)
        if quality not in ("0", "1") or not first or not second:
            raise DataError(
                f"Quality {quality!r} with sentences of {len(first)} and {len(second)} characters",
                path=path,
                line=number,
                todo="download the file again",
            )
        rows.append(
            {
                "example_id": f"msrp/{name}/{cells['#1 ID']}-{cells['#2 ID']}",
                "sentence1": first,
                "sentence2": second,
                "answer": "yes" if quality == "1" else "no",
            }
        )
    return rows


def msrp(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """Microsoft Research Paraphrase Corpus: do two sentences mean the same? Official test set."""
    check_split(split)
    test = read_msrp(find_file(raw_dir, "msrp", ("msr_paraphrase_test.txt",), "MSRP test file"), "test")
    if split == "test":
        yield from test
        return
    train = read_msrp(find_file(raw_dir, "msrp", ("msr_paraphrase_train.txt",), "MSRP train file"), "train")

    def key(row: Row) -> str:
        return group_key(*sorted((row["sentence1"], row["sentence2"])))

    yield from select_official(train, [key(row) for row in train], {key(row) for row in test}, split, report)


def read_orcas_i(path: Path) -> list[Row]:
    """Rows {example_id, title, query_type} of the gold file: qid, query, did, url, label_manual."""
    rows: list[Row] = []
    for number, cells in tsv_rows(path, ("qid", "query", "label_manual")):
        label = cells["label_manual"].lower()
        if label not in INTENTS:
            raise DataError(
                f"label {cells['label_manual']!r} is none of {', '.join(INTENTS)}",
                path=path,
                line=number,
                todo="use the gold file (ORCAS-I-gold.tsv), not the weakly labelled ones",
            )
        rows.append({"example_id": f"orcas_i/{cells['qid']}", "title": cells["query"], "query_type": label})
    return rows


def orcas_i(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """ORCAS-I gold: the intent of a web query. No official split; equal queries stay on one side."""
    path = find_file(raw_dir, "orcas_i", ("ORCAS-I-gold.tsv", "orcas_test.tsv"), "ORCAS-I gold file")
    rows = read_orcas_i(path)
    yield from _with_query(
        select(rows, [group_key(row["title"]) for row in rows], split, report), "title", report
    )


def read_mimics(path: Path, report: SourceReport | None = None) -> list[Row]:
    """Rows {example_id, query, clarification: list of options labelled 2 (good)} of MIMICS-Manual.tsv.

    A pane has up to five options; option and label are empty together. Panes without a good option are left
    out and counted: 43 of 2,832 in the official file.
    """
    rows: list[Row] = []
    for number, cells in tsv_rows(path, ("query", "option_1", "option_label_1")):
        options = []
        for index in range(1, 6):
            option, label = cells.get(f"option_{index}", ""), cells.get(f"option_label_{index}", "")
            if label not in (("0", "1", "2") if option else ("",)):
                raise DataError(
                    f"option {index} is {option!r} with label {label!r}",
                    path=path,
                    line=number,
                    todo="use the official MIMICS-Manual.tsv",
                )
            if label == "2":
                options.append(option)
        if options:
            rows.append(
                {"example_id": f"mimics/{number - 1}", "query": cells["query"], "clarification": options}
            )
        elif report is not None:
            report[NO_GOOD_OPTION] += 1
    return rows


def mimics(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """MIMICS-Manual: query -> the options of its clarification pane. Panes of one query stay together."""
    path = find_file(raw_dir, "mimics", ("MIMICS-Manual.tsv",), "MIMICS-Manual file")
    rows = read_mimics(path, report if split == "train" else None)
    yield from _with_query(
        select(rows, [group_key(row["query"]) for row in rows], split, report), "query", report
    )


def _with_query(rows: list[Row], field: str, report: SourceReport | None) -> Iterator[Row]:
    for row in rows:
        if row[field]:
            yield row
        elif report is not None:
            report[NO_QUERY] += 1
