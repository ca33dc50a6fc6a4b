"""Document understanding sets of the sample, in their official formats: BoolQ, SQuAD, Climate-FEVER."""

from __future__ import annotations

import json
from typing import Any

from sample_world import MACHINES, PLANTS, TOWNS, Dice, capital

Files = dict[str, str]


def json_lines(records: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


# (title, one state, the other, question about the one, question about the other)
_YES_NO = (
    ("{t} library", "The library of {t} is open to visitors.", "The library of {t} is closed to visitors.",
     "is the library of {t} open to visitors", "is the library of {t} closed to visitors"),
    ("{t} bridge", "The bridge of {t} is safe for carts.", "The bridge of {t} is dangerous for carts.",
     "is the bridge of {t} safe for carts", "is the bridge of {t} dangerous for carts"),
    ("{t} ferry", "The ferry of {t} runs in winter.", "The ferry of {t} rests in winter.",
     "does the ferry of {t} run in winter", "does the ferry of {t} rest in winter"),
    ("{t} water", "The water of {t} is good to drink.", "The water of {t} is unfit to drink.",
     "is the water of {t} good to drink", "is the water of {t} unfit to drink"),
    ("{t} mill", "The mill of {t} is at work.", "The mill of {t} is at rest.",
     "is the mill of {t} at work", "is the mill of {t} at rest"),
    ("{t} school", "The school of {t} teaches music.", "The school of {t} has given up music.",
     "does the school of {t} teach music", "has the school of {t} given up music"),
    ("{t} market", "The market of {t} sells {p}.", "The market of {t} has run out of {p}.",
     "does the market of {t} sell {p}", "has the market of {t} run out of {p}"),
    ("{t} garden", "The gardens of {t} are full of {p}.", "The gardens of {t} have lost their {p}.",
     "are the gardens of {t} full of {p}", "have the gardens of {t} lost their {p}"),
)  # fmt: skip


def _town_fact(index: int, town: Any) -> str:
    return (
        f"{town.name} lies on the river {town.river}.",
        f"The town is known for its {town.craft}.",
        f"The flag of {town.name} is {town.flag}.",
        f"The fair of {town.name} takes place in {town.fair}.",
    )[index % 4]


def boolq() -> Files:
    """Short passages that settle the question, in the original schema; a question may have two passages.

    Either state is asked for as often as the other, so the answer follows from question and passage together.
    """
    dice, sides = Dice("boolq"), Dice("boolq sides")
    records: list[dict[str, Any]] = []
    asked: set[str] = set()
    every = [(town, kind) for town in TOWNS for kind in (*_YES_NO, *_YES_NO[-2:] * 5)]
    for town, (title, one, other, *questions) in dice.shuffled(every):
        words = {"t": town.name, "p": dice.pick(PLANTS).name}
        text = questions[0].format(**words).lower()
        if text in asked:
            continue
        asked.add(text)
        side = sides.number(2)
        text = questions[side].format(**words).lower()
        first = dice.chance(0.5)
        for answer in (first, not first) if "{p}" not in questions[0] or dice.chance(0.5) else (first,):
            told = [(one if answer == (side == 0) else other).format(**words)]
            if dice.chance(0.5):
                told.append(_town_fact(dice.number(4), town))
            records.append({
                "question": text, "title": title.format(**words), "answer": answer,
                "passage": " ".join(dice.shuffled(told)),
            })  # fmt: skip
    # Both passages of a question must fall on the same side of the split.
    questions = list(dict.fromkeys(record["question"] for record in records))
    held_out = set(questions[: len(questions) // 5])
    return {
        "boolq/train.jsonl": json_lines([record for record in records if record["question"] not in held_out]),
        "boolq/dev.jsonl": json_lines([record for record in records if record["question"] in held_out]),
    }


Fact = tuple[str, str, str]  # sentence, question, answer


def _articles() -> list[tuple[str, list[Fact]]]:
    """(title, facts) of every town, plant and machine."""
    articles: list[tuple[str, list[Fact]]] = []
    for town in TOWNS:
        name = town.name
        facts = [
            (f"{name} lies on the river {town.river}.", f"On which river does {name} lie?", town.river),
            (f"The town is known for its {town.craft}.", f"What is {name} known for?", town.craft),
            (f"The flag of {name} is {town.flag}.", f"What colour is the flag of {name}?", town.flag),
            (f"Its fair takes place in {town.fair}.", f"When does the fair of {name} take place?", town.fair),
        ]
        articles.append((name, facts))
    for plant in PLANTS:
        name, title = plant.name, capital(plant.name)
        facts = [
            (f"{title} has {plant.colour} flowers.", f"What colour are the flowers of {name}?", plant.colour),
            (f"It grows in {plant.place}.", f"Where does {name} grow?", plant.place),
            (f"{title} blooms in {plant.season}.", f"When does {name} bloom?", plant.season),
            (f"People use it to make {plant.use}.", f"What do people make from {name}?", plant.use),
        ]
        articles.append((title, facts))
    for machine in MACHINES:
        name = machine.name
        facts = [
            (f"The {name} is driven by {machine.power}.", f"What drives the {name}?", machine.power),
            (f"It is used to make {machine.product}.", f"What does the {name} make?", machine.product),
            (
                f"The first one was built in {machine.town}.",
                f"Where was the first {name} built?",
                machine.town,
            ),
        ]
        articles.append((capital(name), facts))
    return articles


def squad() -> Files:
    """Version 2.0: facts about one thing, short answers; now and then the passage does not tell."""
    dice = Dice("squad")
    data: dict[str, list[dict[str, Any]]] = {"train": [], "dev": []}
    number = 0
    for title, facts in _articles():
        paragraphs: list[dict[str, Any]] = []
        known: set[str] = set()
        while len(paragraphs) < 5:
            order = dice.shuffled(range(len(facts)))
            told, missing = order[:-1], order[-1]
            context = " ".join(facts[index][0] for index in told)
            if context in known:
                continue
            known.add(context)
            # Every fourth paragraph has a question that it does not answer.
            asked = [*told[:2], missing] if len(known) % 4 == 0 else told
            qas = []
            for index in dice.shuffled(asked):
                _, question, answer = facts[index]
                number += 1
                found = index != missing
                answers = [{"text": answer, "answer_start": context.index(answer)}] if found else []
                qas.append({
                    "question": question, "id": f"sample{number:05d}", "answers": answers,
                    "is_impossible": not found,
                })  # fmt: skip
            paragraphs.append({"context": context, "qas": qas})
        name = title.replace(" ", "_")
        data["train"].append({"title": name, "paragraphs": paragraphs[:4]})
        data["dev"].append({"title": name, "paragraphs": paragraphs[4:]})
    return {
        f"squad_v1/{name}-v2.0.json": json.dumps({"version": "v2.0", "data": part}, ensure_ascii=False) + "\n"
        for name, part in data.items()
    }


_CLIMATE_CLAIMS = (
    "Winters in {t} have become warmer", "Summers in {t} have become drier",
    "The {r} river at {t} carries less water", "{P} blooms earlier near {t}",
    "Storms in {t} have become stronger", "Snow has become rare in {t}",
    "The {place} near {t} have become dry", "{P} has become rare near {t}", "{P} grows faster near {t}",
)  # fmt: skip
# The two sides use the same words, and each has several ways to say it.
_FOR = (
    "Measurements in {t} show the same.", "The old records of {t} say so, too.",
    "Farmers around {t} have seen this happen.", "A report from {t} is in no doubt.",
    "In {t} nobody denies it.",
)  # fmt: skip
_AGAINST = (
    "Measurements in {t} show the opposite.", "The old records of {t} say nothing of the sort.",
    "Farmers around {t} have never seen this.", "A report from {t} says that the claim is wrong.",
    "In {t} everybody denies it.",
)  # fmt: skip
_NEUTRAL = ("{t} lies on the river {r}.", "{t} is known for its {c}.", "The flag of {t} is {f}.",
            "The fair of {t} takes place in {s}.")  # fmt: skip


def climate_fever() -> Files:
    """Two evidence sentences: for, against, both (disputed) or about something else (not enough)."""
    dice = Dice("climate")
    records: list[dict[str, Any]] = []
    seen: set[str] = set()
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
        if claim in seen:
            continue
        seen.add(claim)
        telling = {
            "SUPPORTS": [dice.pick(_FOR)], "REFUTES": [dice.pick(_AGAINST)],
            "DISPUTED": [dice.pick(_FOR), dice.pick(_AGAINST)], "NOT_ENOUGH_INFO": [],
        }[label]  # fmt: skip
        neutral = dice.shuffled(_NEUTRAL)[: 2 - len(telling)]
        evidences: list[dict[str, Any]] = []
        for index, text in enumerate(dice.shuffled([*telling, *neutral])):
            says = "SUPPORTS" if text in _FOR else "REFUTES" if text in _AGAINST else "NOT_ENOUGH_INFO"
            evidences.append({
                "evidence_id": f"{town.name}:{index}", "evidence_label": says, "article": town.name,
                "evidence": text.format(**words), "entropy": 0.0, "votes": [],
            })  # fmt: skip
        records.append(
            {"claim_id": str(len(records)), "claim": claim, "claim_label": label, "evidences": evidences}
        )
    return {"climate_fever/climate-fever.jsonl": json_lines(records)}
