"""Stored first-stage results with their texts, as published by rank_llm, converted to a BEIR folder.

    [{"query": "how long is life cycle of flea",
      "hits": [{"content": "A flea can live ...", "qid": 264014, "docid": "5611210", "rank": 1,
                "score": 15.78}, ...]}, ...]

``python -m seqio_tasks.sources.rank_llm RESULTS.json QRELS FOLDER`` writes corpus.jsonl (the passages among
the hits), queries.jsonl, qrels/test.tsv (all judgments, with or without their passage) and
runs/stored.txt, so that TREC Deep Learning is reranked from its stored BM25 top 100 without the 8.8 million
passages.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import NamedTuple

from seqio_tasks.base import DataError, replacing
from seqio_tasks.metrics.trec_files import read_qrels, write_run
from seqio_tasks.sources.common import one_line


class Stored(NamedTuple):
    """queries: query id -> text; passages: doc id -> text; run: query id -> {doc id: score}, best first."""

    queries: dict[str, str]
    passages: dict[str, str]
    run: dict[str, dict[str, float]]


def read_results(path: Path | str) -> Stored:
    """The content of one results file. A passage with two different texts is an error."""
    path = Path(path)
    stored = Stored({}, {}, {})
    try:
        records = json.loads(path.read_text(encoding="utf-8-sig"))
        for number, record in enumerate(records, start=1):
            for hit in record["hits"]:
                query_id, doc_id = str(hit["qid"]), str(hit["docid"])
                stored.queries.setdefault(query_id, one_line(record["query"]))
                text = one_line(hit["content"])
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
                scores[doc_id] = float(hit["score"])
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"not a results file of rank_llm ({type(error).__name__}: {error})",
            path=path,
            todo='it must be a list of {"query", "hits": [{"content", "qid", "docid", "score"}]}',
        ) from None
    return stored


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
    return {
        "queries": len(stored.queries),
        "passages": len(stored.passages),
        "hits": hits,
        "judged queries": len(qrels),
        "judgments": len(judged),
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
    counts = write_folder(options.results, options.qrels, options.folder)
    print(f"{options.folder}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))


if __name__ == "__main__":
    main()
