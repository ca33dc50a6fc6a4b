"""The differences between retrieval collections, as one table for the reader of BEIR folders.

The data of a collection is in ``raw_dir/beir_<dataset>``, either directly or in the folder that the official
zip creates there. The queries of training, validation and test:

    train, dev and test judged      as published
    train and test                  validation from the training queries, by the rule of `splits`
    dev and test                    training and validation from the dev queries, by the rule
    test only                       all three from the test queries, by the rule

At most 10,000 queries are for training, and no query text is on two sides. The whole official test set of a
"test only" collection (EVALUATION_SETS, tasks `inters_ood_<dataset>_rerank`, and `inters_jax.rerank`) is
therefore held out only from a model trained without the collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from seqio_tasks.base import MissingData
from seqio_tasks.sources import beir
from seqio_tasks.sources.beir import Part, Qrels, SplitFiles
from seqio_tasks.sources.common import SourceReport, plain_or_gz
from seqio_tasks.sources.mined import Mined, read_mined

FORUMS = (
    "android", "english", "gaming", "gis", "mathematica", "physics", "programmers", "stats", "tex", "unix",
    "webmasters", "wordpress",
)  # fmt: skip

_PUBLISHED = SplitFiles()
_TEST_ONLY = SplitFiles(train="", validation="")
_DEV_AND_TEST = SplitFiles(train="dev", validation="")


@dataclass(frozen=True)
class RetrievalSet:
    """One collection.

    unzipped:     name of the official zip and of the folder it creates
    forums:       folders inside, each a collection of its own with its own ids; measures are averaged over
                  them
    own_document: queries and documents share their ids, so a document with the id of the query is the query
                  itself and not a candidate
    key_field:    metadata field by which queries are divided, if it is not their text
    grades:       (published grade, grade used), where grades do not mean "higher is better, above 0 is
                  relevant"; other grades are unchanged
    """

    dataset: str
    unzipped: str
    files: SplitFiles = _PUBLISHED
    forums: tuple[str, ...] = ()
    own_document: bool = False
    key_field: str = ""
    grades: tuple[tuple[int, int], ...] = ()

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The prefix of the ids of each forum; empty for a collection without forums."""
        return tuple(f"{forum}/" for forum in self.forums)

    def parts(self, raw_dir: Path | str) -> tuple[Part, ...]:
        """All BEIR folders of the collection."""
        if not self.forums:
            return (Part(beir.beir_folder(raw_dir, self.dataset, self.unzipped)),)
        outer = Path(raw_dir) / f"beir_{self.dataset}"
        base = next((f for f in (outer, outer / self.unzipped) if (f / self.forums[0]).is_dir()), outer)
        for forum in self.forums:
            if not any((base / forum / name).is_file() for name in beir.CORPUS_FILES):
                raise MissingData(
                    "no corpus.jsonl here",
                    path=base / forum,
                    todo=beir.todo_unpack(outer, self.unzipped),
                )
        return tuple(Part(base / forum, f"{forum}/") for forum in self.forums)

    def qrels(self, raw_dir: Path | str, split: str, report: SourceReport | None = None) -> Qrels:
        """All judgments of one split; ids have the prefix of their forum."""
        found = beir.split_qrels(self.parts(raw_dir), self.files, split, report, key_field=self.key_field)
        return self.graded(found) if self.grades else found

    def mined(self, raw_dir: Path | str, split: str) -> Mined | None:
        """The mined negatives of one split, `negatives/<split>.tsv` in the folder of the collection, that of
        all forums where it has forums; None without such a file. Ids have the prefix of their forum.
        """
        folder = self.parts(raw_dir)[0].folder
        base = folder.parent if self.forums else folder
        path = plain_or_gz(base / "negatives" / f"{split}.tsv")
        return read_mined(path) if path.is_file() else None

    def graded(self, qrels: Mapping[str, Mapping[str, int]]) -> Qrels:
        """Judgments with the grades that are used."""
        counting = dict(self.grades)
        return {
            query: {doc: counting.get(grade, grade) for doc, grade in judged.items()}
            for query, judged in qrels.items()
        }


SETS: Mapping[str, RetrievalSet] = MappingProxyType({
    entry.dataset: entry
    for entry in (
        # The official test set of BEIR's MS MARCO is TREC Deep Learning 2019, 43 queries; results are
        # reported on the dev set.
        RetrievalSet("ms_marco", "msmarco", SplitFiles(validation="", test="dev", beside="test")),
        # The topics of query description and expansion are divided by their titles.
        RetrievalSet("trec_covid", "trec-covid", _TEST_ONLY, key_field="query"),
        RetrievalSet("nfcorpus", "nfcorpus"),
        RetrievalSet("nq", "nq", _TEST_ONLY),
        RetrievalSet("fiqa", "fiqa"),
        RetrievalSet("hotpot_qa", "hotpotqa"),
        RetrievalSet("arguana", "arguana", _TEST_ONLY, own_document=True),
        RetrievalSet("touche", "webis-touche2020", _TEST_ONLY),
        RetrievalSet("cqadupstack", "cqadupstack", _TEST_ONLY, FORUMS, own_document=True),
        RetrievalSet("quora", "quora", _DEV_AND_TEST, own_document=True),
        RetrievalSet("dbpedia", "dbpedia-entity", _DEV_AND_TEST),
        RetrievalSet("scidocs", "scidocs", _TEST_ONLY, own_document=True),
        RetrievalSet("climate_fever", "climate-fever", _TEST_ONLY),
        RetrievalSet("fever", "fever"),
        RetrievalSet("scifact", "scifact", SplitFiles(validation="")),
    )
})  # fmt: skip


BRIGHT_DOMAINS = (
    "aops", "biology", "earth-science", "economics", "leetcode", "pony", "psychology", "robotics",
    "stackoverflow", "sustainable-living", "theoremqa-questions", "theoremqa-theorems",
)  # fmt: skip

# Never trained on: all their test queries are evaluated, whatever the split rule would keep for training.
EVALUATION_SETS: Mapping[str, RetrievalSet] = MappingProxyType({
    entry.dataset: entry
    for entry in (
        RetrievalSet("trec_dl_2019", "trec-dl-2019"),
        RetrievalSet("trec_dl_2020", "trec-dl-2020"),
        *(replace(entry, files=_PUBLISHED) for entry in SETS.values() if entry.files is _TEST_ONLY),
        RetrievalSet("esci", "esci"),
        RetrievalSet("bright", "bright", forums=BRIGHT_DOMAINS),
        RetrievalSet("lotte_search", "lotte-search"),
        RetrievalSet("lotte_forum", "lotte-forum"),
        # 1 and 2 do not answer the question, by the assessors' guidelines.
        RetrievalSet("antique", "antique", grades=((1, 0), (2, 0), (3, 1), (4, 2))),
        # Descriptions of the codes disagree about which end is best; only relevant or not is certain.
        RetrievalSet("cranfield", "cranfield", grades=((-1, 0), (2, 1), (3, 1), (4, 1))),
    )
})  # fmt: skip


_OWN: dict[str, RetrievalSet] = {}
OWN: Mapping[str, RetrievalSet] = MappingProxyType(_OWN)  # collections of your own


def add(entry: RetrievalSet) -> None:
    """Add a collection of your own, for this process."""
    _OWN[entry.dataset] = entry


def collection(dataset: str) -> RetrievalSet:
    """The settings of a collection; by default published train, dev and test sets.

    >>> collection("arguana").own_document, collection("quora").files.train, collection("mine").files.train
    (True, 'dev', 'train')
    """
    known = SETS.get(dataset) or EVALUATION_SETS.get(dataset) or OWN.get(dataset)
    return known or RetrievalSet(dataset, dataset)
