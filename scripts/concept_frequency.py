"""How often a text corpus mentions information retrieval: its terms per million words.

    python scripts/concept_frequency.py --input FOLDER --output terms.csv [--reference FOLDER]
    python scripts/concept_frequency.py --input gs://b/c4/*.json.gz --output gs://b/terms.csv \\
        --runner=DataflowRunner --project=P --region=R --temp_location=gs://b/tmp   # or Flink, Spark

INTERS assumes that concepts of search are rare in the texts that language models are trained on; this counts
them. `--input` and `--reference` are a file, a pattern, or a folder, in which it reads

    *.jsonl, *.jsonl.gz, *.json.gz   one record per line, of which the text fields count (--fields)
    *.txt, *.txt.gz                  one text per line; add other suffixes with --suffixes .story
    a BEIR folder                    only its corpus.jsonl, in the folder itself or one below

A word is a run of letters and digits; case, plural and hyphens are folded. A term counts wherever it occurs,
also within a longer one ("query" in "query expansion"); the row "(any term)" counts overlapping terms once,
the longest first. A term that is split across two lines of a .txt file is not found.

The output (.csv, or .json, which another run takes as its --reference) is sorted by frequency. It has counts,
rates per million words and, against the reference, log2 of the ratio of the two rates (half an occurrence
added to both counts) and the log-likelihood G2. G2 above 10.83 would mean p < 0.001 if words were
independent; they are not, so use it to order terms.

`--runner=local` (the default) is a plain loop and needs only Python; every other runner is Apache Beam
(`pip install "inters-jax[beam]"`, in an environment of its own) and writes the same bytes. Arguments that the
script does not know are passed to Beam.
"""

from __future__ import annotations

import argparse
import csv
import glob
import gzip
import io
import json
import math
import os
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TERMS = Path(__file__).resolve().parent / "concept_terms.txt"
FIELDS = ("title", "text", "contents", "content", "body")
ANY = "(any term)"
WORDS, TEXTS = "\0words", "\0texts"  # keys of the totals beside the terms
_RECORDS = (".jsonl", ".jsonl.gz", ".json.gz")
_PLAIN = (".txt", ".txt.gz")
_WORD = re.compile(r"[^\W_]+")
_KEEPS_S = ("ss", "us", "is")
_ES = ("ches", "shes", "sses", "xes", "zzes")

Words = tuple[str, ...]


class CountError(ValueError):
    """Input that cannot be counted. The message says what, where and what to do."""


def fold(word: str) -> str:
    """A word without case and plural.

    >>> [fold(word) for word in ("Queries", "Indexes", "passages", "analysis", "corpus", "BM25", "his")]
    ['query', 'index', 'passage', 'analysis', 'corpus', 'bm25', 'his']
    """
    word = word.casefold()
    if len(word) < 4 or not word.endswith("s") or word.endswith(_KEEPS_S):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if word.endswith(_ES) else word[:-1]


def words_of(text: str) -> list[str]:
    """The folded words of a text, in order.

    >>> words_of("Re-ranking the user's queries")
    ['re', 'ranking', 'the', 'user', 's', 'query']
    """
    return [fold(word) for word in _WORD.findall(unicodedata.normalize("NFKC", text))]


@dataclass(frozen=True)
class Terms:
    """The terms to count.

    sections: term -> its section, in file order.
    beginnings: first word -> (words, term) of the spellings that begin with it, longest first.
    """

    sections: Mapping[str, str]
    beginnings: Mapping[str, tuple[tuple[Words, str], ...]]

    @classmethod
    def read(cls, path: Path) -> Terms:
        """Read a file in the format of `concept_terms.txt`.

        Raises:
          CountError: two terms share a spelling, or there is no term.
        """
        sections: dict[str, str] = {}
        spelled: dict[Words, str] = {}
        section = ""
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            line = line.partition("#")[0].strip()
            if line.startswith("["):
                section = line.strip("[]").strip()
                continue
            spellings = [part.strip() for part in line.split("|") if part.strip()]
            for spelling in spellings:
                key, term = tuple(words_of(spelling)), spellings[0]
                if not key or spelled.get(key, term) != term:
                    of = f"already belongs to {spelled[key]!r}" if key else "has no word"
                    raise CountError(f"{path}:{number}: {spelling!r} {of}; keep one of the two lines")
                spelled[key] = term
                sections.setdefault(term, section)
        if not sections:
            raise CountError(f"{path}: no term; write one per line")
        beginnings: dict[str, list[tuple[Words, str]]] = {}
        for key, term in sorted(spelled.items(), key=lambda item: -len(item[0])):
            beginnings.setdefault(key[0], []).append((key, term))
        return cls(sections, {word: tuple(found) for word, found in beginnings.items()})


def count_text(text: str, terms: Terms, counts: Counter[str]) -> None:
    """Add the words and terms of one text to `counts`.

    >>> counts = Counter()
    >>> count_text("Query expansion of queries", Terms.read(TERMS), counts)
    >>> counts["query"], counts["query expansion"], counts[ANY], counts[WORDS]
    (2, 1, 2, 4)
    """
    words = words_of(text)
    if not words:
        return
    counts[TEXTS] += 1
    counts[WORDS] += len(words)
    covered = 0
    for place, word in enumerate(words):
        found = terms.beginnings.get(word)
        if found is None:
            continue
        longest = 0
        for key, term in found:
            if len(key) == 1 or tuple(words[place : place + len(key)]) == key:
                counts[term] += 1
                longest = max(longest, len(key))
        if longest and place >= covered:
            counts[ANY] += 1
            covered = place + longest


def text_of(line: str, name: str, fields: Sequence[str], number: int = 0) -> str:
    """The text in one line of a file: the line itself, or the text fields of its JSON record."""
    if not name.endswith(_RECORDS) or not line.strip():
        return line
    where = f"{name}:{number}" if number else name
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise CountError(
            f"{where}: not a JSON line ({error.msg}): {line[:80]!r}; one record per line"
        ) from None
    found = [record[field] for field in fields if isinstance(record, dict) and record.get(field)]
    if isinstance(record, str):
        found = [record]
    elif not isinstance(record, dict) or not any(field in record for field in fields):
        raise CountError(f"{where}: none of the fields {', '.join(fields)}; name yours with --fields")
    return "\n".join(text for text in found if isinstance(text, str))


def files_of(place: str, suffixes: Sequence[str]) -> list[str]:
    """The files to read, sorted: those of a folder or a pattern, or the file itself."""
    folder = Path(place)
    if folder.is_dir():
        corpora = [*folder.glob("corpus.jsonl*"), *folder.glob("*/corpus.jsonl*")]
        wanted = (*_RECORDS, *suffixes)
        found = corpora or [path for path in folder.rglob("*") if path.name.endswith(wanted)]
        names = sorted(str(path) for path in found if path.is_file())
    else:
        names = [place] if folder.is_file() else sorted(glob.glob(place, recursive=True))  # noqa: PTH207
    if not names:
        raise CountError(f"{place}: no file to read; a folder with {', '.join((*_RECORDS, *suffixes))}")
    return names


def lines_of(name: str, fields: Sequence[str]) -> Iterator[str]:
    """The texts of one file, one per line."""
    opening = gzip.open if name.endswith(".gz") else open
    with opening(name, "rt", encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, 1):
                yield text_of(line, name, fields, number)
        except UnicodeDecodeError as error:
            raise CountError(f"{name}: not UTF-8 ({error.reason}); convert it") from None


def count_files(names: Iterable[str], terms: Terms, fields: Sequence[str]) -> Counter[str]:
    """The counts of all files."""
    counts: Counter[str] = Counter()
    for name in names:
        for text in lines_of(name, fields):
            count_text(text, terms, counts)
    return counts


def log_ratio(count: int, words: int, other: int, other_words: int) -> float:
    """log2 of the ratio of two rates, half an occurrence added to both counts so that neither is zero.

    >>> round(log_ratio(8, 1000, 1, 1000), 3), log_ratio(0, 10, 0, 10)
    (2.503, 0.0)
    """
    return math.log2((count + 0.5) / (words + 0.5)) - math.log2((other + 0.5) / (other_words + 0.5))


def log_likelihood(count: int, words: int, other: int, other_words: int) -> float:
    """Twice the log-likelihood ratio of a separate rate per corpus against one shared rate."""
    expected = (count + other) / (words + other_words)
    parts = ((count, expected * words), (other, expected * other_words))
    return 2 * sum(seen * math.log(seen / wanted) for seen, wanted in parts if seen)


def rows_of(
    counts: Mapping[str, int], reference: Mapping[str, int] | None, terms: Terms
) -> list[dict[str, Any]]:
    """The row of any term, then one row per term, most frequent first."""
    words = counts.get(WORDS, 0)
    if not words:
        raise CountError("the input has no words")
    if reference is not None and not reference.get(WORDS, 0):
        raise CountError("the reference has no words")

    def row(term: str, section: str) -> dict[str, Any]:
        count = counts.get(term, 0)
        found = {
            "term": term,
            "section": section,
            "count": count,
            "per_million": round(count / words * 1e6, 4),
        }
        if reference is not None:
            other, total = reference.get(term, 0), reference[WORDS]
            found["reference_count"] = other
            found["reference_per_million"] = round(other / total * 1e6, 4)
            found["log2_ratio"] = round(log_ratio(count, words, other, total), 4)
            found["g2"] = round(log_likelihood(count, words, other, total), 2)
        return found

    rows = [row(term, section) for term, section in terms.sections.items()]
    rows.sort(key=lambda found: (-found["count"], found["term"]))
    return [row(ANY, ""), *rows]


def document(
    counts: Mapping[str, int], reference: Mapping[str, int] | None, terms: Terms, *, as_json: bool
) -> str:
    """The output file as text."""
    rows = rows_of(counts, reference, terms)
    if as_json:
        sizes = {"words": counts[WORDS], "texts": counts[TEXTS]}
        if reference is not None:
            sizes |= {"reference_words": reference[WORDS], "reference_texts": reference.get(TEXTS, 0)}
        return json.dumps({**sizes, "terms": rows}, indent=1, ensure_ascii=False) + "\n"
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def read_counts(path: Path) -> dict[str, int]:
    """The counts in the JSON output of a previous run."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        counts = {row["term"]: int(row["count"]) for row in found["terms"]}
        return counts | {WORDS: int(found["words"]), TEXTS: int(found["texts"])}
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise CountError(
            f"{path}: not a JSON output of this script ({error}); give one, or a corpus"
        ) from None


def run_local(options: argparse.Namespace, terms: Terms) -> str:
    """Count in this process and write the output; its text."""
    suffixes = (*_PLAIN, *options.suffixes)
    counts = count_files(files_of(options.input, suffixes), terms, options.fields)
    reference: Mapping[str, int] | None = None
    if options.reference.endswith(".json") and Path(options.reference).is_file():
        reference = read_counts(Path(options.reference))
    elif options.reference:
        reference = count_files(files_of(options.reference, suffixes), terms, options.fields)
    text = document(counts, reference, terms, as_json=options.output.endswith(".json"))
    target = Path(options.output)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8", newline="")
    partial.replace(target)
    return text


def run_beam(options: argparse.Namespace, terms: Terms, arguments: list[str]) -> None:
    """The same as a Beam pipeline: lines are counted where they are read, and only counts are moved."""
    try:
        import apache_beam as beam
        from apache_beam.io.filesystems import FileSystems
        from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions
    except ImportError as error:
        raise CountError(
            f'runner {options.runner} needs Beam ({error}): pip install "inters-jax[beam]"'
        ) from None

    suffixes, fields = (*_PLAIN, *options.suffixes), tuple(options.fields)
    as_json = options.output.endswith(".json")

    class Count(beam.CombineFn):
        """Combines texts into counts."""

        def create_accumulator(self) -> Counter[str]:
            return Counter()

        def add_input(self, counts: Counter[str], line: tuple[str, str]) -> Counter[str]:
            count_text(text_of(line[1], line[0], fields), terms, counts)
            return counts

        def merge_accumulators(self, several: Iterable[Counter[str]]) -> Counter[str]:
            whole: Counter[str] = Counter()
            for counts in several:
                whole.update(counts)
            return whole

        def extract_output(self, counts: Counter[str]) -> dict[str, int]:
            return dict(counts)

    def matched(place: str) -> list[str]:
        if "://" not in place:
            return files_of(place, suffixes)
        names = sorted(found.path for match in FileSystems.match([place]) for found in match.metadata_list)
        if not names:
            raise CountError(f"{place}: no file; give a pattern such as {place.rstrip('/')}/*.jsonl.gz")
        return names

    def counted(pipeline: Any, label: str, place: str) -> Any:
        return (
            pipeline
            | f"{label} files" >> beam.Create(matched(place))
            | f"{label} lines" >> beam.io.ReadAllFromText(with_filename=True)
            | f"{label} counts" >> beam.CombineGlobally(Count())
        )

    report: Callable[..., str] = document
    setup = PipelineOptions([f"--runner={options.runner}", *arguments])
    setup.view_as(SetupOptions).save_main_session = True
    with beam.Pipeline(options=setup) as pipeline:
        counts = counted(pipeline, "input", options.input)
        side: Any = None
        if options.reference.endswith(".json") and Path(options.reference).is_file():
            side = read_counts(Path(options.reference))
        elif options.reference:
            side = beam.pvalue.AsSingleton(counted(pipeline, "reference", options.reference))
        (
            counts
            | "document" >> beam.Map(report, side, terms, as_json=as_json)
            | "without the last newline" >> beam.Map(lambda text: text.removesuffix("\n"))
            | "output" >> beam.io.WriteToText(options.output, shard_name_template="", num_shards=1)
        )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", required=True, help="corpus: folder, file or pattern")
    parser.add_argument("--reference", default="", help="another corpus, or the .json of a previous run")
    parser.add_argument("--output", required=True, help="a .csv or .json file")
    parser.add_argument("--terms", type=Path, default=TERMS, help=f"default: {TERMS.name} beside this script")
    parser.add_argument("--fields", nargs="+", default=list(FIELDS), help="text fields of JSON records")
    parser.add_argument("--suffixes", nargs="+", default=[], help="of more plain text files, such as .story")
    parser.add_argument("--runner", default="local", help="local, DirectRunner, FlinkRunner, ...")
    options, rest = parser.parse_known_args(arguments)
    if not options.output.endswith((".csv", ".json")):
        parser.error("--output must end with .csv or .json")
    if options.runner == "local" and rest:
        parser.error(f"unknown arguments {' '.join(rest)} (only Beam runners take more)")
    try:
        terms = Terms.read(options.terms)
        if options.runner != "local":
            run_beam(options, terms, rest)
        else:
            print("\n".join(run_local(options, terms).splitlines()[:12]))
    except (CountError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
