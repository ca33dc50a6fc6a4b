"""Sample sets in their official formats: a query log like AOL's, and MANtIS dialogues with intents.

Each function gives path -> text. The traps of the official files are here too: in the log lines of one query
repeat, a session has a single query, one query is hidden and one names an address (nobody's); among the
dialogues some are unlabelled, and one labelled dialogue has an utterance without a label.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from sample_world import AILMENTS, MACHINES, PLANTS, TOWNS, Dice

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
_ENDS = (
    ("That worked, many thanks!", ["PF", "GG"]), ("That did not help at all.", ["NF"]),
    ("Can I also do this in {season}?", ["FQ"]), ("That worked.", ["PF"]),
    ("Thank you for your time.", ["GG"]), ("Well, well.", ["O"]),
)  # fmt: skip


def mantis() -> Files:
    """Help dialogues of five turns: question, request, details, answer, reaction."""
    dice = Dice("mantis")
    cases = [(machine, *problem) for machine in MACHINES for problem in _PROBLEMS]
    parts: dict[str, dict[str, Any]] = {"train": {}, "dev": {}, "test": {}}
    for number, (machine, problem, remedy) in enumerate(dice.shuffled(cases)):
        part = "train" if number < 32 else "dev" if number < 38 else "test"
        greeting = dice.chance(0.3)
        end, intents = _ENDS[number % len(_ENDS)]
        said = [
            ("user", f"My {machine.name} {problem}. What can I do?", ["OQ"]),
            (
                "agent",
                "Hello! What drives it?" if greeting else "What drives it?",
                ["GG", "IR"] if greeting else ["IR"],
            ),
            ("user", f"It is driven by {machine.power}, and I have it since {2001 + number % 9}.", ["FD"]),
            ("agent", f"You should {remedy}. The address http://example.org/{number} shows how.", ["PA"]),
            ("user", end.replace("{season}", dice.pick(("winter", "summer"))), intents),
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
