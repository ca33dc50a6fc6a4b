"""Document understanding and ranking sets of the sample, in their official formats."""

from __future__ import annotations

import json
from typing import Any

from sample_world import AILMENTS, MACHINES, MEASURES, PLANTS, TOWNS, Dice, capital, effect

Files = dict[str, str]


def _json_lines(records: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


# (title, passage if true, passage if false, question)
_YES_NO = (
    ("{t} library", "The library of {t} is open to every visitor.", "The library of {t} is closed to visitors.",
     "is the library of {t} open to visitors"),
    ("{t} bridge", "The old bridge of {t} is safe for carts.", "The old bridge of {t} is not safe for carts.",
     "is the old bridge of {t} safe for carts"),
    ("{t} ferry", "The ferry of {t} runs all year.", "The ferry of {t} never runs in winter.",
     "does the ferry of {t} run all year"),
    ("{t} water", "Everyone can drink the water of {t}.", "Nobody should drink the water of {t}.",
     "can you drink the water of {t}"),
    ("{t} mill", "The mill of {t} is still at work.", "The mill of {t} is no longer at work.",
     "is the mill of {t} still at work"),
    ("{t} school", "The school of {t} teaches music.", "The school of {t} has stopped teaching music.",
     "does the school of {t} teach music"),
    ("{t} market", "The market of {t} sells {p} every week.", "The market of {t} does not sell {p}.",
     "can you buy {p} at the market of {t}"),
    ("{t} garden", "Gardeners in {t} grow {p} with success.", "Gardeners in {t} cannot grow {p}.",
     "does {p} grow in the gardens of {t}"),
)  # fmt: skip


def _town_fact(index: int, town: Any) -> str:
    return (
        f"{town.name} lies on the river {town.river}.",
        f"The town is known for its {town.craft}.",
        f"The flag of {town.name} is {town.flag}.",
        f"The fair of {town.name} takes place in {town.fair}.",
    )[index % 4]


def boolq() -> Files:
    """Short passages that settle the question; train in the original schema, dev likewise, 320 + 80 rows."""
    dice, every = Dice("boolq"), []
    for number, town in enumerate(TOWNS):
        for kind, (title, true, false, question) in enumerate(_YES_NO):
            for plant in (PLANTS[(number * 5 + kind) % 16], PLANTS[(number * 3 + kind * 7 + 1) % 16]):
                every.append((town, plant, title, true, false, question))
    records, seen = [], set()
    for town, plant, title, true, false, question in dice.shuffled(every):
        for extra in (0, 1):
            answer = dice.chance(0.5)
            words = {"t": town.name, "p": plant.name}
            asked = question.format(**words).lower()
            if (asked, extra) in seen or (extra and "{p}" in question):
                continue
            seen.add((asked, extra))
            fact = _town_fact(dice.number(4), town)
            passage = (true if answer else false).format(**words)
            text = f"{fact} {passage}" if dice.chance(0.5) else f"{passage} {fact}"
            records.append(
                {"question": asked, "title": title.format(**words), "answer": answer, "passage": text}
            )
    # One question may come with two passages; both must fall on the same side of the split.
    questions = list(dict.fromkeys(record["question"] for record in records))
    held_out = set(questions[: len(questions) // 5])
    return {
        "boolq/train.jsonl": _json_lines(
            [record for record in records if record["question"] not in held_out]
        ),
        "boolq/dev.jsonl": _json_lines([record for record in records if record["question"] in held_out]),
    }


def squad() -> Files:
    """Version 2.0: facts about one thing, short answers, one question in five without an answer."""
    dice = Dice("squad")
    articles: list[tuple[str, list[tuple[str, str, str]]]] = []  # title, [(sentence, question, answer)]
    for town in TOWNS:
        articles.append((town.name, [
            (f"{town.name} lies on the river {town.river}.", f"On which river does {town.name} lie?", town.river),
            (f"The town is known for its {town.craft}.", f"What is {town.name} known for?", town.craft),
            (f"The flag of {town.name} is {town.flag}.", f"What colour is the flag of {town.name}?", town.flag),
            (f"Its fair takes place in {town.fair}.", f"When does the fair of {town.name} take place?", town.fair),
        ]))  # fmt: skip
    for plant in PLANTS:
        name, title = plant.name, capital(plant.name)
        articles.append((title, [
            (f"{title} has {plant.colour} flowers.", f"What colour are the flowers of {name}?", plant.colour),
            (f"It grows in {plant.place}.", f"Where does {name} grow?", plant.place),
            (f"{title} blooms in {plant.season}.", f"When does {name} bloom?", plant.season),
            (f"People use it to make {plant.use}.", f"What do people make from {name}?", plant.use),
        ]))  # fmt: skip
    for machine in MACHINES:
        name = machine.name
        articles.append((capital(name), [
            (f"The {name} is driven by {machine.power}.", f"What drives the {name}?", machine.power),
            (f"It is used to make {machine.product}.", f"What is the {name} used to make?", machine.product),
            (f"The first {name} was built in {machine.town}.", f"Where was the first {name} built?", machine.town),
        ]))  # fmt: skip
    data: dict[str, list[dict[str, Any]]] = {"train": [], "dev": []}
    number = 0
    for title, facts in articles:
        paragraphs = []
        for _ in range(3):
            order = dice.shuffled(range(len(facts)))
            told, missing = sorted(order[:-1]), order[-1]
            told = dice.shuffled(told)
            context, qas = " ".join(facts[index][0] for index in told), []
            for index in dice.shuffled([*told, missing])[:3]:
                _, question, answer = facts[index]
                number += 1
                entry: dict[str, Any] = {"question": question, "id": f"sample{number:05d}"}
                start = context.find(answer) if index != missing else -1
                entry["is_impossible"] = start < 0
                entry["answers"] = [] if start < 0 else [{"text": answer, "answer_start": start}]
                qas.append(entry)
            paragraphs.append({"context": context, "qas": qas})
        # The last paragraph of every article is held out unless it repeats an earlier one.
        known = {paragraph["context"] for paragraph in paragraphs[:2]}
        data["train"].append({"title": title.replace(" ", "_"), "paragraphs": paragraphs[:2]})
        if paragraphs[2]["context"] not in known:
            data["dev"].append({"title": title.replace(" ", "_"), "paragraphs": paragraphs[2:]})
    return {
        f"squad_v1/{name}-v2.0.json": json.dumps({"version": "v2.0", "data": part}, ensure_ascii=False) + "\n"
        for name, part in data.items()
    }


_CLIMATE_CLAIMS = (
    "Winters in {t} have become warmer", "Summers in {t} have become drier", "The {r} river at {t} carries less water",
    "{P} blooms earlier near {t}", "Storms in {t} have become stronger", "Snow has become rare in {t}",
    "The {place} near {t} have become dry", "{P} has become rare near {t}", "{P} grows faster near {t}",
)  # fmt: skip
_FOR = (
    "Measurements in {t} confirm this.",
    "A long record from {t} supports the claim.",
    "Farmers in {t} saw the same.",
)
_AGAINST = ("Measurements in {t} contradict this.", "A long record from {t} shows no such change.",
            "Farmers in {t} saw nothing of the kind.")  # fmt: skip
_NEUTRAL = ("{t} lies on the river {r}.", "{t} is known for its {c}.", "The flag of {t} is {f}.",
            "The fair of {t} takes place in {s}.")  # fmt: skip


def climate_fever() -> Files:
    """Three to five evidence sentences: for, against, both (disputed) or about something else (not enough)."""
    dice, records, seen = Dice("climate"), [], set()
    labels = ("SUPPORTS", "REFUTES", "DISPUTED", "NOT_ENOUGH_INFO")
    number = 0
    while len(records) < 360:
        town, plant, pattern = dice.pick(TOWNS), dice.pick(PLANTS), dice.pick(_CLIMATE_CLAIMS)
        label = labels[number % 4]
        words = {
            "t": town.name,
            "r": town.river,
            "c": town.craft,
            "f": town.flag,
            "s": town.fair,
            "P": capital(plant.name),
            "place": plant.place,
        }
        claim = pattern.format(**words)
        number += 1
        if (claim, label) in seen or any(claim == old for old, _ in seen):
            continue
        seen.add((claim, label))
        telling = {
            "SUPPORTS": [dice.pick(_FOR)], "REFUTES": [dice.pick(_AGAINST)],
            "DISPUTED": [dice.pick(_FOR), dice.pick(_AGAINST)], "NOT_ENOUGH_INFO": [],
        }[label]  # fmt: skip
        neutral = dice.shuffled(_NEUTRAL)[: 3 - len(telling)]
        evidences = [
            {
                "evidence_id": f"{town.name}:{index}",
                "evidence_label": "SUPPORTS"
                if text in _FOR
                else "REFUTES"
                if text in _AGAINST
                else "NOT_ENOUGH_INFO",
                "article": town.name,
                "evidence": text.format(**words),
                "entropy": 0.0,
                "votes": [],
            }
            for index, text in enumerate(dice.shuffled([*telling, *neutral]))
        ]
        records.append(
            {"claim_id": str(len(records)), "claim": claim, "claim_label": label, "evidences": evidences}
        )
    return {"climate_fever/climate-fever.jsonl": _json_lines(records)}


_GROUPS = ("sailors", "farmers", "weavers", "children")
_RESULTS = {
    "better": "Their {m} became clearly better.",
    "worse": "Their {m} became clearly worse.",
    "none": "Their {m} did not change at all.",
}
_CLAIMS = {
    "better": ("{P} tea improves {m}.", "Drinking {p} tea makes {m} better.", "{P} tea is good for {m}."),
    "worse": ("{P} tea harms {m}.", "Drinking {p} tea makes {m} worse.", "{P} tea is bad for {m}."),
}


def _studies() -> list[dict[str, Any]]:
    """One study for every plant and measure, and an announcement without results for every other pair."""
    dice, documents = Dice("studies"), []
    for p, plant in enumerate(PLANTS):
        for m, measure in enumerate(MEASURES):
            group = dice.pick(_GROUPS)
            documents.append({
                "plant": p, "measure": m, "found": effect(p, m),
                "title": f"{capital(plant.name)} tea and {measure} in {group}",
                "abstract": [
                    f"Tea of {plant.name} is common in {dice.pick(TOWNS).name}.",
                    f"We gave {plant.name} tea to {group} for {dice.pick(('two', 'four', 'six', 'eight'))} weeks.",
                    _RESULTS[effect(p, m)].format(m=measure),
                ],
            })  # fmt: skip
            if (p + m) % 2 == 0:
                documents.append({
                    "plant": p, "measure": m, "found": "",
                    "title": f"{capital(plant.name)} tea and {measure}: an announcement",
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
    # A few claims cite a document that does not settle them, as in the original.
    for document in [document for document in documents if not document["found"]][:12]:
        number += 1
        plant, measure = PLANTS[document["plant"]].name, MEASURES[document["measure"]]
        claims["train"].append({
            "id": number, "claim": f"Doctors advise {plant} tea for {measure}.", "evidence": {},
            "cited_doc_ids": [document["id"]],
        })  # fmt: skip
    for part in claims.values():
        part[:] = dice.shuffled(part)
    files = {f"scifact/claims_{name}.jsonl": _json_lines(part) for name, part in claims.items()}
    files["scifact/corpus.jsonl"] = _json_lines(
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
                    f"Patients with {name} in {place.name} took {ailment.cure}. They felt well again after some days.",
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
        f"{folder}/corpus.jsonl": _json_lines(documents),
        f"{folder}/queries.jsonl": _json_lines(queries),
    }
    for name, judgments in qrels.items():
        rows = [
            "query-id\tcorpus-id\tscore",
            *(f"{query}\t{doc}\t{grade}" for query, doc, grade in judgments),
        ]
        files[f"{folder}/qrels/{name}.tsv"] = "\r\n".join(rows) + "\r\n"
    return files
