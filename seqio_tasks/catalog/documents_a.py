"""Document understanding: fact verification and summarization."""

from __future__ import annotations

from functools import partial

from seqio_tasks.catalog.types import OfficialFile, Pair, Source, make_pair

_FEVER = "https://fever.ai/download/fever/"
_CNN_DM = "hf://datasets/abisee/cnn_dailymail@11343c3752184397d56efc19a8a7cceb68089318/data/"
_URLS = "https://raw.githubusercontent.com/abisee/cnn-dailymail/b15ad0a2db0d407a84b8ca9b5731e1f1c4bd24b9/url_lists/"
_XSUM = "https://raw.githubusercontent.com/EdinburghNLP/XSum/master/XSum-Dataset/"
_MULTI_NEWS = "hf://datasets/alexfabbri/multi_news/data/"

SOURCES: dict[str, Source] = {
    "fever": Source(
        "fever",
        "CC BY-SA 3.0 (Wikipedia terms)",
        (
            OfficialFile("train.jsonl", f"{_FEVER}train.jsonl", 33_024_303),
            OfficialFile(
                "paper_dev.jsonl", f"{_FEVER}paper_dev.jsonl", 2_168_767, "0343eb51f4ca70ee91df152ac559034a"
            ),
            OfficialFile("paper_test.jsonl", f"{_FEVER}paper_test.jsonl", 2_181_168),
            # 1.7 GB with 109 files of pages: read as it is.
            OfficialFile("wiki-pages.zip", f"{_FEVER}wiki-pages.zip", unpack=False),
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
            OfficialFile(
                "XSum-TRAINING-DEV-TEST-SPLIT-90-5-5.json",
                f"{_XSUM}XSum-TRAINING-DEV-TEST-SPLIT-90-5-5.json",
                2_720_574,
            ),
        ),
        "{train,validation,test}.jsonl with document, summary, id",
    ),
    "cnn_dm": Source(
        "cnn_dm",
        "scripts Apache-2.0; stories from the DeepMind Q&A release, rights with CNN and the Daily Mail",
        (
            OfficialFile("cnn_stories.tgz", f"{_CNN_DM}cnn_stories.tgz", 158_577_824),
            OfficialFile("dailymail_stories.tgz", f"{_CNN_DM}dailymail_stories.tgz", 375_893_739),
            OfficialFile("all_train.txt", f"{_URLS}all_train.txt"),
            OfficialFile("all_val.txt", f"{_URLS}all_val.txt", 2_433_674, "83a3c483b3ed38b1392285bed668bfee"),
            OfficialFile(
                "all_test.txt", f"{_URLS}all_test.txt", 2_109_547, "4f3ac04669934dbc746b7061e68a0258"
            ),
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
            OfficialFile("train.src.cleaned", f"{_MULTI_NEWS}train.src.cleaned", 547_512_283),
            OfficialFile("train.tgt", f"{_MULTI_NEWS}train.tgt", 58_793_912),
            OfficialFile("val.src.cleaned", f"{_MULTI_NEWS}val.src.cleaned"),
            OfficialFile("val.tgt", f"{_MULTI_NEWS}val.tgt"),
            OfficialFile("test.src.cleaned", f"{_MULTI_NEWS}test.src.cleaned", 68_999_509),
            OfficialFile("test.tgt", f"{_MULTI_NEWS}test.tgt", 7_309_099),
        ),
        "the files in data/; LongBench's multi_news.jsonl (200 test clusters) as the test split",
    ),
}

_pair = partial(make_pair, SOURCES)

PAIRS: tuple[Pair, ...] = (
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
)
