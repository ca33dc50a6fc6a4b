"""The official files of every dataset: where they are, how large, which checksum, under which licence.

``folder`` is the name of the dataset's folder inside the raw directory. A checksum is written down only where
it is known from a published list (ir_datasets, BEIR, TFDS); empty means unknown.
"""

from __future__ import annotations

from seqio_tasks.catalog import documents_a, documents_b, queries_a, queries_b, query_document
from seqio_tasks.catalog.types import OfficialFile, Source

__all__ = ["SOURCES", "OfficialFile", "Source"]


_NIST = "https://trec.nist.gov/data/"
_FIRE = "https://www.isical.ac.in/~fire/data/topics/adhoc/"
_BOOLQ = "https://storage.googleapis.com/boolq/"
_SQUAD = "https://rajpurkar.github.io/SQuAD-explorer/dataset/"
_SENTEVAL = "https://dl.fbaipublicfiles.com/senteval/senteval_data/"
_GITHUB = "https://raw.githubusercontent.com/"
_BEIR_MEMBERS = ("corpus.jsonl", "queries.jsonl", "qrels/*.tsv")
_BEIR = "https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets/"

_FIRST: dict[str, Source] = {
    "gov2": Source(
        "gov2",
        "NIST topics, public, no explicit licence",
        (
            OfficialFile(
                "04topics.701-750.txt",
                f"{_NIST}terabyte/04/04topics.701-750.txt",
                21_236,
                "18b390335e440d099f3d64bef81708be",
            ),
            OfficialFile(
                "05.topics.751-800.txt",
                f"{_NIST}terabyte/05/05.topics.751-800.txt",
                24_822,
                "f0fb2603c7d89425965e5aaa104ddca6",
            ),
            OfficialFile(
                "06.topics.801-850.txt",
                f"{_NIST}terabyte/06/06.topics.801-850.txt",
                27_791,
                "6e23a748c060ef5be64dbcc65245072f",
            ),
        ),
        "any *topics*.txt",
    ),
    "trec_robust": Source(
        "trec_robust04",
        "NIST topics, public, no explicit licence",
        (
            OfficialFile(
                "04.testset.gz",
                f"{_NIST}robust/04.testset.gz",
                34_293,
                "5eac3d774a2f87da61c08a94f945beff",
            ),
            OfficialFile("05.50.topics.txt", f"{_NIST}robust/05/05.50.topics.txt"),
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
            OfficialFile("en.topics.26-75.2008.txt", f"{_FIRE}en.topics.26-75.2008.txt"),
            OfficialFile("en.topics.76-125.2010.txt", f"{_FIRE}en.topics.76-125.2010.txt"),
            OfficialFile("en.topics.126-175.2011.txt", f"{_FIRE}en.topics.126-175.2011.txt"),
            OfficialFile("en.topics.176-225.2012.txt", f"{_FIRE}en.topics.176-225.2012.txt"),
        ),
        "any *topics*.txt",
    ),
    "msrp": Source(
        "msrp",
        "MSR-SSLA, non-commercial",
        (
            OfficialFile(
                "msr_paraphrase_train.txt",
                f"{_SENTEVAL}msr_paraphrase_train.txt",
                1_047_044,
                sha256="60a9b09084528f0673eedee2b69cb941920f0b8cd0eeccefc464a98768457f89",
            ),
            OfficialFile(
                "msr_paraphrase_test.txt",
                f"{_SENTEVAL}msr_paraphrase_test.txt",
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
        (
            OfficialFile(
                "MIMICS-Manual.tsv",
                f"{_GITHUB}microsoft/MIMICS/master/data/MIMICS-Manual.tsv",
                312_923,
            ),
        ),
    ),
    "boolq": Source(
        "boolq",
        "CC BY-SA 3.0",
        (
            OfficialFile("train.jsonl", f"{_BOOLQ}train.jsonl", 6_525_813),
            OfficialFile("dev.jsonl", f"{_BOOLQ}dev.jsonl", 2_238_726),
        ),
        "the SuperGLUE form (train.jsonl, val.jsonl)",
    ),
    "squad": Source(
        "squad_v1",
        "CC BY-SA 4.0",
        (
            OfficialFile("train-v1.1.json", f"{_SQUAD}train-v1.1.json", 30_288_272),
            OfficialFile("dev-v1.1.json", f"{_SQUAD}dev-v1.1.json", 4_854_279),
            OfficialFile("train-v2.0.json", f"{_SQUAD}train-v2.0.json", 42_123_633),
            OfficialFile("dev-v2.0.json", f"{_SQUAD}dev-v2.0.json", 4_370_528),
        ),
        "either version (v2.0 goes first where both lie); xquad.en.json as test only",
    ),
    "climate_fever": Source(
        "climate_fever",
        "not stated; evidence from Wikipedia (CC BY-SA)",
        (
            OfficialFile(
                "climate-fever.jsonl",
                f"{_GITHUB}tdiggelm/climate-fever-dataset/main/dataset/climate-fever.jsonl",
                3_152_039,
            ),
        ),
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
    "beir_scifact": Source(
        "beir_scifact",
        "SciFact CC BY 4.0 / ODC-By; BEIR card CC BY-SA 4.0",
        (
            OfficialFile(
                "scifact.zip",
                f"{_BEIR}scifact.zip",
                2_816_079,
                "5f7d1de60b170fc8027bb7898e2efca1",
                members=_BEIR_MEMBERS,
            ),
        ),
        "the zip unpacked",
    ),
    "beir_nfcorpus": Source(
        "beir_nfcorpus",
        "NFCorpus: academic use, other uses on request; BEIR card CC BY-SA 4.0",
        (
            OfficialFile(
                "nfcorpus.zip",
                f"{_BEIR}nfcorpus.zip",
                2_448_432,
                "a89dba18a62ef92f7d323ec890a0d38d",
                members=_BEIR_MEMBERS,
            ),
        ),
        "the zip unpacked",
    ),
}

SOURCES: dict[str, Source] = dict(_FIRST)
for _rows in (queries_a, queries_b, documents_a, documents_b, query_document):
    if _twice := sorted(SOURCES.keys() & _rows.SOURCES.keys()):
        raise ValueError(f"{_rows.__name__}: SOURCES already has {', '.join(_twice)}")
    SOURCES.update(_rows.SOURCES)
