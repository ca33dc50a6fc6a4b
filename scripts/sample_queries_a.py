"""Sample sets in their official formats: Query2Doc, CODEC, TREC CAsT and TREC Web topics.

Each function gives path -> text. The traps of the official files are here too: CODEC lists each question
among its own reformulations, a CAsT topic lacks its description, Web topics have an empty subtopic, a
misspelt subtopic type, a description behind </query>, and type "single" without subtopics.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from xml.sax.saxutils import escape

from sample_world import AILMENTS, MACHINES, PLANTS, TOWNS, Dice, Machine, Plant, Town, capital

Files = dict[str, str]


def query2doc() -> Files:
    """Queries with the passage that answers them; 80 to train on, 20 official test queries."""
    pairs = []
    for plant in PLANTS:
        about = f"{capital(plant.name)} is a plant with {plant.colour} flowers."
        pairs += [
            (f"where does {plant.name} grow", f"{about} It grows in the {plant.place}."),
            (f"{plant.name} uses", f"{about} People use it to make {plant.use}."),
        ]
    for machine in MACHINES:
        about = f"The {machine.name} is a machine driven by {machine.power}."
        pairs += [
            (f"what does a {machine.name} make", f"{about} It is used to make {machine.product}."),
            (f"{machine.name} museum", f"{about} An old one is on show in the museum of {machine.town}."),
        ]
    for ailment in AILMENTS:
        about = f"{capital(ailment.name)} is an illness caused by {ailment.source}."
        pairs += [
            (f"signs of {ailment.name}", f"{about} The main sign is {ailment.sign}."),
            (f"how to cure {ailment.name}", f"{about} {capital(ailment.cure)} tea helps against it."),
        ]
    for town in TOWNS:
        about = f"{town.name} is a town on the {town.river}."
        pairs += [
            (f"when is the fair in {town.name.lower()}", f"{about} Its fair is held in {town.fair}."),
            (f"what is {town.name.lower()} known for", f"{about} It is known for its {town.craft}."),
        ]
    lines = [
        json.dumps({"query_id": str(70_001 + i), "query": query, "pseudo_doc": text})
        for i, (query, text) in enumerate(Dice("query2doc").shuffled(pairs)[:100])
    ]
    return {
        "query2doc/train.jsonl": "\n".join(lines[:80]) + "\n",
        "query2doc/test.jsonl": "\n".join(lines[80:]) + "\n",
    }


# domain -> (question, guidelines, reformulations); {x} is a machine or plant, {town} its town.
_ESSAYS = {
    "finance": (
        "How has the {x} changed the trade of {town}?",
        "Before the {x} came, {town} bought its goods elsewhere.\n\n"
        "Relevant documents tell what {town} sells today and at which price.",
        ("{x} trade", "{x} prices", "{town} exports", "markets in {town}", "{x} and the economy of {town}"),
    ),
    "history": (
        "Why did {town} build its first {x}?",
        "The first {x} of {town} was built by its citizens.\n\n"
        "Relevant documents tell who paid for it and what it replaced.",
        ("first {x}", "{x} history", "old {town}", "builders of the {x}", "who paid for the {x} of {town}"),
    ),
    "politics": (
        "Should {town} pay for the {x}?",
        "The council of {town} argues about the {x}.\n\n"
        "Relevant documents give reasons for and against public money.",
        ("{x} council debate", "{town} taxes", "public money for the {x}", "{town} council", "{x} costs"),
    ),
}


def codec() -> Files:
    """24 topics with five queries each and their own question among them, in no order."""
    dice = Dice("codec")
    topics, lines = {}, []
    for number, machine in enumerate(MACHINES * 2):
        domain = tuple(_ESSAYS)[(number + number // 12) % 3]
        question, guidelines, queries = _ESSAYS[domain]
        names = {"x": machine.name, "town": machine.town}
        topic_id = f"{'economics' if domain == 'finance' else domain}-{number + 1}"
        topics[topic_id] = {
            "Domain": domain,
            "Query": question.format(**names),
            "Guidelines": guidelines.format(**names),
        }
        lines += [f"{topic_id}\t{text.format(**names)}" for text in (*queries, question)]
    return {
        "codec/topics.json": json.dumps(topics, indent=4),
        "codec/query_reformulations.txt": "\n".join(dice.shuffled(lines)) + "\n",
    }


Turns = list[tuple[str, str]]


def _plant_turns(plant: Plant) -> Turns:
    name = plant.name
    return [
        (f"What is {name}?", f"What is {name}?"),
        ("Where does it grow?", f"Where does {name} grow?"),
        ("What colour is it?", f"What colour is {name}?"),
        ("What is it used for?", f"What is {name} used for?"),
    ]


def _machine_turns(name: str, other: str) -> Turns:
    return [
        (f"What is a {name}?", f"What is a {name}?"),
        ("How is it driven?", f"How is a {name} driven?"),
        (f"And a {other}?", f"How is a {other} driven?"),
        ("Who invented that?", f"Who invented the {other}?"),
    ]


def _ailment_turns(name: str, source: str) -> Turns:
    verb = "Are" if source.endswith("s") else "Is"
    return [
        (f"Tell me about {name}.", f"Tell me about {name}."),
        ("What causes it?", f"What causes {name}?"),
        ("How is it treated?", f"How is {name} treated?"),
        (f"{verb} {source} dangerous?", f"{verb} {source} dangerous?"),
    ]


def _towns_by_reply(town: Town) -> list[tuple[str, str, str]]:
    """(utterance, rewrite, reply): what "it" means stands in the reply alone."""
    return [
        (
            f"Which town on the {town.river} is known for {town.craft}?",
            f"Which town on the {town.river} is known for {town.craft}?",
            f"{town.name} is known for {town.craft}.",
        ),
        (
            "When is its fair?",
            f"When is the fair of {town.name}?",
            f"The fair of {town.name} is held in {town.fair}.",
        ),
        (
            "What colour is its flag?",
            f"What colour is the flag of {town.name}?",
            f"The flag is {town.flag}.",
        ),
    ]


def _machines_by_reply(machine: Machine, town: Town) -> list[tuple[str, str, str]]:
    return [
        (
            f"Where is the oldest {machine.name}?",
            f"Where is the oldest {machine.name}?",
            f"The oldest {machine.name} is in {town.name}.",
        ),
        (
            "When is the fair there?",
            f"When is the fair in {town.name}?",
            f"The fair in {town.name} is held in {town.fair}.",
        ),
        (
            "And what is made with it?",
            f"What is made with the {machine.name}?",
            f"The {machine.name} is used to make {machine.product}.",
        ),
    ]


def trec_cast() -> Files:
    """2019 with titles and a file of rewrites, 2020, 2021 with passages, 2022 as trees with a branch."""
    resolved, topics = [], []
    subjects = [
        *((plant.name, f"Information about {plant.name}: where it grows, its colour and what it is used for.",
           _plant_turns(plant)) for plant in PLANTS[:12]),
        *((f"the {machine.name}", f"The user asks how a {machine.name} is driven and who invented it.",
           _machine_turns(machine.name, MACHINES[(i + 5) % 12].name)) for i, machine in enumerate(MACHINES)),
    ]  # fmt: skip
    for number, (title, description, turns) in enumerate(subjects, start=31):
        topic: dict[str, object] = {"number": number, "description": description}
        if number == 44:
            del topic["description"]
        topic["turn"] = [{"number": i, "raw_utterance": raw} for i, (raw, _) in enumerate(turns, start=1)]
        topic["title"] = title
        topics.append(topic)
        resolved += [f"{number}_{i}\t{rewrite}" for i, (_, rewrite) in enumerate(turns, start=1)]

    later = [
        {
            "number": number,
            "turn": [
                {
                    "number": i,
                    "raw_utterance": raw,
                    "manual_rewritten_utterance": rewrite,
                    "automatic_rewritten_utterance": raw,
                    "manual_canonical_result_id": f"SAMPLE_{number}{i}",
                }
                for i, (raw, rewrite) in enumerate(_ailment_turns(ailment.name, ailment.source), start=1)
            ],
        }
        for number, ailment in enumerate(AILMENTS, start=81)
    ]
    with_passages = [
        {
            "number": number,
            "turn": [
                {
                    "number": i,
                    "raw_utterance": raw,
                    "passage": reply,
                    "manual_rewritten_utterance": rewrite,
                    "canonical_result_id": f"SAMPLE_{number}{i}",
                    "passage_id": 1,
                    "automatic_rewritten_utterance": raw,
                }
                for i, (raw, rewrite, reply) in enumerate(_towns_by_reply(town), start=1)
            ],
        }
        for number, town in enumerate(TOWNS[:10], start=106)
    ]
    towns = {town.name: town for town in TOWNS}
    trees = [
        {"number": number, "turn": _tree(_machines_by_reply(machine, towns[machine.town]))}
        for number, machine in enumerate(MACHINES, start=132)
    ]
    return {
        "trec_cast/evaluation_topics_v1.0.json": _json(topics),
        "trec_cast/evaluation_topics_annotated_resolved_v1.0.tsv": "\r\n".join([*resolved, ""]),
        "trec_cast/2020_manual_evaluation_topics_v1.0.json": _json(later),
        "trec_cast/2021_manual_evaluation_topics_v1.0.json": _json(with_passages),
        "trec_cast/2022_evaluation_topics_tree_v1.0.json": _json(trees),
    }


def _json(value: object) -> str:
    return json.dumps(value, indent=1) + "\n"


def _tree(turns: Sequence[tuple[str, str, str]]) -> list[dict[str, object]]:
    """The first turn, then two branches that both answer its reply.

    1-1 User, 1-2 System, 1-3 User, 1-4 System; 2-1 User (parent 1-2), 2-2 System
    """
    nodes: list[dict[str, object]] = []
    places = (("1-1", None, "1-2"), ("1-3", "1-2", "1-4"), ("2-1", "1-2", "2-2"))
    for (raw, rewrite, reply), (user, parent, system) in zip(turns, places, strict=True):
        above = {} if parent is None else {"parent": parent}
        said = {"participant": "User", "utterance": raw, "manual_rewritten_utterance": rewrite}
        nodes.append({"number": user} | above | said)
        provenance = [f"SAMPLE_{system}"]
        answer = {"participant": "System", "response": reply, "provenance": provenance}
        nodes.append({"number": system, "parent": user} | answer)
    return nodes


# kind -> (query, [(description, subtopics with their types)])
_Web = tuple[str, tuple[tuple[str, str], ...]]
_FACETED: dict[str, tuple[str, tuple[_Web, ...]]] = {
    "plant": (
        "{x} growing",
        (
            ("How do you grow {x}?",
             (("inf", "Which soil does {x} need?"), ("inf", "When is {x} planted?"),
              ("nav", "Find a shop that sells {x} seeds."))),
            ("Find pages about growing {x}.",
             (("inf", "Which pests live on {x}?"), ("nav", "Take me to the website of the {x} growers."),
              ("inf", "How is {x} harvested?"))),
        ),
    ),
    "machine": (
        "{x} for sale",
        (
            ("Find offers of a {x}.",
             (("inf", "How much does a {x} cost?"), ("nav", "Go to the homepage of the makers of the {x}."),
              ("inf", "How is a {x} repaired?"))),
            ("What should you know about the {x} before you buy one?",
             (("nav", "Take me to the website of a {x} dealer."), ("inf", "How long does a {x} last?"),
              ("inf", "Is the machine called {x} loud?"))),
        ),
    ),
    "town": (
        "{x} holidays",
        (
            ("What can you do on holiday in {x}?",
             (("inf", "Where can you stay in {x}?"), ("nav", "Take me to the website of the {x} museum."),
              ("nav", "Find the timetable of the {x} ferry."))),
            ("Find pages about holidays in {x}.",
             (("inf", "When is the fair of {x}?"), ("nav", "Go to the homepage of the {x} theatre."),
              ("inf", "Is there an inn called after {x}?"))),
        ),
    ),
}  # fmt: skip
# The query is a bare word; each of its subtopics is about another thing of that name.
_AMBIGUOUS: tuple[_Web, ...] = (
    ("Find pages about {x}.",
     (("inf", "What is known about the plants called {x}?"),
      ("nav", "Take me to the website of the {x} theatre."), ("inf", "How is the game {x} played?"))),
    ("What is known about {x}?",
     (("inf", "Who wrote the song {x}?"), ("nav", "Find a shop by the name of {x}."),
      ("inf", "Which soil does the plant called {x} need?"))),
    ("How do you find {x}?",
     (("nav", "Go to the homepage of the {x} inn."), ("inf", "How much does a ticket for the ship {x} cost?"),
      ("inf", "Where can you read the tale of {x}?"))),
    ("What can you do with {x}?",
     (("inf", "When is the {x} festival?"), ("inf", "How is a {x} stitch sewn?"),
      ("nav", "Find the timetable of the {x} line."))),
)  # fmt: skip


def _topic(number: int, kind: str, query: str, description: str, subtopics: Sequence[tuple[str, str]]) -> str:
    lines = [
        f'<topic number="{number}" type="{kind}">',
        f"  <query>{escape(query)}</query>",
        f"  <description>{escape(description)}",
        "  </description>",
    ]
    for i, (wanted, text) in enumerate(subtopics, start=1):
        lines += [
            f'  <subtopic number="{i}" type="{wanted}">',
            f"    {escape(text)}",
            "  </subtopic>",
        ]
    return "\n".join([*lines, "</topic>", ""])


def trec_web() -> Files:
    """2009: faceted and ambiguous topics; 2014: single ones among them, and the known faults."""
    words = list(dict.fromkeys(item.name.split()[0] for item in (*PLANTS, *AILMENTS)))
    names = {
        "plant": [plant.name for plant in PLANTS[:12]],
        "machine": [machine.name for machine in MACHINES],
        "town": [town.name.lower() for town in TOWNS[:12]],
    }
    topics: list[tuple[str, str, str, list[tuple[str, str]]]] = []
    for kind, (query, wordings) in _FACETED.items():
        for number, name in enumerate(names[kind]):
            description, subtopics = wordings[number % 2]
            shown = capital(name) if kind == "town" else name
            about = [(wanted, text.format(x=shown)) for wanted, text in subtopics]
            topics.append(("faceted", query.format(x=name), description.format(x=shown), about))
    for number, word in enumerate(words):
        description, subtopics = _AMBIGUOUS[number % 4]
        about = [(wanted, text.format(x=word)) for wanted, text in subtopics]
        topics.append(("ambiguous", word, description.format(x=word), about))
    topics = Dice("trec_web").shuffled(topics)
    first, second = topics[:40], topics[40:]
    second += [
        ("single", f"{ailment.name} causes", f"What causes {ailment.name}?", []) for ailment in AILMENTS[:6]
    ]
    # The known faults of the official files: see `seqio_tasks.sources.web_topics`.
    first[7][3].append(("inf", ""))
    first[11][3][0] = ("inv", first[11][3][0][1])
    early = [_topic(number, *topic) for number, topic in enumerate(first, start=1)]
    late = [_topic(number, *topic) for number, topic in enumerate(second, start=251)]
    outside = f"</query>\n  {second[-1][2]}\n  <description>\n  </description>"
    late[-1] = late[-1].replace(f"</query>\n  <description>{second[-1][2]}\n  </description>", outside)
    kinds = '<!ATTLIST topic number CDATA #REQUIRED type (ambiguous|faceted|other) "ambiguous">'
    return {
        "trec_web/09/wt09.topics.full.xml": (
            f'<?xml version="1.0"?>\n<!DOCTYPE webtrack2009 [\n  {kinds}\n]>\n'
            f"<webtrack2009>\n\n{chr(10).join(early)}\n</webtrack2009>\n"
        ),
        "trec_web/2014/trec2014-topics.xml": f"<webtrack2014>\n\n{chr(10).join(late)}\n</webtrack2014>\n",
    }
