"""Stored first-stage results with their texts, as published by rank_llm, converted to a BEIR folder.

    [{"query": "how long is life cycle of flea",
      "hits": [{"content": "A flea can live ...", "qid": 264014, "docid": "5611210", "rank": 1,
                "score": 15.78}, ...]}, ...]
    [{"query": {"qid": 264014, "text": "how long is life cycle of flea"},
      "candidates": [{"docid": "5611210", "score": 15.78, "doc": {"contents": "A flea ..."}}, ...]}, ...]

``python -m seqio_tasks.sources.rank_llm RESULTS.json QRELS FOLDER`` writes corpus.jsonl (the passages among
the hits), queries.jsonl, qrels/test.tsv (all judgments, with or without their passage) and
runs/stored.txt, so that TREC Deep Learning is reranked from its stored BM25 top 100 without the 8.8 million
passages.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from seqio_tasks.base import DataError, replacing
from seqio_tasks.expected_errors import one_line as program
from seqio_tasks.metrics.ranking import is_score
from seqio_tasks.metrics.trec_files import read_qrels, write_run
from seqio_tasks.sources.common import one_line
from seqio_tasks.sources.json_stream import array_items

_TEXTS = ("contents", "text", "content", "body", "passage", "segment")


class Stored(NamedTuple):
    """queries: query id -> text; passages: doc id -> text; run: query id -> {doc id: score}, best first."""

    queries: dict[str, str]
    passages: dict[str, str]
    run: dict[str, dict[str, float]]


def read_results(path: Path | str) -> Stored:
    """The content of one results file, in either form, gzipped or not.

    A passage with two different texts is an error. A query without candidates has a text and no run.
    """
    path = Path(path)
    stored = Stored({}, {}, {})
    number = 0
    try:
        for number, record in enumerate(array_items(path), start=1):
            for query_id, query, doc_id, text, score in _candidates(record):
                if stored.queries.setdefault(query_id, query) != query:
                    raise DataError(
                        f"record {number}: query {query_id} has another text than before",
                        path=path,
                        todo="keep one of the two",
                    )
                if doc_id is None:
                    continue
                if stored.passages.setdefault(doc_id, text) != text:
                    raise DataError(
                        f"record {number}: document {doc_id} has another text than before",
                        path=path,
                        todo="keep one of the two",
                    )
                scores = stored.run.setdefault(query_id, {})
                if doc_id in scores:
                    raise DataError(
                        f"record {number}: document {doc_id} is listed twice", path=path, todo="keep one"
                    )
                scores[doc_id] = score
    except DataError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(
            f"record {number}: not a results file of rank_llm ({type(error).__name__}: {error})",
            path=path,
            todo='it must be a list of {"query", "hits": [{"content", "qid", "docid", "score"}]} or of '
            '{"query": {"qid", "text"}, "candidates": [{"docid", "score", "doc": {"contents"}}]}',
        ) from None
    return stored


def _candidates(record: Any) -> Iterator[tuple[str, str, str | None, str, float]]:
    """(query id, query, doc id, text, score) of a record; one without a document if it has no candidates."""
    if "candidates" in record:
        query_id, query = str(record["query"]["qid"]), one_line(record["query"]["text"])
        if not record["candidates"]:
            yield query_id, query, None, "", 0.0
        for found in record["candidates"]:
            doc = found["doc"]
            text = doc[next((name for name in _TEXTS if name in doc), _TEXTS[0])]
            title = doc.get("title") or ""
            yield query_id, query, str(found["docid"]), one_line(f"{title} {text}"), _finite(found["score"])
        return
    query = one_line(record["query"])
    if not record["hits"]:
        yield str(record["qid"]), query, None, "", 0.0
    for hit in record["hits"]:
        yield str(hit["qid"]), query, str(hit["docid"]), one_line(hit["content"]), _finite(hit["score"])


def _finite(score: Any) -> float:
    if not is_score(score):
        raise ValueError(f"the score is {score!r:.40}, expected a number that float32 can hold")
    return float(score)


def write_folder(results: Path | str, judgments: Path | str, folder: Path | str) -> dict[str, int]:
    """Write the BEIR folder and count its contents.

    A judged query without hits cannot be ranked and is refused: the measures would silently miss it.
    """
    folder, stored, qrels = Path(folder), read_results(results), read_qrels(judgments)
    if missing := [query_id for query_id in qrels if query_id not in stored.queries]:
        raise DataError(
            f"{len(missing)} judged queries have no hits, the first is {missing[0]}",
            path=results,
            todo="use the judgments that belong to these results",
        )
    _write_lines(
        folder / "corpus.jsonl",
        [
            json.dumps({"_id": key, "title": "", "text": text}, ensure_ascii=False)
            for key, text in stored.passages.items()
        ],
    )
    _write_lines(
        folder / "queries.jsonl",
        [json.dumps({"_id": key, "text": text}, ensure_ascii=False) for key, text in stored.queries.items()],
    )
    judged = [f"{query}\t{doc}\t{grade}" for query, grades in qrels.items() for doc, grade in grades.items()]
    _write_lines(folder / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", *judged])
    hits = write_run(folder / "runs" / "stored.txt", stored.run, "stored")
    without = len(stored.queries) - len(stored.run)
    return {
        "queries": len(stored.queries),
        "passages": len(stored.passages),
        "hits": hits,
        "judged queries": len(qrels),
        "judgments": len(judged),
        **({"queries without hits": without} if without else {}),
    }


def _write_lines(path: Path, lines: list[str]) -> None:
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path, help="retrieve_results_*.json of rank_llm")
    parser.add_argument("qrels", type=Path, help="judgments, in TREC or BEIR format")
    parser.add_argument("folder", type=Path, help="the BEIR folder to write")
    options = parser.parse_args(arguments)
    with program("rank_llm"):
        counts = write_folder(options.results, options.qrels, options.folder)
    print(f"{options.folder}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))


if __name__ == "__main__":
    main()
