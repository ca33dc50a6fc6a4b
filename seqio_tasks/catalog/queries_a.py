"""Query understanding: topics, conversations and expansions."""

from __future__ import annotations

from functools import partial

from seqio_tasks.catalog.types import LIST_METRICS, OfficialFile, Pair, Source, make_pair

_HUB = "hf://datasets/intfloat/query2doc_msmarco/"
_CAST = "https://raw.githubusercontent.com/daltonj/treccastweb/33846610b736da392efeab00e4c6f4519e0dacf1/"
_WEB = "https://trec.nist.gov/data/web/"
_CODEC = "https://raw.githubusercontent.com/grill-lab/CODEC/43f6e128c2cbaa29a4166d76fc124ae4fcd23aa5/topics/"


def _web(path: str, size: int, md5: str) -> OfficialFile:
    # Two years call their file full-topics.xml: the folder of the year belongs to the name.
    return OfficialFile(path, _WEB + path, size, md5)


def _cast(folder: str, name: str, size: int, md5: str) -> OfficialFile:
    return OfficialFile(name, f"{_CAST}{folder}/{name}", size, md5)


SOURCES: dict[str, Source] = {
    "query2doc": Source(
        "query2doc",
        "CC BY 4.0; queries of MS MARCO (non-commercial research)",
        (
            OfficialFile("train.jsonl", f"{_HUB}train.jsonl"),
            OfficialFile("test.jsonl", f"{_HUB}test.jsonl"),
        ),
    ),
    "trec_cast": Source(
        "trec_cast",
        "MIT (repository treccastweb)",
        (
            _cast(
                "2019/data/evaluation",
                "evaluation_topics_v1.0.json",
                57_204,
                "362283885194feefcab8441d2bb24f7c",
            ),
            _cast(
                "2019/data/evaluation",
                "evaluation_topics_annotated_resolved_v1.0.tsv",
                24_112,
                "bf8d3e1eb7183c8e18f402bb929babd1",
            ),
            _cast(
                "2020",
                "2020_manual_evaluation_topics_v1.0.json",
                78_998,
                "98ae2be2c82e294895a83e76b4133e19",
            ),
            _cast(
                "2021",
                "2021_manual_evaluation_topics_v1.0.json",
                364_897,
                "eafb4d4c5b914baab02a71c474e4ecc4",
            ),
            _cast(
                "2022",
                "2022_evaluation_topics_tree_v1.0.json",
                252_600,
                "a2996adf88b3933816f65ad5536c7860",
            ),
        ),
        "any subset of the years",
    ),
    "trec_web": Source(
        "trec_web",
        "NIST topics, public, no explicit licence",
        (
            _web("09/wt09.topics.full.xml", 35_853, "52e4a03d32718fa11290286e8e8dff47"),
            _web("10/wt2010-topics.xml", 32_661, "8f084cc90c13e4cd66192d3a9585235e"),
            _web("11/full-topics.xml", 29_693, "23914875d80a5d24571d4f458a83c7fa"),
            _web("12/full-topics.xml", 29_353, "a0b8ee33da312a284fda379582b0bc2a"),
            _web("2013/trec2013-topics.xml", 23_143, "4c0ecdddc8632d3fa8fecb507f19801d"),
            _web("2014/trec2014-topics.xml", 22_873, "b1bf5c7aa9f6e7026e1558686330744f"),
        ),
        "any *topics*.xml or *topics*.txt, in folders or not",
    ),
    "codec": Source(
        "codec",
        "no licence file; README: for research purposes",
        (
            OfficialFile("topics.json", f"{_CODEC}topics.json", 47_192, "f75e4733693588449f68f7fdceb02ec9"),
            OfficialFile(
                "query_reformulations.txt",
                f"{_CODEC}query_reformulations.txt",
                22_484,
                "79b8cfb05cce5a7c28e477551c444706",
            ),
        ),
    ),
}

_pair = partial(make_pair, SOURCES)

PAIRS: tuple[Pair, ...] = (
    # Of 502,939 training and 6,837 test lines.
    _pair(
        "query_expansion",
        "query2doc",
        "sources.query2doc:query2doc",
        "query pseudo_doc",
        (10_000, 200, 6_837),
    ),
    _pair("query_expansion", "trec_cast", "sources.cast:expansion", "title description", (39, 5, 5)),
    _pair("query_expansion", "trec_web", "sources.web_topics:expansion", "title description", (239, 30, 30)),
    _pair(
        "query_reformulation",
        "codec",
        "sources.codec:codec",
        "title domain guidelines reformulations",
        (34, 4, 4),
        metrics=LIST_METRICS,
        document_fields=("guidelines",),
    ),
    _pair(
        "query_reformulation",
        "trec_cast",
        "sources.cast:reformulation",
        "title description history response turn_title reformulations",
        (854, 78, 88),
        document_fields=("response",),
        optional_fields=("title", "description", "response"),
    ),
    _pair(
        "query_subtopic_generation",
        "trec_web",
        "sources.web_topics:subtopic_generation",
        "title description subtopic_title",
        (197, 28, 26),
        optional_fields=("description",),
    ),
    _pair(
        "query_intent_classification",
        "trec_web",
        "sources.web_topics:intent",
        "title description subtopic subtopic_type query_type",
        (197, 28, 26),
        optional_fields=("description", "subtopic", "subtopic_type"),
        labels=("faceted", "ambiguous"),
        label_field="query_type",
    ),
)
