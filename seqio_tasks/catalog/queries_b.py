"""Query understanding: conversations, clarifications, sessions and intents."""

from __future__ import annotations

from functools import partial

from seqio_tasks.catalog.types import MULTI_LABEL_METRICS, TEXT_METRICS, OfficialFile, Pair, Source, make_pair

_GITHUB = "https://raw.githubusercontent.com/"
_CANARD = f"{_GITHUB}aagohary/canard/da8639cee97a50b3c62dc4d7e800c93675731186/data/release/"
_GECOR = f"{_GITHUB}terryqj0107/GECOR/dc7d9d805b0c34240941e8d359eecc7b75bd7a9e/"
_DUO = f"{_GITHUB}Leila-Ta/MIMICS-Duo/21c54380fda266ec243bcb38405fa385e475cbaf/Data/"
_CLARIQ = f"{_GITHUB}isekulic/CQ-generation/34524aba9e0a90ddaba360002fc5433be4943976/data/"

SOURCES: dict[str, Source] = {
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
            OfficialFile("train.json", f"{_CANARD}train.json", 0, "73624ac646fb81e09b0fd7f01370ada3"),
            OfficialFile("dev.json", f"{_CANARD}dev.json", 2_803_066, "c84525631a83bc771c58ff31f4a9b601"),
            OfficialFile("test.json", f"{_CANARD}test.json", 0, "3fc14d0078e7a5056f5da571728f024e"),
        ),
        "CANARD_Release.zip unpacked",
    ),
    "gecor": Source(
        "gecor",
        "CC BY 4.0",
        (
            OfficialFile(
                "CamRest676_annotated.json",
                f"{_GECOR}CamRest676_for_coreference_and_ellipsis_resolution/CamRest676_annotated.json",
                2_039_843,
                "746de7f62d36e9cbaabc62583be35d7f",
            ),
        ),
    ),
    "mimics_duo": Source(
        "mimics_duo",
        "MIT",
        (
            OfficialFile(
                "Task2-QualityLabelling.tsv",
                f"{_DUO}Task2-QualityLabelling.tsv",
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
            OfficialFile(
                "ClariQ-FKw.tsv.train",
                f"{_CLARIQ}ClariQ-FKw.tsv.train",
                196_983,
                "ea6abb2c007b757608285dfa1316244b",
            ),
            OfficialFile(
                "ClariQ-FKw.tsv.dev",
                f"{_CLARIQ}ClariQ-FKw.tsv.dev",
                47_872,
                "5913d95eefefd974463e3eeae4a404ee",
            ),
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

# Of QReCC 63,501 training turns, of CANARD 31,526: the rule takes 10,000.
PAIRS: tuple[Pair, ...] = (
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
