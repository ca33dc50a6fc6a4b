"""Query understanding: descriptions, expansions, reformulations, clarifications, suggestions, intents."""

from __future__ import annotations

from functools import partial

from seqio_tasks.catalog.types import (
    LIST_METRICS,
    MULTI_LABEL_METRICS,
    TEXT_METRICS,
    OfficialFile,
    Pair,
    Source,
    file_at,
    make_pair,
)

_NIST = "https://trec.nist.gov/data/"
_FIRE = "https://www.isical.ac.in/~fire/data/topics/adhoc/"
_SENTEVAL = "https://dl.fbaipublicfiles.com/senteval/senteval_data/"
_RAW = "https://raw.githubusercontent.com/"
_QUERY2DOC = "hf://datasets/intfloat/query2doc_msmarco/"
_CAST = f"{_RAW}daltonj/treccastweb/33846610b736da392efeab00e4c6f4519e0dacf1/"
_WEB = "https://trec.nist.gov/data/web/"
_CODEC = f"{_RAW}grill-lab/CODEC/43f6e128c2cbaa29a4166d76fc124ae4fcd23aa5/topics/"
_CANARD = f"{_RAW}aagohary/canard/da8639cee97a50b3c62dc4d7e800c93675731186/data/release/"
_GECOR = f"{_RAW}terryqj0107/GECOR/dc7d9d805b0c34240941e8d359eecc7b75bd7a9e/"
_DUO = f"{_RAW}Leila-Ta/MIMICS-Duo/21c54380fda266ec243bcb38405fa385e475cbaf/Data/"
_CLARIQ = f"{_RAW}isekulic/CQ-generation/34524aba9e0a90ddaba360002fc5433be4943976/data/"


SOURCES: dict[str, Source] = {
    "gov2": Source(
        "gov2",
        "NIST topics, public, no explicit licence",
        (
            file_at(
                f"{_NIST}terabyte/04/", "04topics.701-750.txt", 21_236, "18b390335e440d099f3d64bef81708be"
            ),
            file_at(
                f"{_NIST}terabyte/05/", "05.topics.751-800.txt", 24_822, "f0fb2603c7d89425965e5aaa104ddca6"
            ),
            file_at(
                f"{_NIST}terabyte/06/", "06.topics.801-850.txt", 27_791, "6e23a748c060ef5be64dbcc65245072f"
            ),
        ),
        "any *topics*.txt",
    ),
    "trec_robust": Source(
        "trec_robust04",
        "NIST topics, public, no explicit licence",
        (
            file_at(f"{_NIST}robust/", "04.testset.gz", 34_293, "5eac3d774a2f87da61c08a94f945beff"),
            file_at(f"{_NIST}robust/05/", "05.50.topics.txt"),
        ),
        "04.testset (gz or unpacked), any *topics*.txt",
    ),
    "trec_covid": Source(
        "trec_covid",
        "NIST topics, public, no explicit licence",
        (
            OfficialFile(
                "topics-rnd5.xml",
                "https://ir.nist.gov/covidSubmit/data/topics-rnd5.xml",
                18_707,
                "0307a37b6b9f1a5f233340a769d538ea",
            ),
        ),
        "topics*rnd5.xml, topics*round5.xml",
    ),
    "fire": Source(
        "fire",
        "FIRE topics, public, no explicit licence (documents by agreement)",
        (
            file_at(_FIRE, "en.topics.26-75.2008.txt"),
            file_at(_FIRE, "en.topics.76-125.2010.txt"),
            file_at(_FIRE, "en.topics.126-175.2011.txt"),
            file_at(_FIRE, "en.topics.176-225.2012.txt"),
        ),
        "any *topics*.txt",
    ),
    "msrp": Source(
        "msrp",
        "MSR-SSLA, non-commercial",
        (
            file_at(
                _SENTEVAL,
                "msr_paraphrase_train.txt",
                1_047_044,
                sha256="60a9b09084528f0673eedee2b69cb941920f0b8cd0eeccefc464a98768457f89",
            ),
            file_at(
                _SENTEVAL,
                "msr_paraphrase_test.txt",
                441_275,
                sha256="a04e271090879aaba6423d65b94950c089298587d9c084bf9cd7439bd785f784",
            ),
        ),
        "the untokenised files of MSRParaphraseCorpus.msi (Microsoft download 52398)",
    ),
    "orcas_i": Source(
        "orcas_i",
        "not stated; ORCAS itself is for non-commercial research",
        (
            OfficialFile(
                "ORCAS-I-gold.tsv",
                "https://researchdata.tuwien.ac.at/records/pp7xz-n9a06/files/ORCAS-I-gold.tsv?download=1",
            ),
        ),
        "orcas_test.tsv (same columns)",
    ),
    "mimics": Source(
        "mimics",
        "MIT, with a non-commercial research clause",
        (file_at(f"{_RAW}microsoft/MIMICS/master/data/", "MIMICS-Manual.tsv", 312_923),),
    ),
    "query2doc": Source(
        "query2doc",
        "CC BY 4.0; queries of MS MARCO (non-commercial research)",
        (
            file_at(_QUERY2DOC, "train.jsonl"),
            file_at(_QUERY2DOC, "test.jsonl"),
        ),
    ),
    "trec_cast": Source(
        "trec_cast",
        "MIT (repository treccastweb)",
        (
            file_at(
                f"{_CAST}2019/data/evaluation/",
                "evaluation_topics_v1.0.json",
                57_204,
                "362283885194feefcab8441d2bb24f7c",
            ),
            file_at(
                f"{_CAST}2019/data/evaluation/",
                "evaluation_topics_annotated_resolved_v1.0.tsv",
                24_112,
                "bf8d3e1eb7183c8e18f402bb929babd1",
            ),
            file_at(
                f"{_CAST}2020/",
                "2020_manual_evaluation_topics_v1.0.json",
                78_998,
                "98ae2be2c82e294895a83e76b4133e19",
            ),
            file_at(
                f"{_CAST}2021/",
                "2021_manual_evaluation_topics_v1.0.json",
                364_897,
                "eafb4d4c5b914baab02a71c474e4ecc4",
            ),
            file_at(
                f"{_CAST}2022/",
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
            # Two years call their file full-topics.xml: the folder of the year belongs to the name.
            file_at(_WEB, "09/wt09.topics.full.xml", 35_853, "52e4a03d32718fa11290286e8e8dff47"),
            file_at(_WEB, "10/wt2010-topics.xml", 32_661, "8f084cc90c13e4cd66192d3a9585235e"),
            file_at(_WEB, "11/full-topics.xml", 29_693, "23914875d80a5d24571d4f458a83c7fa"),
            file_at(_WEB, "12/full-topics.xml", 29_353, "a0b8ee33da312a284fda379582b0bc2a"),
            file_at(_WEB, "2013/trec2013-topics.xml", 23_143, "4c0ecdddc8632d3fa8fecb507f19801d"),
            file_at(_WEB, "2014/trec2014-topics.xml", 22_873, "b1bf5c7aa9f6e7026e1558686330744f"),
        ),
        "any *topics*.xml or *topics*.txt, in folders or not",
    ),
    "codec": Source(
        "codec",
        "no licence file; README: for research purposes",
        (
            file_at(_CODEC, "topics.json", 47_192, "f75e4733693588449f68f7fdceb02ec9"),
            file_at(_CODEC, "query_reformulations.txt", 22_484, "79b8cfb05cce5a7c28e477551c444706"),
        ),
    ),
    "qrecc": Source(
        "qrecc",
        "CC BY-SA 3.0",
        (
            OfficialFile(
                "qrecc_data.zip",
                "https://github.com/apple/ml-qrecc/raw/main/dataset/qrecc_data.zip",
                7_971_464,
                "f88fcc7ef3678cd6312080389c8abd67",
                "6ed52a0b0e495f752424b15742119a5f8f33ca7a029c07122be1b849de19a308",
                members=("qrecc_train.json", "qrecc_test.json"),
            ),
        ),
        "qrecc-training.json and qrecc-test.json (hub, svakulenk0/qrecc)",
    ),
    "canard": Source(
        "canard",
        "CC BY-SA 4.0",
        (
            file_at(_CANARD, "train.json", 0, "73624ac646fb81e09b0fd7f01370ada3"),
            file_at(_CANARD, "dev.json", 2_803_066, "c84525631a83bc771c58ff31f4a9b601"),
            file_at(_CANARD, "test.json", 0, "3fc14d0078e7a5056f5da571728f024e"),
        ),
        "CANARD_Release.zip unpacked",
    ),
    "gecor": Source(
        "gecor",
        "CC BY 4.0",
        (
            file_at(
                f"{_GECOR}CamRest676_for_coreference_and_ellipsis_resolution/",
                "CamRest676_annotated.json",
                2_039_843,
                "746de7f62d36e9cbaabc62583be35d7f",
            ),
        ),
    ),
    "mimics_duo": Source(
        "mimics_duo",
        "MIT",
        (
            file_at(
                _DUO,
                "Task2-QualityLabelling.tsv",
                133_919,
                "912e6fd1d2f898d01f4f953940f3401c",
                "9fd06159ed30ef440d68317748b195f37f22c8ff8077b63c27ce81bad209d9cf",
            ),
        ),
    ),
    "clariq_fkw": Source(
        "clariq_fkw",
        "not stated; derived from ClariQ",
        (
            file_at(_CLARIQ, "ClariQ-FKw.tsv.train", 196_983, "ea6abb2c007b757608285dfa1316244b"),
            file_at(_CLARIQ, "ClariQ-FKw.tsv.dev", 47_872, "5913d95eefefd974463e3eeae4a404ee"),
        ),
    ),
    "raocq": Source(
        "raocq",
        "Stack Exchange text, CC BY-SA",
        (
            OfficialFile(
                "clarification_questions_dataset.zip",
                "https://go.umd.edu/clarification_questions_dataset",
                manual="open the address in a browser (it leads to Google Drive), download the archive and "
                "unpack it into this folder: post_data.tsv, qa_data.tsv and human_annotations of each site "
                "are needed",
            ),
        ),
        "any of the folders askubuntu.com, superuser.com, unix.stackexchange.com of the archive",
    ),
    "aol": Source(
        "aol",
        "non-commercial research only; withdrawn by AOL, holds personal data",
        (
            OfficialFile(
                "aol-data.tar.gz",
                "http://www.cim.mcgill.ca/~dudek/206/Logs/AOL-user-ct-collection/aol-data.tar.gz",
                460_331_537,
                "31cd27ce12c3a3f2df62a38050ce4c0a",
                manual="AOL withdrew this log because people can be recognised in it. Decide with those "
                "responsible for data protection whether you may use it; if so, fetch the archive yourself "
                "and unpack it into this folder",
            ),
        ),
        "any of user-ct-test-collection-01.txt to -10.txt, or .txt.gz",
    ),
    "mantis": Source(
        "mantis",
        "not stated; Stack Exchange text, CC BY-SA",
        (
            OfficialFile(
                "json_dataset_with_intents.7z",
                "https://drive.google.com/file/d/1JI9VAuHllyZxr7XhTYLhx7iI2EVd3-a4/view",
                manual="open the address in a browser, download the archive and unpack it with 7-Zip into "
                "this folder: merged_train_intents.json, merged_dev_intents.json and "
                "merged_test_intents.json are needed",
            ),
        ),
        "the archive unpacked",
    ),
}

_pair = partial(make_pair, SOURCES)

_TOPIC_SETS = (
    ("gov2", (120, 15, 15)),
    ("trec_robust", (200, 25, 25)),
    ("trec_covid", (40, 5, 5)),
    ("fire", (160, 20, 20)),
)

PAIRS: tuple[Pair, ...] = (
    *(
        _pair("query_description", name, f"sources.trec_topics:{name}", "title description narrative", counts)
        for name, counts in _TOPIC_SETS
    ),
    *(
        _pair("query_expansion", name, f"sources.trec_topics:{name}", "title description", counts)
        for name, counts in _TOPIC_SETS
    ),
    _pair(
        "query_matching",
        "msrp",
        "sources.tables:msrp",
        "sentence1 sentence2 answer",
        (3867, 200, 1725),
        labels=("yes", "no"),
        label_field="answer",
    ),
    _pair(
        "query_intent_classification",
        "orcas_i",
        "sources.tables:orcas_i",
        "title query_type",
        (800, 100, 100),
        labels=("factual", "abstain", "instrumental", "transactional", "navigational"),
        label_field="query_type",
    ),
    _pair("query_clarification", "mimics", "sources.tables:mimics", "query clarification", (2389, 200, 200)),
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
        # Of 355 rewrites of turns with a response, 216 use words that stand only there.
        indispensable_fields=("response",),
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
    # Of QReCC 63,501 training turns, of CANARD 31,526: the split rule takes 10,000.
    _pair(
        "query_reformulation",
        "qrecc",
        "sources.rewrites:qrecc",
        "context title reformulations",
        (10_000, 200, 16_451),
        document_fields=("context",),
    ),
    _pair(
        "query_reformulation",
        "canard",
        "sources.rewrites:canard",
        "context history title reformulations",
        (10_000, 3_430, 5_571),
        document_fields=("history",),
    ),
    _pair(
        "query_reformulation",
        "gecor",
        "sources.rewrites:gecor",
        "goal context title reformulations",
        (2_340, 202, 202),
        document_fields=("context",),
    ),
    _pair(
        "query_clarification",
        "mimics_duo",
        "sources.clarifications:mimics_duo",
        "query clarification",
        (727, 94, 93),
    ),
    _pair(
        "query_clarification",
        "clariq_fkw",
        "sources.clarifications:clariq_fkw",
        "title clarification",
        (1_580, 176, 425),
        metrics=TEXT_METRICS,
    ),
    _pair(
        "query_clarification",
        "raocq",
        "sources.clarifications:raocq",
        "title description clarification",
        (400, 50, 50),
        metrics=TEXT_METRICS,
        document_fields=("description",),
    ),
    _pair(
        "query_suggestion",
        "aol",
        "sources.sessions:aol",
        "context history_queries history_docs target_query",
        (10_000, 200, 200),
        optional_fields=("history_docs",),
    ),
    _pair(
        "query_intent_classification",
        "mantis",
        "sources.dialogues:mantis",
        "title context turn_title query_type",
        None,
        metrics=MULTI_LABEL_METRICS,
        document_fields=("context", "turn_title"),
        optional_fields=("context",),
        labels=(
            "original question",
            "further details",
            "follow up question",
            "information request",
            "potential answer",
            "positive feedback",
            "negative feedback",
            "greetings / gratitude",
            "other",
        ),
        label_field="query_type",
        multi_label=True,
    ),
)
