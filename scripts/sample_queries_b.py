"""Sample sets in their official formats: QReCC, CANARD, GECOR, MIMICS-Duo, ClariQ-FKw, RaoCQ.

Each function gives path -> text. The traps of the official files are here too: QReCC's context with rewritten
questions and an empty answer, utterances of GECOR that are complete already, MIMICS-Duo's nameless trailing
columns and its one short line, annotators of RaoCQ who disagree.
"""

from __future__ import annotations

import json
from typing import Any

from sample_world import AILMENTS, MACHINES, PLANTS, TOWNS, Dice, capital

Files = dict[str, str]
Turn = tuple[str, str, str]  # question, the same in full, answer


def _json(records: list[dict[str, Any]]) -> str:
    return json.dumps(records, ensure_ascii=False, indent=0, separators=(",", ":")) + "\n"


def _talks() -> list[tuple[str, list[Turn]]]:
    """(name, questions about it that say "it" instead) of every plant, machine and town."""
    talks: list[tuple[str, list[Turn]]] = []
    for plant in PLANTS:
        name = plant.name
        turns = [
            ("Where does it grow?", f"Where does {name} grow?", f"It grows in {plant.place}."),
            ("When does it bloom?", f"When does {name} bloom?", f"It blooms in {plant.season}."),
            ("What is it used for?", f"What is {name} used for?", f"People make {plant.use} from it."),
            (
                "What colour are its flowers?",
                f"What colour are the flowers of {name}?",
                f"They are {plant.colour}.",
            ),
        ]
        talks.append((name, turns))
    for machine in MACHINES:
        name = f"the {machine.name}"
        turns = [
            ("What drives it?", f"What drives {name}?", f"It is driven by {machine.power}."),
            ("What does it make?", f"What does {name} make?", f"It makes {machine.product}."),
            ("Where was it first built?", f"Where was {name} first built?", f"In {machine.town}."),
        ]
        talks.append((name, turns))
    for town in TOWNS:
        name = town.name
        turns = [
            ("On which river does it lie?", f"On which river does {name} lie?", f"On the {town.river}."),
            ("What is it known for?", f"What is {name} known for?", f"It is known for its {town.craft}."),
            (
                "When does its fair take place?",
                f"When does the fair of {name} take place?",
                f"It takes place in {town.fair}.",
            ),
            ("What colour is its flag?", f"What colour is the flag of {name}?", f"It is {town.flag}."),
        ]
        talks.append((name, turns))
    return talks


def qrecc() -> Files:
    """32 conversations of four turns, the first of which names what is talked about."""
    dice = Dice("qrecc")
    parts: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for number, (name, turns) in enumerate(dice.shuffled(_talks())[:32]):
        part = "train" if number < 24 else "test"
        opening = f"What can you tell me about {name}?"
        told = f"{capital(name)} is well known in these parts."
        context: list[str] = []
        for turn, (question, rewrite, answer) in enumerate(
            [(opening, opening, told), *dice.shuffled(turns)[:3]], start=1
        ):
            known = "" if number == 5 and turn == 2 else answer
            parts[part].append({
                "Context": list(context), "Question": question, "Rewrite": rewrite, "Answer": known,
                "Answer_URL": f"https://example.org/{number}" if known else "",
                "Conversation_no": number + 1 if part == "train" else number - 23, "Turn_no": turn,
                "Conversation_source": ("quac", "nq", "trec")[number % 3],
            })  # fmt: skip
            context += [rewrite, known]  # rewritten, as in the official files
    return {f"qrecc/qrecc_{part}.json": _json(records) for part, records in parts.items()}


def canard() -> Files:
    """Dialogues about an article and one of its sections; not even the first question names the subject."""
    dice, parts = Dice("canard"), {"train": 20, "dev": 5, "test": 6}
    talks = iter(dice.shuffled(_talks()))
    files: Files = {}
    for part, count in parts.items():
        records = []
        for number in range(count):
            name, turns = next(talks)
            history = [capital(name.removeprefix("the ")), dice.pick(("History", "Overview", "Present day"))]
            for place, (question, rewrite, answer) in enumerate(dice.shuffled(turns)[:3], start=1):
                records.append({
                    "History": list(history), "QuAC_dialog_id": f"C_{part}{number:04d}_1",
                    "Question": question, "Question_no": place, "Rewrite": rewrite,
                })  # fmt: skip
                history += [question, answer]
        files[f"canard/{part}.json"] = _json(records)
    return files


_HOUSES = (
    "Copper Spoon", "Blue Kettle", "Old Anchor", "Green Lantern", "Two Herons", "Salt Barrel", "Red Awning",
    "Quiet Oven", "Long Table", "Silver Pike", "Round Window", "Garden Gate",
)  # fmt: skip
_DISHES = ("mushroom", "fish", "vegetable", "noodle")
_PRICES = ("cheap", "moderately priced", "expensive")
_AREAS = ("north", "south", "east", "west")


def gecor() -> Files:
    """Guests who look for a restaurant; half of what they say is complete as it is."""
    dice = Dice("gecor")
    dialogues = []
    for number in range(36):
        house, dish = _HOUSES[number % 12], _DISHES[number // 3 % 4]
        price, area, town = _PRICES[number % 3], _AREAS[number // 2 % 4], TOWNS[number % 16].name
        wish = f"a {price} restaurant" if price[0] != "e" else "an expensive restaurant"
        first = dice.pick(
            (f"I want {wish} in the {area} of {town}.", f"Find {wish} in the {area} of {town}.")
        )
        details = dice.shuffled(("address", "phone number", "postcode"))[:2]
        turns = [
            (first, first, f"The {house} is {wish} in the {area}. It serves {dish} dishes."),
            (
                f"What is its {details[0]}?",
                f"What is the {details[0]} of The {house}?",
                f"Its {details[0]} is on the card.",
            ),
            (
                f"And the {details[1]}?",
                f"And what is the {details[1]} of The {house}?",
                f"The {details[1]} is on the card too.",
            ),
            ("Thank you, goodbye.", "Thank you, goodbye.", "You are welcome."),
        ]
        if number % 4 == 0:
            other = _DISHES[(number // 3 + 1) % 4]
            turns.insert(1, (
                f"Is there one with {other} dishes?", f"Is there {wish} with {other} dishes?",
                f"No, there is none with {other} dishes.",
            ))  # fmt: skip
        goal = f"You are looking for {wish} in the {area} of {town}. Make sure you get the {details[0]}."
        dial = []
        for turn, (said, complete, answer) in enumerate(turns):
            elliptic = said if said.startswith("And") else ""
            referring = said if "its" in said or "one" in said.split() else ""
            dial.append({
                "turn": turn,
                "usr": {
                    "transcript": said, "slu": [], "transcript_complete": complete,
                    "transcript_with_ellipsis": elliptic, "transcript_with_coreference": referring,
                },
                "sys": {"sent": answer, "DA": []},
            })  # fmt: skip
        dialogues.append({
            "dialogue_id": number, "finished": True, "dial": dial,
            "goal": {"constraints": [], "request-slots": [], "text": f"Task {10001 + number}: {goal}"},
        })  # fmt: skip
    return {"gecor/CamRest676_annotated.json": _json(dialogues)}


# query pattern -> options of quality 4 or 5, and the others
_PANES = (
    ("{plant} tea", ("recipe", "health effects"), ("colour",)),
    ("{plant} oil", ("price", "where to buy", "uses"), ()),
    ("{machine} parts", ("price list", "drawings"), ("weight", "photos")),
    ("{machine} course", ("dates", "fees", "places"), ()),
    ("{town} fair", ("dates", "tickets", "music"), ("litter",)),
    ("{town} river", ("boat trips", "fishing", "map"), ()),
    ("{ailment} in children", ("signs", "home remedies"), ("songs",)),
)


def mimics_duo() -> Files:
    """Two panes a query; 21 columns, eight of them without name or content, and one line without those."""
    dice = Dice("mimics duo")
    rows: list[str] = []
    words = {
        "{plant}": [plant.name for plant in PLANTS], "{machine}": [machine.name for machine in MACHINES],
        "{town}": [town.name.lower() for town in TOWNS], "{ailment}": [ailment.name for ailment in AILMENTS],
    }  # fmt: skip
    for number in range(42):
        pattern, good, poor = _PANES[number % len(_PANES)]
        slot = pattern[: pattern.index("}") + 1]
        query = pattern.replace(slot, words[slot][number % len(words[slot])])
        for pane in range(2):
            shown = dice.shuffled(good)[: len(good) - pane]
            options = [(f"{query} {option}", dice.pick("45")) for option in shown]
            options += [(f"{query} {option}", dice.pick("123")) for option in poor[pane:]]
            if number % 20 == 7:
                options = [(option, "2") for option, _ in options]
            options += [("", "")] * (5 - len(options))
            cells = [query, "Select one to refine your search", *(text for text, _ in options),
                     *(quality for _, quality in options), "4"]  # fmt: skip
            rows.append("\t".join(cells + [""] * 8 * (len(rows) != 33)))
    header = ["query", "question", *(f"option_{i}" for i in range(1, 6)),
              *(f"Quality_Option{i}" for i in range(1, 6)), "OverallClarificationPaneQuality"]  # fmt: skip
    lines = ["\t".join(header + [""] * 8), *rows]
    return {"mimics_duo/Task2-QualityLabelling.tsv": "\n".join(lines) + "\n"}


def clariq_fkw() -> Files:
    """Requests with four clarifying questions each; topics 1-24 to train on, 25-30 as dev set."""
    dice = Dice("clariq")
    requests = (
        "Tell me about {x}.", "I'm looking for information about {x}", "What is known about {x}?", "Find {x}",
    )  # fmt: skip
    topics: list[tuple[str, list[tuple[str, str]]]] = []
    for plant in PLANTS:
        facets = [("growing", "how to grow {x}"), ("uses", "the uses of {x}"),
                  ("flowers", "the flowers of {x}"), ("buy", "where to buy {x}")]  # fmt: skip
        topics.append((plant.name, facets))
    for town in TOWNS:
        facets = [("fair", "the fair of {x}"), ("map", "a map of {x}"), ("hotels", "hotels in {x}"),
                  ("history", "the history of {x}")]  # fmt: skip
        topics.append((town.name, facets))
    parts: dict[str, list[str]] = {"train": [], "dev": []}
    line = 0
    for topic, (name, facets) in enumerate(dice.shuffled(topics)[:30], start=1):
        part = "train" if topic <= 24 else "dev"
        request = dice.pick(requests).replace("{x}", name)
        for keyword, wanted in facets:
            question = f"are you interested in {wanted.replace('{x}', name.lower())}"
            parts[part].append(f"{line}\t{topic}\t{request}\t{keyword}\t{question}")
            line += 3
    header = "\ttopic_id\tinitial_request\tfacet_desc\tquestion"
    return {
        f"clariq_fkw/ClariQ-FKw.tsv.{part}": "\n".join([header, *rows]) + "\n" for part, rows in parts.items()
    }


# what is wrong -> the question that helps
_FAULTS = (
    ("does not start", "is the green lamp on when you press the switch ?"),
    ("shows an error", "what exactly does the error message say ?"),
    ("is very slow", "how much memory is free while it runs ?"),
    ("loses the network", "do you use a cable or the radio link ?"),
    ("makes no sound", "did you look at the volume setting ?"),
)
_OTHERS = (
    "did you try the newest version ?", "can you post a picture ?", "is this a used one ?",
    "why do you need it ?", "have you asked the maker ?",
)  # fmt: skip
_SINCE = ("again today", "after an update", "now that i have moved it", "every morning")


def raocq() -> Files:
    """Posts about control panels of machines; what is wrong tells which question is best."""
    dice = Dice("raocq")
    sites = ("askubuntu.com", "superuser.com", "unix.stackexchange.com")
    posts = {site: ["postid\ttitle\tpost"] for site in sites}
    header = ["postid", *(f"q{i}" for i in range(1, 11)), *(f"a{i}" for i in range(1, 11))]
    questions = {site: ["\t".join(header)] for site in sites}
    annotations: dict[str, list[str]] = {site: [] for site in sites}
    for number in range(54):
        site, machine = sites[number % 3], MACHINES[number % 12].name
        fault, question = _FAULTS[number // 12]
        short, post = site.split(".")[0], 5000 + 7 * number
        since = dice.pick(_SINCE)
        title = f"panel of the {machine} {fault}"
        text = f"the control panel of my {machine} {fault} {since} . what can i do ?"
        asked = dice.shuffled([entry for _, entry in _FAULTS] + list(_OTHERS))
        best = asked.index(question)
        posts[site].append(f"{short}_{post}\t{title}\t{text}")
        answers = [dice.pick(("yes .", "no .", "i will check .")) for _ in asked]
        questions[site].append("\t".join([f"{short}_{post}", *asked, *answers]))
        if number % 10 != 9:  # nobody looked at the others
            other = (best + 1) % 10
            sure = f"{short}_setno_1,{post},{best},{min(best, other)} {max(best, other)},2"
            unsure = f"{short}_setno_1,{post},{other},{other},1"
            pair = [f"first_{sure}", f"second_{unsure}"]
            annotations[site].append("\t".join(pair if number % 2 else [f"first_{unsure}", f"second_{sure}"]))
    files: Files = {}
    for site in sites:
        folder = f"raocq/clarification_questions_dataset/data/{site}"
        files[f"{folder}/post_data.tsv"] = "\n".join(posts[site]) + "\n"
        files[f"{folder}/qa_data.tsv"] = "\n".join(questions[site]) + "\n"
        files[f"{folder}/human_annotations"] = "\n".join(annotations[site]) + "\n"
    return files
