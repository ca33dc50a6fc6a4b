"""Writes the packaged sample collection and trains its tokenizer: ``python scripts/make_sample.py``.

The same input gives the same bytes: run it after changing the sample texts or the prompt templates, whose
text the tokenizer is trained on as well. ``--check`` writes nothing and fails if the files on disk differ;
``--data-only`` leaves the tokenizer as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import sample_documents
import sample_documents_a
import sample_documents_b
import sample_queries_a
import sample_queries_b
import sample_ranking
import sample_released
import sample_retrieval
import sample_sessions
import sample_topics
import train_tokenizer

from seqio_tasks.base import write_bytes

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "seqio_tasks" / "sample"
TEMPLATES = ROOT / "seqio_tasks" / "templates"
VOCABULARY = 4096
LIMIT = 4_000_000

# Each function gives files of the sample: path below SAMPLE -> text.
PARTS: tuple[Callable[[], dict[str, str]], ...] = (
    sample_topics.topic_files,
    sample_topics.orcas_i,
    sample_topics.mimics,
    sample_topics.msrp,
    sample_documents.boolq,
    sample_documents.squad,
    sample_documents.climate_fever,
    sample_ranking.scifact,
    sample_ranking.nfcorpus,
    sample_queries_a.query2doc,
    sample_queries_a.codec,
    sample_queries_a.trec_cast,
    sample_queries_a.trec_web,
    sample_queries_b.qrecc,
    sample_queries_b.canard,
    sample_queries_b.gecor,
    sample_queries_b.mimics_duo,
    sample_queries_b.clariq_fkw,
    sample_queries_b.raocq,
    sample_sessions.aol,
    sample_sessions.mantis,
    sample_documents_a.fever,
    sample_documents_a.xsum,
    sample_documents_a.cnn_dm,
    sample_documents_a.wikisum,
    sample_documents_a.multi_news,
    sample_documents_b.hotpot_qa,
    sample_documents_b.ms_marco,
    sample_documents_b.trivia_qa,
    sample_documents_b.webglm_qa,
    sample_documents_b.coqa,
    sample_documents_b.quac,
    sample_retrieval.ms_marco,
    sample_retrieval.trec_covid,
    sample_retrieval.nq,
    sample_retrieval.fiqa,
    sample_retrieval.hotpot_qa,
    sample_retrieval.arguana,
    sample_retrieval.touche,
    sample_retrieval.cqadupstack,
    sample_retrieval.quora,
    sample_retrieval.dbpedia,
    sample_retrieval.scidocs,
    sample_retrieval.climate_fever,
    sample_retrieval.fever,
    sample_released.released,
)

README = """# Sample collection

Synthetic data, written by `scripts/make_sample.py` for this project: every town, plant, machine, ailment
and finding is invented, nobody real appears, and nothing is copied from the datasets whose file formats it
follows. Any likeness of a name is an accident. Do not draw conclusions about the world from it.

The folders and files have the names and the formats of the official downloads (byte order marks, CRLF line
ends and missing labels included), so the readers of `seqio_tasks.sources` treat both alike. The texts follow
simple rules: scores on them say that the machinery works, not how good a model is. No word or two-word phrase
alone tells a label. Labels follow from comparing two texts (Do they state the same value? Does the passage
state what the question asks?) or from several words together; `tests/seqio_tasks/test_sample.py` keeps the
best phrase at or below 80 % balanced accuracy. COVID-19 is real, but the towns are not, and nothing here is a
finding about it.

`tokenizer/` holds a byte-level BPE tokenizer trained on these texts and the prompt templates: ids 0 `<pad>`,
1 `<s>`, 2 `</s>`; any UTF-8 text can be encoded, and encoding adds no special token.

Licence: as the project.
"""


def data_files() -> dict[str, bytes]:
    """Every data file of the sample, path -> bytes."""
    texts: dict[str, str] = {"README.md": README}
    for part in PARTS:
        files = part()
        if twice := sorted(texts.keys() & files.keys()):
            raise SystemExit(
                f"{part.__module__}.{part.__name__} writes {twice[0]}, which another part writes"
            )
        texts.update(files)
    return {name: text.encode("utf-8") for name, text in sorted(texts.items())}


def tokenizer_files(data: dict[str, bytes]) -> dict[str, bytes]:
    """tokenizer.json and tokenizer_config.json, trained on the sample's texts and the prompt templates."""
    texts = []
    for name, content in data.items():
        if name.startswith("scifact/corpus") or "/qrels/" in name:
            continue  # the abstracts come again in beir_scifact; judgments hold no text
        texts.extend(plain_texts(name, content.decode("utf-8-sig")))
    for path in sorted(TEMPLATES.glob("*.yaml")):
        texts.extend(path.read_text(encoding="utf-8").splitlines())
    files = train_tokenizer.tokenizer_files(texts, VOCABULARY)
    return {f"tokenizer/{name}": content for name, content in files.items()}


def plain_texts(name: str, content: str) -> list[str]:
    """The strings of a data file as a prompt will show them: JSON strings without keys, tables by cell.

    Some official ``.json`` files hold one JSON value a line (WikiSum), so a file that is not one value is
    read like that.
    """
    lines = [line for line in content.split("\n") if line.strip()]
    if not name.endswith((".json", ".jsonl")):
        return [cell for line in lines for cell in line.rstrip("\r").split("\t")]
    try:
        values = [json.loads(content)]
    except json.JSONDecodeError:
        values = [json.loads(line) for line in lines]
    return [text for value in values for text in train_tokenizer.strings(value)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a file differs")
    parser.add_argument("--prune", action="store_true", help="remove files that no part writes any more")
    parser.add_argument("--data-only", action="store_true", help="leave the tokenizer as it is")
    options = parser.parse_args(arguments)
    files = data_files()
    if options.data_only:
        files |= {
            f"tokenizer/{path.name}": path.read_bytes() for path in sorted((SAMPLE / "tokenizer").iterdir())
        }
    else:
        files |= tokenizer_files(files)
    total = sum(map(len, files.values()))
    if total > LIMIT:
        raise SystemExit(f"the sample has {total:,} bytes, more than {LIMIT:,}: generate less")
    stale = {str(path.relative_to(SAMPLE)) for path in SAMPLE.rglob("*") if path.is_file()} - set(files)
    changed = [
        name
        for name, content in files.items()
        if not (SAMPLE / name).is_file() or (SAMPLE / name).read_bytes() != content
    ]
    if options.check:
        for name in [*changed, *sorted(stale)]:
            print(f"differs: {SAMPLE / name}; run `python scripts/make_sample.py`")
        return 1 if changed or stale else 0
    for name in changed:
        write_bytes(SAMPLE / name, files[name])
    for name in sorted(stale):
        if options.prune:
            (SAMPLE / name).unlink()
        else:
            print(f"written by no part, left alone (--prune removes it): {name}")
    summary = f"{len(files)} files, {total:,} bytes, {len(changed)} written"
    print(f"{summary}: {SAMPLE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
