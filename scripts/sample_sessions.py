"""Sample sets in their official formats: a query log like AOL's, and MANtIS dialogues with intents.

Each function gives path -> text. The traps of the official files are here too: in the log lines of one query
repeat, a session has a single query, one query is hidden and one names an address (nobody's); among the
dialogues some are unlabelled, and one labelled dialogue has an utterance without a label.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from sample_world import AILMENTS, MACHINES, PLANTS, POWERS, TOWNS, Dice, capital

Files = dict[str, str]

# kind of thing -> searches that follow each other; {x} is its name
_PATHS = {
    "plant": (("{x}", "{x} tea", "{x} tea recipe"), ("{x}", "{x} seeds", "{x} seeds price")),
    "machine": (("{x}", "{x} manual", "{x} manual download"), ("used {x}", "used {x} price")),
    "town": (("{x}", "{x} fair", "{x} fair tickets"), ("{x} map", "{x} hotel map")),
    "ailment": (("{x}", "{x} signs", "{x} signs children"),),
}


def aol() -> Files:
    """Invented users 1, 2, ... with a session or two each; more and more words narrow a search down."""
    dice = Dice("aol")
    names = {
        "plant": [plant.name for plant in PLANTS], "machine": [machine.name for machine in MACHINES],
        "town": [town.name.lower() for town in TOWNS], "ailment": [ailment.name for ailment in AILMENTS],
    }  # fmt: skip
    searches = [
        [step.replace("{x}", name) for step in path]
        for kind, paths in _PATHS.items()
        for path in paths
        for name in names[kind]
    ]
    searches += [["red kettle"], ["-", "glass shop"], ["letters@example.org", "letters to the editor"]]
    rows = ["AnonID\tQuery\tQueryTime\tItemRank\tClickURL"]
    time = datetime(2006, 3, 1, 8)
    for number, steps in enumerate(dice.shuffled(searches)):
        user = 1 + number // 2
        time += timedelta(minutes=90 + dice.number(60))
        for place, query in enumerate(steps):
            time += timedelta(minutes=1 + dice.number(6))
            rows.append(f"{user}\t{query}\t{time}\t\t")
            if place and dice.chance(0.4):
                time += timedelta(seconds=20)
                site = f"http://www.{query.split()[-1]}.example.org"
                rows.append(f"{user}\t{query}\t{time}\t{1 + dice.number(9)}\t{site}")
    return {"aol/user-ct-test-collection-01.txt": "\n".join(rows) + "\n"}


_PROBLEMS = (
    ("does not stop", "clean the valve"), ("is too loud", "oil the wheels"),
    ("leaks oil", "change the seal"), ("runs backwards", "swap the two cables"),
)  # fmt: skip
# Each turn can be worded in several ways, and the same words serve different purposes.
_QUESTIONS = (
    "My {m} {p}. What can I do?", "Has anybody seen a {m} that {p}?",
    "The {m} {p}, and has done so since Monday. Any ideas?", "How do you deal with a {m} when it {p}?",
)  # fmt: skip
_REQUESTS = (
    "What drives it?", "Which {m} do you have, and since when?", "Is it driven by {other} or {w}?",
    "Can you say more about it?",
)  # fmt: skip
_DETAILS = (
    "It is driven by {w}, and I have had it since {y}.",
    "It is from {y} and uses {w}, and what it does now is new to me.", "{W}, since {y}.",
    "You can see it at http://example.org/{n}; we use {w} to drive it.",
)  # fmt: skip
_ANSWERS = (
    "You should {r}. The page http://example.org/{n} shows how.", "I would {r} first.",
    "What about this: {r}, then wait a day.", "Since it is old, {r}. That helps with every {m}.",
)  # fmt: skip
_GREETINGS = ("Hello everybody!", "Good morning, I am new here.", "Good evening to you all.")
_ENDS = (
    ("That worked, many thanks!", ["PF", "GG"]), ("That did not help at all.", ["NF"]),
    ("Can I also do this in {season}?", ["FQ"]), ("Now the {m} runs well in {season}, too.", ["PF"]),
    ("Thank you for your time.", ["GG"]), ("Well, well.", ["O"]),
    ("You helped me a lot, thank you!", ["PF", "GG"]), ("No, the {m} is as bad as before.", ["NF"]),
    ("And what would you say about another {m}?", ["FQ"]), ("At last it does what it should.", ["PF"]),
    ("Good night, and best wishes to you all.", ["GG"]), ("Here in {town} we talk a lot.", ["O"]),
    ("Is a new {m} any better?", ["FQ"]), ("This made it worse, thank you.", ["NF"]),
    ("A good story, that.", ["O"]), ("All is well now.", ["PF"]),
)  # fmt: skip


def mantis() -> Files:
    """Help dialogues of five turns: question, request, details, answer, reaction; or after two greetings."""
    dice, ways = Dice("mantis"), Dice("mantis wordings")
    cases = [(machine, *problem) for machine in MACHINES for problem in _PROBLEMS]
    parts: dict[str, dict[str, Any]] = {"train": {}, "dev": {}, "test": {}}
    for number, (machine, problem, remedy) in enumerate(dice.shuffled(cases)):
        part = "train" if number < 32 else "dev" if number < 38 else "test"
        greeting = dice.chance(0.3)
        end, intents = _ENDS[number % len(_ENDS)]
        words = {
            "m": machine.name, "p": problem, "r": remedy,
            "w": machine.power, "W": capital(machine.power), "y": 2001 + number % 9, "n": number,
            "town": ways.pick(TOWNS).name, "season": dice.pick(("winter", "summer")),
            "other": ways.pick([power for power in POWERS if power != machine.power]),
        }  # fmt: skip
        question, request = ways.pick(_QUESTIONS), ways.pick(_REQUESTS)
        asks = (f"Hello! {request}", ["GG", "IR"]) if greeting else (request, ["IR"])
        answer = ("agent", ways.pick(_ANSWERS), ["PA"])
        told = [
            ("user", question, ["OQ"]), ("agent", *asks), ("user", ways.pick(_DETAILS), ["FD"]), answer,
        ] if ways.chance(0.7) else [
            ("user", ways.pick(_GREETINGS), ["GG"]), ("agent", "Hello! What is the matter?", ["GG", "IR"]),
            ("user", question, ["OQ"]), answer,
        ]  # fmt: skip
        said = [
            (actor, text.format(**words), codes) for actor, text, codes in [*told, ("user", end, intents)]
        ]
        dialogue: dict[str, Any] = {
            "category": "diy",
            "title": f"{machine.name} {problem}",
            "dialog_time": f"2015-03-{1 + number % 28:02d} 09:00:00",
            "utterances": [
                {"actor_type": actor, "utterance_pos": place, "utterance": text, "votes": 0, "intent": codes}
                for place, (actor, text, codes) in enumerate(said, start=1)
            ],
        }
        if number in (4, 34, 40):
            for utterance in dialogue["utterances"]:
                del utterance["intent"]
        else:
            dialogue["has_intent_labels"] = True
        if number == 7:
            del dialogue["utterances"][2]["intent"]
        parts[part][str(number)] = dialogue
    return {
        f"mantis/merged_{part}_intents.json": json.dumps(found, separators=(", ", ": ")) + "\n"
        for part, found in parts.items()
    }
