"""SciFact and the BEIR folders of the sample: claims, studies, and what helps against which ailment."""

from __future__ import annotations

from typing import Any

from sample_documents import Files, json_lines
from sample_world import AILMENTS, MEASURES, PLANTS, TOWNS, Dice, capital, effect

_GROUPS = ("sailors", "farmers", "weavers", "children")
_WEEKS = ("two", "four", "six", "eight")
_RESULTS = {
    "better": "Their {m} became clearly better.",
    "worse": "Their {m} became clearly worse.",
    "none": "Their {m} did not change at all.",
}
_CLAIMS = {
    "better": ("{P} improves {m}.", "Drinking {p} tea makes {m} better.", "{P} is good for {m}."),
    "worse": ("{P} harms {m}.", "Drinking {p} tea makes {m} worse.", "{P} is bad for {m}."),
}


def _studies() -> list[dict[str, Any]]:
    """One study for every plant and measure, and an announcement without results for every other pair."""
    dice, documents = Dice("studies"), []
    for p, plant in enumerate(PLANTS):
        for m, measure in enumerate(MEASURES):
            group = dice.pick(_GROUPS)
            documents.append({
                "plant": p, "measure": m, "found": effect(p, m),
                "title": f"{capital(plant.name)} and {measure} in {group}",
                "abstract": [
                    f"{capital(plant.name)} is common near {dice.pick(TOWNS).name}.",
                    f"We gave {plant.name} to {group} for {dice.pick(_WEEKS)} weeks.",
                    _RESULTS[effect(p, m)].format(m=measure),
                ],
            })  # fmt: skip
            if (p + m) % 2 == 0:
                documents.append({
                    "plant": p, "measure": m, "found": "",
                    "title": f"{capital(plant.name)} and {measure}: an announcement",
                    "abstract": [
                        f"This note announces a study of {plant.name} tea and {measure}.",
                        f"Does {plant.name} tea change {measure}? No results are known yet.",
                    ],
                })  # fmt: skip
    documents = dice.shuffled(documents)
    for number, document in enumerate(documents):
        document["id"] = 4001 + 7 * number
    return documents


def scifact() -> Files:
    """Claims and abstracts (official JSON lines), and the same as a BEIR folder: claims are the queries.

    Most claims state what the study found; claims about a study without effect are refuted, and so are a few
    that state the opposite. Announcements use the words of a claim and never answer it.
    """
    dice, documents = Dice("scifact"), _studies()
    claims: dict[str, list[dict[str, Any]]] = {"train": [], "dev": []}
    number = 0
    for document in documents:
        if not document["found"]:
            continue
        split = "dev" if (document["plant"] * 6 + document["measure"]) % 4 == 1 else "train"
        opposite = {"better": "worse", "worse": "better"}
        stated = (
            [document["found"]] * 3
            if document["found"] in opposite
            else [dice.pick(("better", "worse")) for _ in "abc"]
        )
        if document["found"] in opposite and dice.chance(0.35):
            stated[0] = opposite[document["found"]]
        for index, direction in enumerate(stated):
            number += 1
            plant, measure = PLANTS[document["plant"]].name, MEASURES[document["measure"]]
            text = _CLAIMS[direction][index].format(P=capital(plant), p=plant, m=measure)
            label = "SUPPORT" if direction == document["found"] else "CONTRADICT"
            evidence = {str(document["id"]): [{"sentences": [1, 2], "label": label}]}
            claims[split].append(
                {"id": number, "claim": text, "evidence": evidence, "cited_doc_ids": [document["id"]]}
            )
    # A few claims are not settled by the study they cite, as in the original: no evidence, but a judgment.
    for document in [document for document in documents if document["found"]][:12]:
        number += 1
        plant, measure = PLANTS[document["plant"]].name, MEASURES[document["measure"]]
        claims["train"].append({
            "id": number, "claim": f"Doctors advise {plant} for {measure}.", "evidence": {},
            "cited_doc_ids": [document["id"]],
        })  # fmt: skip
    for part in claims.values():
        part[:] = dice.shuffled(part)
    files = {f"scifact/claims_{name}.jsonl": json_lines(part) for name, part in claims.items()}
    files["scifact/corpus.jsonl"] = json_lines(
        [
            {
                "doc_id": document["id"],
                "title": document["title"],
                "abstract": document["abstract"],
                "structured": False,
            }
            for document in documents
        ]
    )
    everything = sorted(claims["train"] + claims["dev"], key=lambda claim: claim["id"])
    queries = [{"_id": str(claim["id"]), "text": claim["claim"], "metadata": {}} for claim in everything]
    corpus = [
        (str(document["id"]), document["title"], " ".join(document["abstract"])) for document in documents
    ]
    qrels = {
        beir: [(str(claim["id"]), str(doc), 1) for claim in claims[name] for doc in claim["cited_doc_ids"]]
        for beir, name in (("train", "train"), ("test", "dev"))
    }
    return files | _beir("beir_scifact", corpus, queries, qrels)


def nfcorpus() -> Files:
    """Notes on what helps against which ailment; grade 2 for the cure itself, 1 for the ailment in general.

    Newsletters name the ailment often and judge nothing: they are never relevant.
    """
    dice, corpus, queries = Dice("nfcorpus"), [], []
    qrels: dict[str, list[tuple[str, str, int]]] = {"train": [], "dev": [], "test": []}
    texts: list[tuple[int, str, str, str]] = []  # ailment, kind, title, text
    for a, ailment in enumerate(AILMENTS):
        name, title = ailment.name, capital(ailment.name)
        for place in dice.shuffled(TOWNS)[:6]:
            texts.append(
                (
                    a,
                    "cure",
                    f"{capital(ailment.cure)} against {name}",
                    f"Patients with {name} in {place.name} took {ailment.cure}. They felt well again.",
                )
            )
        for place in dice.shuffled(TOWNS)[:6]:
            texts.append(
                (
                    a,
                    "cause",
                    f"{title} in {place.name}",
                    f"The first sign is {ailment.sign}. In {place.name} it came from {ailment.source}.",
                )
            )
        for place in dice.shuffled(TOWNS)[:5]:
            texts.append(
                (
                    a,
                    "news",
                    f"{title} newsletter of {place.name}",
                    f"Read our newsletter on {name}. This issue has news on {name} and a list of members.",
                )
            )
    texts = dice.shuffled(texts)
    ids = [f"MED-{10 + 3 * number}" for number in range(len(texts))]
    corpus = [(doc_id, title, text) for doc_id, (_, _, title, text) in zip(ids, texts, strict=True)]
    patterns = (
        ("What helps against {x}?", "cure"), ("Treating {x}", "cure"), ("Herbs for {x}", "cure"),
        ("A cure for {x}", "cure"), ("How to get rid of {x}", "cure"), ("Best treatment of {x}", "cure"),
        ("Where does {x} come from?", "cause"), ("Causes of {x}", "cause"), ("First signs of {x}", "cause"),
        ("Why do people get {x}?", "cause"), ("How {x} begins", "cause"), ("Early signs of {x}", "cause"),
        ("Herbal help with {x}", "cure"), ("Healing {x}", "cure"), ("Medicine for {x}", "cure"),
        ("Sources of {x}", "cause"), ("How to notice {x}", "cause"), ("Signs of {x}", "cause"),
    )  # fmt: skip
    asked = [(a, pattern, kind) for a in range(len(AILMENTS)) for pattern, kind in patterns]
    for number, (a, pattern, kind) in enumerate(dice.shuffled(asked), start=1):
        query_id = f"PLAIN-{number}"
        queries.append({"_id": query_id, "text": pattern.format(x=AILMENTS[a].name), "metadata": {}})
        split = "test" if number % 4 == 0 else "dev" if number % 12 == 1 else "train"
        for doc_id, (about, what, _, _) in zip(ids, texts, strict=True):
            if about == a and what != "news":
                qrels[split].append((query_id, doc_id, 2 if what == kind else 1))
    return _beir("beir_nfcorpus", corpus, queries, qrels)


def _beir(
    folder: str,
    corpus: list[tuple[str, str, str]],
    queries: list[dict[str, Any]],
    qrels: dict[str, list[tuple[str, str, int]]],
) -> Files:
    documents = [
        {"_id": doc_id, "title": title, "text": text, "metadata": {}} for doc_id, title, text in corpus
    ]
    files = {
        f"{folder}/corpus.jsonl": json_lines(documents),
        f"{folder}/queries.jsonl": json_lines(queries),
    }
    for name, judgments in qrels.items():
        rows = [
            "query-id\tcorpus-id\tscore",
            *(f"{query}\t{doc}\t{grade}" for query, doc, grade in judgments),
        ]
        files[f"{folder}/qrels/{name}.tsv"] = "\r\n".join(rows) + "\r\n"
    return files
