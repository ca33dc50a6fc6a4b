"""Document understanding: reading comprehension and conversational question answering."""

from __future__ import annotations

from functools import partial

from seqio_tasks.catalog.types import (
    QUAC_METRICS,
    TEXT_METRICS,
    TRIVIA_METRICS,
    TURN_METRICS,
    OfficialFile,
    Pair,
    Source,
    make_pair,
)

_HOTPOT = "http://curtis.ml.cmu.edu/datasets/hotpot/"
_MS_MARCO = "https://msmarco.z22.web.core.windows.net/msmarco/"
_WEBGLM = "hf://datasets/zai-org/webglm-qa/data/"
_COQA = "https://nlp.stanford.edu/data/coqa/"
_QUAC = "https://s3.amazonaws.com/my89public/quac/"

SOURCES: dict[str, Source] = {
    "hotpot_qa": Source(
        "hotpot_qa",
        "CC BY-SA 4.0",
        (
            OfficialFile("hotpot_train_v1.1.json", f"{_HOTPOT}hotpot_train_v1.1.json", 566_426_227),
            OfficialFile(
                "hotpot_dev_distractor_v1.json", f"{_HOTPOT}hotpot_dev_distractor_v1.json", 46_320_117
            ),
        ),
        "parts of the dev file (hotpot_dev_distractor_v1*.json)",
    ),
    "ms_marco_qa": Source(
        "ms_marco_qa",
        "MS MARCO terms, non-commercial research",
        (
            OfficialFile("train_v2.1.json.gz", f"{_MS_MARCO}train_v2.1.json.gz", 1_112_116_929, unpack=False),
            OfficialFile("dev_v2.1.json.gz", f"{_MS_MARCO}dev_v2.1.json.gz", 138_303_699, unpack=False),
        ),
        "the unpacked files; version 1.1",
    ),
    "trivia_qa": Source(
        "trivia_qa",
        "code Apache-2.0; questions and documents belong to their owners",
        (
            OfficialFile(
                "triviaqa-rc.tar.gz",
                "https://nlp.cs.washington.edu/triviaqa/data/triviaqa-rc.tar.gz",
                2_665_779_500,
                members=(
                    "qa/wikipedia-train.json",
                    "qa/wikipedia-dev.json",
                    "qa/web-train.json",
                    "qa/web-dev.json",
                    "evidence/wikipedia/*",
                    "evidence/web/*/*",
                ),
            ),
        ),
        "unfiltered-web-{train,dev}.json (no documents); topics.dpr.trivia.test.txt as the test split",
    ),
    "webglm_qa": Source(
        "webglm_qa",
        "Apache-2.0, by the card of a derived set",
        (
            OfficialFile("train.jsonl", f"{_WEBGLM}train.jsonl"),
            OfficialFile("validation.jsonl", f"{_WEBGLM}validation.jsonl"),
            OfficialFile("test.jsonl", f"{_WEBGLM}test.jsonl"),
        ),
        "the files in data/",
    ),
    "coqa": Source(
        "coqa",
        "by origin of the passage: CC BY-SA 4.0, MSR-LA, RACE terms, Apache",
        (
            OfficialFile("coqa-train-v1.0.json", f"{_COQA}coqa-train-v1.0.json", 49_001_836),
            OfficialFile("coqa-dev-v1.0.json", f"{_COQA}coqa-dev-v1.0.json", 9_090_845),
        ),
    ),
    "quac": Source(
        "quac",
        "CC BY-SA 4.0",
        (
            OfficialFile("train_v0.2.json", f"{_QUAC}train_v0.2.json", 68_114_819),
            OfficialFile("val_v0.2.json", f"{_QUAC}val_v0.2.json", 8_929_167),
        ),
    ),
}

_pair = partial(make_pair, SOURCES)

PAIRS: tuple[Pair, ...] = (
    _pair(
        "reading_comprehension",
        "hotpot_qa",
        "sources.open_qa:hotpot_qa",
        "question supporting_facts answer",
        (10_000, 200, 7_405),
        document_fields=("supporting_facts",),
    ),
    # Of 808,731 training and 101,093 dev questions, those that have an answer.
    _pair(
        "reading_comprehension",
        "ms_marco",
        "sources.ms_marco:ms_marco",
        "context supporting_facts question answer",
        None,
        source="ms_marco_qa",
        document_fields=("context", "supporting_facts"),
        optional_fields=("supporting_facts",),
    ),
    _pair(
        "reading_comprehension",
        "trivia_qa",
        "sources.trivia_qa:trivia_qa",
        "context question answer",
        None,
        metrics=TRIVIA_METRICS,
        document_fields=("context",),
        optional_fields=("context",),
    ),
    _pair(
        "reading_comprehension",
        "webglm_qa",
        "sources.open_qa:webglm_qa",
        "question reference_passages answer",
        (10_000, 1_000, 400),
        metrics=TEXT_METRICS,
        document_fields=("reference_passages",),
    ),
    # One row for each of 7,199 and 500 stories.
    _pair(
        "conversational_qa",
        "coqa",
        "sources.conversations:coqa",
        "context history questions answers",
        (6_999, 200, 500),
        metrics=TURN_METRICS,
        document_fields=("context",),
        optional_fields=("history",),
        indispensable_fields=("history",),
    ),
    # One row for each of 83,568 and 7,354 questions.
    _pair(
        "conversational_qa",
        "quac",
        "sources.conversations:quac",
        "title section_title background context history question answer",
        (10_000, 200, 7_354),
        metrics=QUAC_METRICS,
        document_fields=("context", "background"),
        optional_fields=("section_title", "background", "history"),
        indispensable_fields=("history",),
    ),
)
