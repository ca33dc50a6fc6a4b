"""A few lines in the form of the INTERS authors' released files: finished prompts, and rankings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sample_documents import Files, json_lines
from sample_world import MACHINES, PLANTS, TOWNS, Dice, Machine, Plant, capital

FOLDER = "inters_released"
FORUMS = (
    "android", "english", "gaming", "gis", "mathematica", "physics", "programmers", "stats", "tex", "unix",
    "webmasters", "wordpress",
)  # fmt: skip

_ABOUT = {
    "query_matching_msrp": "Two sentences are compared here. Say yes when they mean the same, else no.",
    "reading_comprehension_squad": "A passage is read here, and a question about it is answered from it.",
    "query_clarification_mimics": "A short query is made clearer here by naming what it may mean.",
}


def released() -> Files:
    """Training lines, two evaluation sets of three tasks each, and candidates for two collections."""
    files: Files = {}
    rows: list[dict[str, Any]] = []
    makers = {
        "query_matching_msrp": _matching,
        "reading_comprehension_squad": _reading,
        "query_clarification_mimics": _clarification,
    }
    for name, make in makers.items():
        made = [
            {
                "prompt": f"{_ABOUT[name]}\n\n{prompt}",
                "completion": " <=SEP=> ".join(answers),
                "source": name,
            }
            for prompt, answers in make()
        ]
        half = len(made) // 2
        for row in made[:half]:
            items = row["completion"].split(" <=SEP=> ")
            listed = "\n".join(f"{number}. {item}" for number, item in enumerate(items, start=1))
            text = listed if name.startswith("query_clar") else items[0]
            rows.append(row | {"completion": text})
        dev, test = made[half : half + 6], made[half + 6 : half + 12]
        files[f"{FOLDER}/dev-qu-du-zero-shot/{name}.zero_shot.dev.jsonl"] = json_lines(dev)
        files[f"{FOLDER}/test-qu-du-zero-shot/{name}.zero_shot.test.jsonl"] = json_lines(test)
    files[f"{FOLDER}/train.jsonl"] = json_lines(Dice("released").shuffled(rows))
    plants = [(f"Where does {plant.name} grow?", _plant_text(plant)) for plant in PLANTS]
    files[f"{FOLDER}/test-qdu/scifact.bm25.100.jsonl"] = json_lines(
        _candidates(plants[:8], "released scifact")
    )
    machines = [(f"What drives the {m.name}?", _machine_text(m)) for m in MACHINES]
    for number, forum in enumerate(FORUMS):
        path = f"{FOLDER}/test-qdu/cqadupstack/{forum}/test.pt.key.do-not-overwrite.json"
        start = number % (len(machines) - 4)
        files[path] = json_lines(_candidates(machines[start : start + 4], f"released {forum}")[:2])
    return files


def _matching() -> Iterator[tuple[str, list[str]]]:
    for number, town in enumerate(TOWNS * 2):
        second = town.craft if number % 2 else TOWNS[(number + 4) % 16].craft
        first = f"{town.name} is known for its {town.craft}."
        yield (
            f"First: {first}\nSecond: People know {town.name} for {second}.\nDo they say the same?",
            ["yes" if second == town.craft else "no"],
        )


def _reading() -> Iterator[tuple[str, list[str]]]:
    for town in TOWNS:
        text = f"{town.name} lies on the {town.river}. Its flag is {town.flag}."
        yield f"{text}\nOn which river does {town.name} lie?", [f"the {town.river}", town.river]
        yield f"{text}\nWhat colour is the flag of {town.name}?", [town.flag]


def _clarification() -> Iterator[tuple[str, list[str]]]:
    for plant in PLANTS:
        meant = [f"{plant.name} as {plant.use}", f"{plant.name} in the {plant.place}"]
        yield f"What might somebody who searches for {plant.name} mean?", meant
        meant = [f"{plant.colour} {plant.name}", f"{plant.name} in {plant.season}"]
        yield f"What might somebody who looks for pictures of {plant.name} mean?", meant


def _plant_text(plant: Plant) -> str:
    return f"{capital(plant.name)} grows in the {plant.place} and flowers in {plant.season}."


def _machine_text(machine: Machine) -> str:
    return f"The {machine.name} of {machine.town} runs on {machine.power} and makes {machine.product}."


def _candidates(pairs: list[tuple[str, str]], seed: str) -> list[dict[str, Any]]:
    """Each query with all texts in random order; the last query lacks one and is filled up with -1."""
    dice = Dice(seed)
    lines = []
    for number, (query, right) in enumerate(pairs):
        shown = dice.shuffled(range(len(pairs)))
        keys, ids = [pairs[i][1] for i in shown], [100 + i for i in shown]
        if number == len(pairs) - 1:
            keys[-1], ids[-1] = "", -1
        lines.append(
            {
                "query": query,
                "pos": [right],
                "pos_index": [100 + number],
                "pos_score": [1 + number % 2],
                "query_id": number,
                "key": keys,
                "key_index": ids,
            }
        )
    return lines
