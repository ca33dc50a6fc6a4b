"""SciFact and the BEIR folders of the sample: claims, studies, and what helps against which ailment.

A first stage by words finds the documents on the right subject, but many of them say nothing: announcements
of a study, newsletters. They repeat the words of a query and are never relevant. That is what a reranker can
learn here within minutes, from the documents alone.
"""

from __future__ import annotations

from typing import Any

from sample_documents import Files, json_lines
from sample_world import TOWNS, Dice, capital

Judgments = dict[str, list[tuple[str, str, int]]]

# (remedy, what it was studied for): every word of a subject occurs in no other.
_SUBJECTS = (
    ("bramwort", "pulse"), ("quillroot", "sleep"), ("dapplefern", "appetite"), ("morrowleaf", "memory"),
    ("tansybell", "eyesight"), ("gorsecap", "hearing"), ("hollowthorn", "breath"), ("pennyleaf", "digestion"),
    ("winterbalm", "balance"), ("rushpetal", "mood"), ("oatvine", "strength"), ("candlewort", "warmth"),
    ("bristleberry", "speech"), ("thimblemoss", "growth"), ("fogdaisy", "grace"), ("tarragrass", "calm"),
    ("cinderleaf", "attention"), ("larkseed", "grip"), ("mudlily", "smell"), ("plumeweed", "taste"),
    ("saffwort", "stamina"), ("twinebark", "reflexes"), ("umberfern", "rhythm"), ("veilpod", "writing"),
    ("wickroot", "singing"), ("yarrel", "hair"), ("zestgrass", "skin"), ("elmsorrel", "voice"),
    ("foxreed", "walking"), ("gullwort", "lifting"), ("hazepod", "counting"), ("ivybean", "reading"),
)  # fmt: skip
_GROUPS = ("sailors", "farmers", "weavers", "children", "bakers", "miners")
_WEEKS = ("two", "four", "six", "eight")
_FINDINGS = ("better", "none", "worse")
_RESULTS = {
    "better": "Their {m} became better, and the effect was strong.",
    "worse": "Their {m} became worse, and the effect was strong.",
    "none": "Their {m} did not change at all, and no effect was seen.",
}
_CLAIMS = {
    "better": ("{P} improves {m}.", "{P} is good for {m}.", "{P} is a help to {m}."),
    "worse": ("{P} harms {m}.", "{P} is bad for {m}.", "{P} is a danger to {m}."),
    "none": ("{P} does nothing for {m}.", "{P} is useless for {m}.", "{P} has no effect on {m}."),
}


def _studies() -> list[dict[str, Any]]:
    """Three studies of every subject with the same finding, and three announcements without one."""
    dice = Dice("studies")
    documents: list[dict[str, Any]] = []
    for subject, (remedy, measure) in enumerate(_SUBJECTS):
        finding, groups = _FINDINGS[subject % 3], dice.shuffled(_GROUPS)
        for group in groups[:3]:
            abstract = [
                f"We gave {remedy} to {group} for {dice.pick(_WEEKS)} weeks.",
                _RESULTS[finding].format(m=measure),
            ]
            title = f"{capital(remedy)} and {measure} in {group}"
            documents.append({"subject": subject, "finding": finding, "title": title, "abstract": abstract})
        for group in groups[3:]:
            abstract = [
                f"This note announces a study of {remedy} and {measure}.",
                f"Results on {remedy} and {measure} are not known yet.",
            ]
            title = f"Announcement: {remedy} and {measure} in {group}"
            documents.append({"subject": subject, "finding": "", "title": title, "abstract": abstract})
    documents = dice.shuffled(documents)
    for number, document in enumerate(documents):
        document["id"] = 4001 + 7 * number
    return documents


def _claims(documents: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Train and dev claims in the official form; a subject is on one side only.

    Every finding is claimed rightly and wrongly, and every claim is right of some subjects and wrong of
    others, so neither a claim nor a study alone tells the label.
    """
    dice, number = Dice("scifact"), 0
    claims: dict[str, list[dict[str, Any]]] = {"train": [], "dev": []}
    surplus = {"train": 0, "dev": 0}  # right claims beyond the wrong ones
    for subject, (remedy, measure) in enumerate(_SUBJECTS):
        split = "dev" if subject // 4 in (2, 5) else "train"
        finding = _FINDINGS[subject % 3]
        studies = [item for item in documents if item["subject"] == subject and item["finding"]]
        right = [(finding, index) for index in dice.shuffled(range(3))]
        wrong = [(way, index) for index in dice.shuffled(range(3)) for way in _CLAIMS if way != finding]
        count = 6 if finding == "none" else 4 if subject % 4 == 0 else 3
        # Of three claims, one or two are right, in balance over the side.
        rights = count // 2 + (count % 2 and surplus[split] <= 0)
        surplus[split] += 2 * rights - count
        start = subject // 3 % 2  # which wrong way comes first
        for way, index in [*right[:rights], *wrong[start:][: count - rights]]:
            number += 1
            label = "SUPPORT" if way == finding else "CONTRADICT"
            claims[split].append({
                "id": number,
                "claim": _CLAIMS[way][index].format(P=capital(remedy), m=measure),
                "evidence": {str(study["id"]): [{"sentences": [0, 1], "label": label}] for study in studies},
                "cited_doc_ids": [study["id"] for study in studies],
            })  # fmt: skip
        if subject % 4 == 3:
            # Not settled by the studies it cites, as some of the original: no evidence, but judgments.
            number += 1
            claims[split].append({
                "id": number, "claim": f"Doctors advise {remedy} for {measure}.", "evidence": {},
                "cited_doc_ids": [study["id"] for study in studies],
            })  # fmt: skip
    return {name: dice.shuffled(part) for name, part in claims.items()}


def scifact() -> Files:
    """Claims and abstracts as official JSON lines, and the same as a BEIR folder: claims are the queries.

    Half of the claims agree with the finding of the studies.
    """
    documents = _studies()
    claims = _claims(documents)
    files = {f"scifact/claims_{name}.jsonl": json_lines(part) for name, part in claims.items()}
    files["scifact/corpus.jsonl"] = json_lines([
        {"doc_id": item["id"], "title": item["title"], "abstract": item["abstract"], "structured": False}
        for item in documents
    ])  # fmt: skip
    everything = sorted(claims["train"] + claims["dev"], key=lambda claim: claim["id"])
    queries = [{"_id": str(claim["id"]), "text": claim["claim"], "metadata": {}} for claim in everything]
    corpus = [(str(item["id"]), item["title"], " ".join(item["abstract"])) for item in documents]
    qrels: Judgments = {
        beir: [(str(claim["id"]), str(doc), 1) for claim in claims[name] for doc in claim["cited_doc_ids"]]
        for beir, name in (("train", "train"), ("test", "dev"))
    }
    return files | _beir("beir_scifact", corpus, queries, qrels)


# (ailment, its cure, its first sign, where it comes from); again no word in two ailments.
_AILMENTS = (
    ("tar cough", "morrowleaf", "dry lips", "wood smoke"),
    ("wick rash", "oatvine", "pale skin", "insect bites"),
    ("gull eye", "rushpetal", "weak knees", "dirty water"),
    ("harbour chill", "veilpod", "cold hands", "wet shoes"),
    ("kiln throat", "larkseed", "dry lips", "wood smoke"),
    ("ember cramp", "foxreed", "pale skin", "insect bites"),
    ("ferry fever", "mudlily", "weak knees", "dirty water"),
    ("loom ache", "yarrel", "cold hands", "wet shoes"),
    ("quarry lung", "hazepod", "dry lips", "wood smoke"),
    ("orchard sneeze", "gorsecap", "pale skin", "insect bites"),
)
_QUERIES = (
    ("What helps against {x}?", "cure"), ("Treating {x}", "cure"), ("Herbs for {x}", "cure"),
    ("A cure for {x}", "cure"), ("How to get rid of {x}", "cure"), ("Best treatment of {x}", "cure"),
    ("Where does {x} come from?", "cause"), ("Causes of {x}", "cause"), ("Signs of {x}", "cause"),
    ("Why do people get {x}?", "cause"), ("Onset of {x}", "cause"), ("Early symptoms of {x}", "cause"),
    ("Herbal remedies and {x}", "cure"), ("Healing {x}", "cure"), ("Medicine for {x}", "cure"),
    ("Sources of {x}", "cause"), ("How to notice {x}", "cause"), ("Who catches {x}?", "cause"),
)  # fmt: skip


def nfcorpus() -> Files:
    """Notes on ailments: grade 2 for what the query asks (cure or cause), 1 for the other, newsletters 0."""
    dice = Dice("nfcorpus")
    texts: list[tuple[int, str, str, str]] = []  # ailment, kind, title, text
    for number, (name, cure, sign, source) in enumerate(_AILMENTS):
        title, places = capital(name), [town.name for town in dice.shuffled(TOWNS)]
        for place in places[:5]:
            text = f"Patients in {place} took {cure} and felt well again."
            texts.append((number, "cure", f"{capital(cure)} for {name}", text))
        for place in places[5:10]:
            text = f"It begins with {sign}. In {place} it followed {source}."
            texts.append((number, "cause", f"{title} in {place}", text))
        for place in places[10:16]:
            text = f"Our newsletter has news on {name}, and a list of members who write on {name}."
            texts.append((number, "news", f"Newsletter of {place} on {name}", text))
    texts = dice.shuffled(texts)
    ids = [f"MED-{10 + 3 * number}" for number in range(len(texts))]
    corpus = [(doc_id, title, text) for doc_id, (_, _, title, text) in zip(ids, texts, strict=True)]
    asked = [(ailment, *query) for ailment in range(len(_AILMENTS)) for query in _QUERIES]
    queries: list[dict[str, Any]] = []
    qrels: Judgments = {"train": [], "dev": [], "test": []}
    for number, (ailment, pattern, wanted) in enumerate(dice.shuffled(asked), start=1):
        query_id = f"PLAIN-{number}"
        queries.append({"_id": query_id, "text": pattern.format(x=_AILMENTS[ailment][0]), "metadata": {}})
        split = "test" if number % 4 == 0 else "dev" if number % 12 == 1 else "train"
        for doc_id, (about, kind, _, _) in zip(ids, texts, strict=True):
            if about == ailment and kind != "news":
                qrels[split].append((query_id, doc_id, 2 if kind == wanted else 1))
    return _beir("beir_nfcorpus", corpus, queries, qrels)


def _beir(
    folder: str, corpus: list[tuple[str, str, str]], queries: list[dict[str, Any]], qrels: Judgments
) -> Files:
    documents = [
        {"_id": doc_id, "title": title, "text": text, "metadata": {}} for doc_id, title, text in corpus
    ]
    files = {f"{folder}/corpus.jsonl": json_lines(documents), f"{folder}/queries.jsonl": json_lines(queries)}
    for name, judgments in qrels.items():
        rows = [
            "query-id\tcorpus-id\tscore",
            *(f"{query}\t{doc}\t{grade}" for query, doc, grade in judgments),
        ]
        files[f"{folder}/qrels/{name}.tsv"] = "\r\n".join(rows) + "\r\n"
    return files
