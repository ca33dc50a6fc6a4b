"""Claims with evidence: Climate-FEVER and SciFact.

    climate-fever.jsonl   {"claim_id", "claim", "claim_label", "evidences": [{"evidence", ...} x 5]}
    claims_train.jsonl    {"id", "claim", "evidence": {doc_id: [{"sentences": [2, 5], "label": "SUPPORT"}]}}
    claims_train.csv      one line per (claim, document, rationale), as the Hugging Face export writes it
    corpus.jsonl          {"doc_id", "title", "abstract": [sentences]}     (CSV: the list as a numpy repr)

SciFact evidence is the rationale's sentences. If only the BEIR corpus (``beir_scifact``) is available, which
has no sentences, the whole abstract is the evidence; rationales of one abstract then make one row.
"""

from __future__ import annotations

import ast
import csv
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from seqio_tasks.base import DataError, MissingData
from seqio_tasks.sources.beir import beir_folder, read_corpus
from seqio_tasks.sources.common import Row, SourceReport, find_file, json_lines, one_line
from seqio_tasks.sources.splits import check_split, group_key, select, select_official

CLIMATE_LABELS = {
    "SUPPORTS": "support",
    "REFUTES": "refute",
    "DISPUTED": "disputed",
    "NOT_ENOUGH_INFO": "not enough information",
}
SCIFACT_LABELS = {"SUPPORT": "support", "CONTRADICT": "refute"}
WITHOUT_EVIDENCE = "claim without evidence"
SAME_ABSTRACT = "rationale of an abstract that is already a row (whole abstracts as evidence)"


def read_climate_fever(path: Path) -> list[Row]:
    """Rows {example_id, claim, evidences, claim_label}; the five evidence sentences are joined by a space."""
    rows: list[Row] = []
    for number, record in json_lines(path):
        try:
            label = CLIMATE_LABELS[record["claim_label"]]
            evidences = " ".join(one_line(evidence["evidence"]) for evidence in record["evidences"])
            claim, claim_id = one_line(record["claim"]), record["claim_id"]
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"not a Climate-FEVER record ({type(error).__name__}: {error})",
                path=path,
                line=number,
                todo="use the official climate-fever.jsonl",
            ) from None
        rows.append(
            {
                "example_id": f"climate_fever/{claim_id}",
                "claim": claim,
                "evidences": evidences,
                "claim_label": label,
            }
        )
    return rows


def climate_fever(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """Climate-FEVER has no official split; the rule gives a tenth each to validation and test."""
    path = find_file(raw_dir, "climate_fever", ("climate-fever.jsonl",), "Climate-FEVER file")
    rows = read_climate_fever(path)
    yield from select(rows, [group_key(row["claim"]) for row in rows], split, report)


class Rationale(NamedTuple):
    """Why an abstract supports or refutes a claim; ``label`` is "" for a claim without evidence."""

    claim_id: str
    claim: str
    doc_id: str
    label: str
    sentences: tuple[int, ...]
    line: int


def read_scifact_claims(path: Path) -> list[Rationale]:
    """All rationales in file order, from the official JSON lines or the CSV export."""
    return list(_csv_claims(path) if path.suffix == ".csv" else _jsonl_claims(path))


def _jsonl_claims(path: Path) -> Iterator[Rationale]:
    for number, record in json_lines(path):
        try:
            claim_id, claim = str(record["id"]), one_line(record["claim"])
            evidence = record.get("evidence") or {}
            for doc_id, rationales in evidence.items():
                for rationale in rationales:
                    label = SCIFACT_LABELS[rationale["label"]]
                    yield Rationale(
                        claim_id, claim, str(doc_id), label, tuple(rationale["sentences"]), number
                    )
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"not a SciFact claim ({type(error).__name__}: {error})",
                path=path,
                line=number,
                todo="use the official claims files",
            ) from None
        if not evidence:
            yield Rationale(claim_id, claim, "", "", (), number)


def _csv_claims(path: Path) -> Iterator[Rationale]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        for cells in reader:
            label = cells.get("evidence_label", "")
            if not cells.get("claim") or (label and label not in SCIFACT_LABELS):
                raise DataError(
                    f"claim {cells.get('claim')!r} with label {label!r}",
                    path=path,
                    line=reader.line_num,
                    todo="use the CSV export of the SciFact claims",
                )
            yield Rationale(
                cells["id"],
                one_line(cells["claim"]),
                cells["evidence_doc_id"],
                SCIFACT_LABELS.get(label, ""),
                tuple(int(index) for index in re.findall(r"\d+", cells["evidence_sentences"])),
                reader.line_num,
            )


def string_list(text: str) -> list[str]:
    """The strings of a numpy repr: adjacent literals without commas, which Python itself would join.

    >>> string_list("['One sentence.' 'It\\\\'s two.'\\n \\"Three.\\"]")
    ['One sentence.', "It's two.", 'Three.']
    """
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [ast.literal_eval(token.string) for token in tokens if token.type == tokenize.STRING]


def read_scifact_corpus(path: Path) -> dict[str, list[str]]:
    """doc_id -> sentences of the abstract."""
    if path.suffix != ".csv":
        return {str(record["doc_id"]): record["abstract"] for _, record in json_lines(path)}
    csv.field_size_limit(1 << 24)
    with path.open(encoding="utf-8-sig", newline="") as file:
        return {cells["doc_id"]: string_list(cells["abstract"]) for cells in csv.DictReader(file)}


def scifact(raw_dir: Path, split: str, report: SourceReport | None = None) -> Iterator[Row]:
    """SciFact: does the evidence support or refute the claim?

    Rows {example_id, claim, evidence, evidence_label}.

    The official dev claims are the test set (the official test claims have no labels), as in BEIR.
    """
    check_split(split)
    evidence = _Evidence(Path(raw_dir))
    test = _scifact_claims(raw_dir, ("claims_dev.jsonl", "claims_validation.csv"))
    if split == "test":
        yield from evidence.rows(*test, "dev", report)
        return
    train = list(evidence.rows(*_scifact_claims(raw_dir, ("claims_train.jsonl", "claims_train.csv")), "train",
                               report if split == "train" else None))  # fmt: skip
    # Claims of the dev file without evidence are not test rows here, but they are BEIR test queries.
    tested = {group_key(rationale.claim) for rationale in test[1]}
    yield from select_official(train, [group_key(row["claim"]) for row in train], tested, split, report)


def _scifact_claims(raw_dir: Path | str, names: tuple[str, ...]) -> tuple[Path, list[Rationale]]:
    patterns = tuple(pattern for name in names for pattern in (name, f"data/{name}"))
    path = find_file(raw_dir, "scifact", patterns, f"SciFact claims file {names[0]}")
    return path, read_scifact_claims(path)


class _Evidence:
    """Looks up the evidence text: rationale sentences with the SciFact corpus, else BEIR abstracts."""

    def __init__(self, raw_dir: Path) -> None:
        try:
            names = ("corpus.jsonl", "data/corpus.jsonl", "corpus_train.csv", "corpus.csv")
            self.sentences = read_scifact_corpus(find_file(raw_dir, "scifact", names, "SciFact corpus"))
            self.abstracts: dict[str, str] = {}
        except MissingData:
            self.sentences = {}
            corpus = read_corpus(beir_folder(raw_dir, "scifact"))
            self.abstracts = {doc_id: document.text for doc_id, document in corpus.items()}

    def rows(
        self, path: Path, rationales: list[Rationale], name: str, report: SourceReport | None
    ) -> Iterator[Row]:
        seen: dict[tuple[str, ...], int] = {}
        for rationale in rationales:
            if not rationale.label:
                if report is not None:
                    report[WITHOUT_EVIDENCE] += 1
                continue
            key = (rationale.claim_id, rationale.doc_id, rationale.label)
            seen[key] = seen.get(key, 0) + 1
            if self.abstracts and seen[key] > 1:
                if report is not None:
                    report[SAME_ABSTRACT] += 1
                continue
            yield {
                "example_id": f"scifact/{name}/{rationale.claim_id}/{rationale.doc_id}/{seen[key]}",
                "claim": rationale.claim,
                "evidence": self._text(rationale, path),
                "evidence_label": rationale.label,
            }

    def _text(self, rationale: Rationale, path: Path) -> str:
        try:
            if self.abstracts:
                return self.abstracts[rationale.doc_id]
            abstract = self.sentences[rationale.doc_id]
            return one_line(" ".join(abstract[index] for index in rationale.sentences))
        except (KeyError, IndexError):
            raise DataError(
                f"claim {rationale.claim_id} cites document {rationale.doc_id}, sentences "
                f"{list(rationale.sentences)}, which the corpus lacks",
                path=path,
                line=rationale.line,
                todo="use corpus and claims of the same release",
            ) from None
