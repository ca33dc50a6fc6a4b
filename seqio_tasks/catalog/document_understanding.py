"""Document understanding: fact verification, summarization, reading comprehension, conversational QA."""

from __future__ import annotations

from functools import partial

from seqio_tasks.catalog.types import (
    LABEL_METRICS,
    QUAC_METRICS,
    TEXT_METRICS,
    TRIVIA_METRICS,
    TURN_METRICS,
    OfficialFile,
    Pair,
    Source,
    file_at,
    make_pair,
)

_RAW = "https://raw.githubusercontent.com/"
_BOOLQ = "https://storage.googleapis.com/boolq/"
_SQUAD = "https://rajpurkar.github.io/SQuAD-explorer/dataset/"
_FEVER = "https://fever.ai/download/fever/"
_CNN_DM = "hf://datasets/abisee/cnn_dailymail@11343c3752184397d56efc19a8a7cceb68089318/data/"
_URLS = f"{_RAW}abisee/cnn-dailymail/b15ad0a2db0d407a84b8ca9b5731e1f1c4bd24b9/url_lists/"
_XSUM = f"{_RAW}EdinburghNLP/XSum/master/XSum-Dataset/"
_MULTI_NEWS = "hf://datasets/alexfabbri/multi_news/data/"
_HOTPOT = "http://curtis.ml.cmu.edu/datasets/hotpot/"
_MS_MARCO = "https://msmarco.z22.web.core.windows.net/msmarco/"
_WEBGLM = "hf://datasets/zai-org/webglm-qa/data/"
_COQA = "https://nlp.stanford.edu/data/coqa/"
_QUAC = "https://s3.amazonaws.com/my89public/quac/"

SOURCES: dict[str, Source] = {
    "boolq": Source(
        "boolq",
        "CC BY-SA 3.0",
        (
            file_at(_BOOLQ, "train.jsonl", 6_525_813),
            file_at(_BOOLQ, "dev.jsonl", 2_238_726),
        ),
        "the SuperGLUE form (train.jsonl, val.jsonl)",
    ),
    "squad": Source(
        "squad_v1",
        "CC BY-SA 4.0",
        (
            file_at(_SQUAD, "train-v1.1.json", 30_288_272),
            file_at(_SQUAD, "dev-v1.1.json", 4_854_279),
            file_at(_SQUAD, "train-v2.0.json", 42_123_633),
            file_at(_SQUAD, "dev-v2.0.json", 4_370_528),
        ),
        "either version (v2.0 goes first where both lie); xquad.en.json as test only",
    ),
    "climate_fever": Source(
        "climate_fever",
        "not stated; evidence from Wikipedia (CC BY-SA)",
        (file_at(f"{_RAW}tdiggelm/climate-fever-dataset/main/dataset/", "climate-fever.jsonl", 3_152_039),),
    ),
    "scifact": Source(
        "scifact",
        "claims CC BY 4.0, abstracts ODC-By 1.0",
        (
            OfficialFile(
                "data.tar.gz",
                "https://scifact.s3-us-west-2.amazonaws.com/release/latest/data.tar.gz",
                3_115_079,
                members=("claims_train.jsonl", "claims_dev.jsonl", "corpus.jsonl"),
            ),
        ),
        "data.tar.gz unpacked (claims_train.jsonl, claims_dev.jsonl, corpus.jsonl) or the CSV export",
    ),
    "fever": Source(
        "fever",
        "CC BY-SA 3.0 (Wikipedia terms)",
        (
            file_at(_FEVER, "train.jsonl", 33_024_303),
            file_at(_FEVER, "paper_dev.jsonl", 2_168_767, "0343eb51f4ca70ee91df152ac559034a"),
            file_at(_FEVER, "paper_test.jsonl", 2_181_168),
            # 1.7 GB with 109 files of pages: read as it is.
            file_at(_FEVER, "wiki-pages.zip", unpack=False),
        ),
        "the pages unpacked (wiki-pages/*.jsonl); validation and test also from FEVER-Symmetric "
        "(fever_symmetric/fever_symmetric_dev.jsonl and _test.jsonl), then named so in every example_id",
    ),
    "xsum": Source(
        "xsum",
        "repository MIT; texts of the BBC",
        (
            OfficialFile(
                "XSUM-EMNLP18-Summary-Data-Original.tar.gz",
                "http://bollin.inf.ed.ac.uk/public/direct/XSUM-EMNLP18-Summary-Data-Original.tar.gz",
                254_582_292,
            ),
            file_at(_XSUM, "XSum-TRAINING-DEV-TEST-SPLIT-90-5-5.json", 2_720_574),
        ),
        "{train,validation,test}.jsonl with document, summary, id",
    ),
    "cnn_dm": Source(
        "cnn_dm",
        "scripts Apache-2.0; stories from the DeepMind Q&A release, rights with CNN and the Daily Mail",
        (
            file_at(_CNN_DM, "cnn_stories.tgz", 158_577_824),
            file_at(_CNN_DM, "dailymail_stories.tgz", 375_893_739),
            file_at(_URLS, "all_train.txt"),
            file_at(_URLS, "all_val.txt", 2_433_674, "83a3c483b3ed38b1392285bed668bfee"),
            file_at(_URLS, "all_test.txt", 2_109_547, "4f3ac04669934dbc746b7061e68a0258"),
        ),
        "{train,validation,test}.jsonl with article, highlights, id; the lists in url_lists/",
    ),
    "wikisum": Source(
        "wikisum",
        "CC BY-NC-SA 3.0",
        (
            OfficialFile(
                "WikiSumDataset.zip",
                "https://wikisum.s3.amazonaws.com/WikiSumDataset.zip",
                members=("WikiSumDataset.jsonl",),
            ),
        ),
        "{train,validation,test}.jsonl with article, summary",
    ),
    "multi_news": Source(
        "multi_news",
        "non-commercial research and educational use",
        (
            file_at(_MULTI_NEWS, "train.src.cleaned", 547_512_283),
            file_at(_MULTI_NEWS, "train.tgt", 58_793_912),
            file_at(_MULTI_NEWS, "val.src.cleaned"),
            file_at(_MULTI_NEWS, "val.tgt"),
            file_at(_MULTI_NEWS, "test.src.cleaned", 68_999_509),
            file_at(_MULTI_NEWS, "test.tgt", 7_309_099),
        ),
        "the files in data/; LongBench's multi_news.jsonl (200 test clusters) as the test split",
    ),
    "hotpot_qa": Source(
        "hotpot_qa",
        "CC BY-SA 4.0",
        (
            file_at(_HOTPOT, "hotpot_train_v1.1.json", 566_426_227),
            file_at(_HOTPOT, "hotpot_dev_distractor_v1.json", 46_320_117),
        ),
        "parts of the dev file (hotpot_dev_distractor_v1*.json)",
    ),
    "ms_marco_qa": Source(
        "ms_marco_qa",
        "MS MARCO terms, non-commercial research",
        (
            file_at(_MS_MARCO, "train_v2.1.json.gz", 1_112_116_929, unpack=False),
            file_at(_MS_MARCO, "dev_v2.1.json.gz", 138_303_699, unpack=False),
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
            file_at(_WEBGLM, "train.jsonl"),
            file_at(_WEBGLM, "validation.jsonl"),
            file_at(_WEBGLM, "test.jsonl"),
        ),
        "the files in data/",
    ),
    "coqa": Source(
        "coqa",
        "by origin of the passage: CC BY-SA 4.0, MSR-LA, RACE terms, Apache",
        (
            file_at(_COQA, "coqa-train-v1.0.json", 49_001_836),
            file_at(_COQA, "coqa-dev-v1.0.json", 9_090_845),
        ),
    ),
    "quac": Source(
        "quac",
        "CC BY-SA 4.0",
        (
            file_at(_QUAC, "train_v0.2.json", 68_114_819),
            file_at(_QUAC, "val_v0.2.json", 8_929_167),
        ),
    ),
}

_pair = partial(make_pair, SOURCES)

PAIRS: tuple[Pair, ...] = (
    _pair(
        "reading_comprehension",
        "boolq",
        "sources.boolq:boolq",
        "context question answer",
        (9227, 200, 3270),
        kind="classify",
        metrics=LABEL_METRICS,
        document_fields=("context",),
        labels=("true", "false"),
        label_field="answer",
    ),
    _pair(
        "reading_comprehension",
        "squad",
        "sources.squad:squad",
        "title context question answer",
        (10_000, 200, 11_873),
        document_fields=("context",),
    ),
    _pair(
        "fact_verification",
        "climate_fever",
        "sources.claims:climate_fever",
        "claim evidences claim_label",
        (1229, 153, 153),
        document_fields=("evidences",),
        labels=("support", "refute", "disputed", "not enough information"),
        label_field="claim_label",
    ),
    _pair(
        "fact_verification",
        "scifact",
        "sources.claims:scifact",
        "claim evidence evidence_label",
        (862, 95, 338),
        document_fields=("evidence",),
        labels=("support", "refute"),
        label_field="evidence_label",
    ),
    # Decided claims of 145,449, 9,999 and 9,999.
    _pair(
        "fact_verification",
        "fever",
        "sources.fever:fever",
        "claim evidences claim_label",
        (10_000, 6_666, 6_666),
        document_fields=("evidences",),
        labels=("support", "refute"),
        label_field="claim_label",
    ),
    *(
        _pair(
            "summarization",
            name,
            f"sources.summaries:{name}",
            "article summary",
            counts,
            document_fields=("article",),
        )
        for name, counts in (
            ("xsum", (10_000, 11_332, 11_334)),
            ("cnn_dm", (10_000, 13_368, 11_490)),
            ("wikisum", (10_000, 2_000, 2_000)),
            ("multi_news", (10_000, 5_622, 5_622)),
        )
    ),
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
        "context question answer",
        None,
        source="ms_marco_qa",
        document_fields=("context",),
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
        "title background context history question answer",
        (10_000, 200, 7_354),
        metrics=QUAC_METRICS,
        document_fields=("context", "background"),
        optional_fields=("background", "history"),
        indispensable_fields=("history",),
    ),
)
