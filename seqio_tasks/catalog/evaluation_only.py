"""Collections for evaluation only, never for training: not part of INTERS, in no mixture, in no count.

Numbers are those of ir_datasets 0.5 for the ids named. Unknown values are left open: a licence that no
official page states, the size of a collection without a standard subset.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from seqio_tasks.catalog.types import OUT_OF_DOMAIN, RANKING_METRICS, Pair

WORDING = "inters_general_retrieval_ms_marco"
# In TREC Deep Learning, grade 1 is related to the query without answering it; binary measures require 2.
_GRADED = ("nDCG@10", "RR(rel=2)@10", "AP(rel=2)", "R(rel=2)@100")


@dataclass(frozen=True)
class EvaluationPair(Pair):
    """A collection for evaluation only.

    wording: the pair whose templates are used; origin: where the folder comes from; about: notes for users.
    """

    wording: str = WORDING
    origin: str = ""
    about: str = ""
    queries: int = 0
    documents: int = 0
    judgments: int = 0

    @property
    def name(self) -> str:
        return f"inters_ood_{self.dataset}"


def _pair(
    dataset: str,
    sizes: tuple[int, int, int],
    origin: str,
    licence: str = "not known",
    *,
    about: str = "",
    metrics: tuple[str, ...] = RANKING_METRICS,
    wording: str = WORDING,
) -> EvaluationPair:
    queries, documents, judgments = sizes
    return EvaluationPair(
        task="general_retrieval",
        dataset=dataset,
        group="query_document",
        kind="rank",
        loader="",
        fields=("query", "document"),
        metrics=metrics,
        document_fields=("document",),
        in_domain=False,
        counts=MappingProxyType({"test": queries} if queries else {}),
        folder=f"beir_{dataset}",
        licence=licence,
        wording=wording,
        origin=origin,
        about=about,
        queries=queries,
        documents=documents,
        judgments=judgments,
    )


_MARCO = "MS MARCO: non-commercial research only"
_DL = (
    "from stored candidates also by `python -m seqio_tasks.sources.rank_llm RESULTS.json QRELS FOLDER`, "
    "without the 8.8 million passages. MS MARCO itself is a dataset of INTERS: new queries, known passages."
)
_BEIR_CARD = "BEIR card CC BY-SA 4.0; "


def _whole(
    task: str, dataset: str, zip_name: str, sizes: tuple[int, int, int], licence: str, about: str = ""
) -> EvaluationPair:
    """The whole official test set of a trained pair of which BEIR publishes nothing else."""
    seen = (
        "the whole official test set, in the wording of its own pair. INTERS trains on most of its queries "
        "and tests on others; results are fair only for a model trained without the dataset "
    )
    without = dataset if dataset in OUT_OF_DOMAIN else task
    return _pair(
        dataset,
        sizes,
        f"BEIR zip, irds:beir/{zip_name}",
        licence,
        about=f"{about}{seen}(`inters_without_{without}`).",
        wording=f"inters_{task}_{dataset}",
    )


PAIRS: tuple[EvaluationPair, ...] = (
    _pair(
        "trec_dl_2019",
        (43, 8_841_823, 9_260),
        "irds:msmarco-passage/trec-dl-2019/judged",
        _MARCO,
        about=_DL,
        metrics=_GRADED,
    ),
    _pair(
        "trec_dl_2020",
        (54, 8_841_823, 11_386),
        "irds:msmarco-passage/trec-dl-2020/judged",
        _MARCO,
        about=_DL,
        metrics=_GRADED,
    ),
    _whole(
        "biomedical_retrieval",
        "trec_covid",
        "trec-covid",
        (50, 171_332, 66_336),
        "judgments NIST, public; texts CORD-19 dataset licence",
    ),
    _whole("supporting_evidence_retrieval", "nq", "nq", (3_452, 2_681_468, 4_201), "CC BY-SA 3.0"),
    _whole(
        "argument_retrieval",
        "arguana",
        "arguana",
        (1_406, 8_674, 1_406),
        _BEIR_CARD + "ArguAna itself CC BY 4.0 as far as known",
    ),
    _whole(
        "argument_retrieval",
        "touche",
        "webis-touche2020/v2",
        (49, 382_545, 2_214),
        _BEIR_CARD + "args.me corpus CC BY 4.0 as far as known",
        "the second edition of the judgments; ",
    ),
    _whole(
        "duplicate_question_retrieval",
        "cqadupstack",
        "cqadupstack",
        (13_145, 457_199, 23_703),
        _BEIR_CARD + "posts of Stack Exchange (CC BY-SA)",
        "twelve forums, over which measures are averaged; ",
    ),
    _whole(
        "article_retrieval",
        "scidocs",
        "scidocs",
        (1_000, 25_657, 29_928),
        _BEIR_CARD + "see SciDocs for the abstracts",
    ),
    _whole(
        "fact_retrieval",
        "climate_fever",
        "climate-fever",
        (1_535, 5_416_593, 4_681),
        _BEIR_CARD + "texts Wikipedia (CC BY-SA)",
    ),
    _pair(
        "esci",
        (0, 0, 0),
        "a BEIR folder made from github.com/amazon-science/esci-data",
        "Apache-2.0",
        about="product search; ir_datasets has no such id. One locale per folder, products as documents; "
        "write Exact, Substitute, Complement, Irrelevant as 3, 2, 1, 0. The files list up to 40 products per "
        "query: put them into runs/ to rank these and not the whole catalogue.",
    ),
    _pair(
        "bright",
        (1_384, 1_333_166, 0),
        "irds:bright/biology and its eleven sisters",
        "CC BY 4.0 (dataset card)",
        about="twelve domains, each a folder of its own below (biology, earth-science, ...); measures are "
        "averaged over them. Documents that a query excludes (grade -100) are no candidates of it.",
    ),
    _pair(
        "lotte_search",
        (3_869, 2_819_103, 11_124),
        "irds:lotte/pooled/test/search",
        about="the pooled test collection with its search queries; Success@5 is the official measure.",
        metrics=("nDCG@10", "Success@5", "RR@10", "R@100"),
    ),
    _pair(
        "lotte_forum",
        (10_025, 2_819_103, 61_536),
        "irds:lotte/pooled/test/forum",
        about="the same documents with the questions of forums.",
        metrics=("nDCG@10", "Success@5", "RR@10", "R@100"),
    ),
    _pair(
        "antique",
        (200, 403_666, 6_589),
        "irds:antique/test",
        "the authors' data usage agreement (ciir.cs.umass.edu/downloads/Antique/readme.txt)",
        about="questions of Yahoo! Answers. Grades 1 and 2 (no answer) count 0, 3 and 4 count 1 and 2.",
    ),
    _pair(
        "cranfield",
        (225, 1_400, 1_837),
        "irds:cranfield",
        about="grades 1 to 4 count 1, -1 counts 0: sources disagree about which end of the scale is best.",
    ),
)
