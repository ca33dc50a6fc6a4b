"""Query and document: the retrieval tasks over BEIR folders.

How the collections differ when they are read (names of folders and judgment files, forums, training queries)
is described in `seqio_tasks.sources.retrieval_sets`.
"""

from __future__ import annotations

from functools import partial

from seqio_tasks.catalog.types import OfficialFile, Pair, Source, make_pair

_BEIR = "https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets/"
_MEMBERS = ("corpus.jsonl", "queries.jsonl", "qrels/*.tsv")
_RUNS = "the zip unpacked; TREC runs in runs/ as candidates instead of BM25"

# dataset -> (official zip, bytes, md5, licence, other files read). Sizes and checksums: ir_datasets, BEIR.
_ZIPS: dict[str, tuple[str, int, str, str, str]] = {
    "scifact": (
        "scifact.zip",
        2_816_079,
        "5f7d1de60b170fc8027bb7898e2efca1",
        "SciFact CC BY 4.0 / ODC-By; BEIR card CC BY-SA 4.0",
        _RUNS,
    ),
    "nfcorpus": (
        "nfcorpus.zip",
        2_448_432,
        "a89dba18a62ef92f7d323ec890a0d38d",
        "NFCorpus: academic use, other uses on request; BEIR card CC BY-SA 4.0",
        _RUNS,
    ),
    "ms_marco": (
        "msmarco.zip",
        1_082_258_632,
        "444067daf65d982533ea17ebd59501e4",
        "MS MARCO: non-commercial research only",
        "collection.tsv, queries.*.tsv and qrels.*.tsv of the original; TREC runs in runs/",
    ),
    "trec_covid": (
        "trec-covid.zip",
        73_876_720,
        "ce62140cb23feb9becf6270d0d1fe6d1",
        "judgments NIST, public; texts CORD-19 dataset licence",
        _RUNS,
    ),
    "nq": (
        "nq.zip",
        498_307_926,
        "d4d3d2e48787a744b6f6e691ff534307",
        "CC BY-SA 3.0",
        _RUNS,
    ),
    "fiqa": (
        "fiqa.zip",
        17_948_027,
        "17918ed23cd04fb15047f73e6c3bd9d9",
        "FiQA 2018 challenge data, no explicit licence",
        _RUNS,
    ),
    "hotpot_qa": (
        "hotpotqa.zip",
        654_025_350,
        "f412724f78b0d91183a0e86805e16114",
        "BEIR card CC BY-SA 4.0; texts Wikipedia (CC BY-SA)",
        _RUNS,
    ),
    "arguana": (
        "arguana.zip",
        3_773_617,
        "8ad3e3c2a5867cdced806d6503f29b99",
        "BEIR card CC BY-SA 4.0; ArguAna itself CC BY 4.0 as far as known",
        _RUNS,
    ),
    "touche": (
        "webis-touche2020.zip",
        227_132_363,
        "46f650ba5a527fc69e0a6521c5a23563",
        "BEIR card CC BY-SA 4.0; args.me corpus CC BY 4.0 as far as known",
        _RUNS,
    ),
    "cqadupstack": (
        "cqadupstack.zip",
        5_343_728_040,
        "4e41456d7df8ee7760a7f866133bda78",
        "BEIR card CC BY-SA 4.0; posts of Stack Exchange (CC BY-SA)",
        _RUNS,
    ),
    "quora": (
        "quora.zip",
        15_853_968,
        "18fb154900ba42a600f84b839c173167",
        "BEIR card CC BY-SA 4.0; Quora's terms for the questions",
        _RUNS,
    ),
    "dbpedia": (
        "dbpedia-entity.zip",
        639_285_131,
        "c2a39eb420a3164af735795df012ac2c",
        "BEIR card CC BY-SA 4.0; texts DBpedia (CC BY-SA)",
        _RUNS,
    ),
    "scidocs": (
        "scidocs.zip",
        142_471_588,
        "38121350fc3a4d2f48850f6aff52e4a9",
        "BEIR card CC BY-SA 4.0; see SciDocs for the abstracts",
        _RUNS,
    ),
    "climate_fever": (
        "climate-fever.zip",
        1_228_666_652,
        "8b66f0a9126c521bae2bde127b4dc99d",
        "BEIR card CC BY-SA 4.0; texts Wikipedia (CC BY-SA)",
        _RUNS,
    ),
    "fever": (
        "fever.zip",
        1_236_988_269,
        "5a818580227bfb4b35bb6fa46d9b6c03",
        "BEIR card CC BY-SA 4.0; texts Wikipedia (CC BY-SA)",
        _RUNS,
    ),
}

_NOTES = {
    "arguana": "Every relevant argument has a title, but only about 35 % of the others have one: to put "
    "titled documents first lifts BM25 from .400 to .460 nDCG@10. A gain of that size need not come from "
    "reading.",
}

SOURCES: dict[str, Source] = {
    f"beir_{dataset}": Source(
        f"beir_{dataset}",
        licence,
        (OfficialFile(name, _BEIR + name, size, md5, members=_MEMBERS),),
        accepted,
        _NOTES.get(dataset, ""),
    )
    for dataset, (name, size, md5, licence, accepted) in _ZIPS.items()
}


def _pair(task: str, dataset: str, counts: tuple[int, int, int]) -> Pair:
    return make_pair(
        SOURCES,
        task,
        dataset,
        f"ranking_rows:{dataset}",
        "query document",
        counts,
        source=f"beir_{dataset}",
        document_fields=("document",),
    )


_supporting_evidence = partial(_pair, "supporting_evidence_retrieval")

# Queries with a judged positive, by the rule of `retrieval_sets`. FiQA is counted on the published judgments;
# the other counts follow from the published numbers of queries, before duplicate texts are dropped.
PAIRS: tuple[Pair, ...] = (
    _pair("fact_retrieval", "scifact", (727, 80, 300)),
    _pair("biomedical_retrieval", "nfcorpus", (2582, 323, 323)),
    _pair("general_retrieval", "ms_marco", (10_000, 200, 6_980)),
    _pair("biomedical_retrieval", "trec_covid", (40, 5, 5)),
    _supporting_evidence("nq", (3_052, 200, 200)),
    _supporting_evidence("fiqa", (5_500, 500, 648)),
    _supporting_evidence("hotpot_qa", (10_000, 5_447, 7_405)),
    _pair("argument_retrieval", "arguana", (1_126, 140, 140)),
    _pair("argument_retrieval", "touche", (41, 4, 4)),
    _pair("duplicate_question_retrieval", "cqadupstack", (10_000, 200, 200)),
    _pair("duplicate_question_retrieval", "quora", (4_800, 200, 10_000)),
    _pair("entity_retrieval", "dbpedia", (61, 6, 400)),
    _pair("article_retrieval", "scidocs", (800, 100, 100)),
    _pair("fact_retrieval", "climate_fever", (1_229, 153, 153)),
    _pair("fact_retrieval", "fever", (10_000, 6_666, 6_666)),
)
