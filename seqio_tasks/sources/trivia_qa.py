"""TriviaQA: questions with many accepted answers, and documents that contain one of them.

    qa/{wikipedia,web}-{train,dev}.json          {"Data": [{"Question", "QuestionId", "Answer": {"Value",
                                                 "Aliases", ...}, "EntityPages": [{"Filename"}],
                                                 "SearchResults": [{"Filename"}]}], ...}
    evidence/{wikipedia,web}/<Filename>          the documents
    unfiltered-web-{train,dev}.json              the same, without documents
    topics.dpr.trivia.test.txt                   question <TAB> Python list of answers (DPR's copy of the
                                                 unfiltered dev set)

The two files of a split share most questions and are joined by QuestionId. The first format found, in this
order, is read. A row's context is the first document, encyclopedia pages before search results, that mentions
an accepted answer in its beginning (longer ones do not fit into a prompt); without such a document it is
empty and the question is asked without context.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seqio_tasks.base import DataError, MissingData
from seqio_tasks.sources.common import Row, SourceReport, find_file, find_files, lines, one_line
from seqio_tasks.sources.json_stream import array_items
from seqio_tasks.sources.splits import check_split, group_key, select_official

NO_DOCUMENT_FILE = "evidence document that is not in the folder"
NO_CONTEXT = "asked without context (no document mentions an answer in its beginning)"
CHARACTERS = 8_000
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_LITERAL = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_STRING = re.compile(_LITERAL)
_STRING_LIST = re.compile(rf"\[\s*(?:(?:{_LITERAL})\s*(?:,\s*(?:{_LITERAL})\s*)*,?\s*)?\]")
_READING = ("qa/{}-{}.json", "triviaqa-rc/qa/{}-{}.json")
_UNFILTERED = ("unfiltered-web-{}.json", "triviaqa-unfiltered/unfiltered-web-{}.json")


def read_questions(paths: list[Path], name: str) -> list[Row]:
    """Rows {example_id, question, answer, references, documents}, one per question.

    documents: file names in the evidence folder, encyclopedia pages first.
    """
    rows: dict[str, Row] = {}
    for path in paths:
        for number, entry in enumerate(array_items(path, "Data")):
            try:
                answer = entry["Answer"]
                texts = [one_line(text) for text in (answer["Value"], *answer.get("Aliases", ()))]
                question_id, question = entry["QuestionId"], one_line(entry["Question"])
                documents = [f"wikipedia/{file}" for file in _file_names(entry, "EntityPages")]
                documents += [f"web/{file}" for file in _file_names(entry, "SearchResults")]
            except (KeyError, TypeError, AttributeError) as error:
                raise DataError(
                    f"question {number} is not of TriviaQA's form ({type(error).__name__}: {error})",
                    path=path,
                    todo="use the official files with answers (train and dev)",
                ) from None
            row = rows.setdefault(
                question_id,
                {
                    "example_id": f"trivia_qa/{name}/{question_id}",
                    "question": question,
                    "answer": texts[0],
                    "references": list(dict.fromkeys(filter(None, texts))),
                    "documents": [],
                },
            )
            joined = dict.fromkeys((*row["documents"], *documents))
            row["documents"] = sorted(joined, key=lambda file: file.startswith("web/"))
    return list(rows.values())


def _file_names(entry: dict[str, Any], key: str) -> list[str]:
    return [page["Filename"] for page in entry.get(key) or () if page.get("Filename")]


def unquoted(text: str) -> str:
    """A table cell without its quoting, which some of DPR's lines have twice.

    >>> unquoted('"Who said ""no""?"')
    'Who said "no"?'
    """
    while len(text) > 1 and _QUOTED.fullmatch(text):
        text = text[1:-1].replace('""', '"')
    return text


def string_list(text: str) -> list[str]:
    r"""The strings of a list as printed by Python; an empty list for any other text.

    Parsed by a pattern: nothing is evaluated, and `ast.literal_eval` has failed in a busy process of Python
    3.11.7 with "AST constructor recursion depth mismatch".

    >>> string_list("['one', \"don't\", 'tab\\t', 'Łódź']")
    ['one', "don't", 'tab\t', 'Łódź']
    >>> string_list("[1, 2]"), string_list("['open")
    ([], [])
    """
    if not _STRING_LIST.fullmatch(text):
        return []
    return [_unescaped(match[0][1:-1]) for match in _STRING.finditer(text)]


def _unescaped(text: str) -> str:
    """Resolve backslash escapes of a Python string; all other characters stay as they are."""
    if "\\" not in text:
        return text
    return text.encode("latin-1", "backslashreplace").decode("unicode_escape")


def read_dpr(path: Path) -> list[Row]:
    """Rows of DPR's lines."""
    rows: list[Row] = []
    for number, text in lines(path):
        question, _, answers = text.partition("\t")
        texts = [one_line(unquoted(answer)) for answer in string_list(unquoted(answers.strip()))]
        references = list(dict.fromkeys(filter(None, texts)))
        question = one_line(unquoted(question.strip()))
        if not question or not references:
            raise DataError(
                "not a question, a tab and a Python list of answers",
                path=path,
                line=number,
                todo="use topics.dpr.trivia.test.txt of Anserini",
            )
        rows.append(
            {
                "example_id": f"trivia_qa/dpr/{number}",
                "question": question,
                "answer": references[0],
                "references": references,
                "documents": [],
            }
        )
    return rows


def with_context(row: Row, evidence: Path, report: SourceReport | None = None) -> Row:
    """The row with `context` instead of `documents`."""
    answers = [text.casefold() for text in row["references"]]
    context = ""
    for name in row["documents"]:
        path = evidence / name
        if not path.is_file():
            if report is not None:
                report[NO_DOCUMENT_FILE] += 1
            continue
        text = one_line(path.read_text(encoding="utf-8", errors="replace")[: 2 * CHARACTERS])[:CHARACTERS]
        if any(answer in text.casefold() for answer in answers):
            context = text
            break
    if not context and row["documents"] and report is not None:
        report[NO_CONTEXT] += 1
    return {name: value for name, value in row.items() if name != "documents"} | {"context": context}


def trivia_qa(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """Rows {example_id, question, context, answer, references}; context may be empty.

    The official dev set is the test set here: the official test set has no answers.
    """
    check_split(split)
    rows, evidence = _read(raw_dir, "dev")
    if split != "test":
        tested = {group_key(row["question"]) for row in rows}
        train, evidence = _read(raw_dir, "train")
        rows = select_official(train, [group_key(row["question"]) for row in train], tested, split, report)
    yield from (with_context(row, evidence, report) for row in rows)


def _read(raw_dir: Path, name: str) -> tuple[list[Row], Path]:
    """Questions of the first format found, and the folders of their documents."""
    base = Path(raw_dir) / "trivia_qa"
    for pattern in _READING:
        paths = [base / pattern.format(kind, name) for kind in ("wikipedia", "web")]
        if here := [path for path in paths if path.is_file()]:
            return read_questions(here, name), here[0].parent.parent / "evidence"
    patterns = tuple(pattern.format(name) for pattern in _UNFILTERED)
    try:
        path = find_file(raw_dir, "trivia_qa", patterns, f"TriviaQA {name} file")
    except MissingData:
        if name != "dev":
            raise
        what = "TriviaQA dev file (qa/web-dev.json)"
        return read_dpr(find_files(raw_dir, "trivia_qa", ("topics.dpr.trivia.test.txt",), what)[0]), base
    return read_questions([path], name), base
