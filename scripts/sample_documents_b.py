"""Document understanding sets of the sample: HotpotQA, MS MARCO, TriviaQA, WebGLM-QA, CoQA, QuAC.

The traps of the official files are here too: supporting facts that point at no sentence, a table column by
column with "[]" as text, questions without an answer, questions in two files, documents without the answer,
turns out of order, CANNOTANSWER.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from sample_documents_a import json_lines
from sample_world import AILMENTS, MACHINES, PLANTS, TOWNS, Dice, Town, capital

Files = dict[str, str]


class Turn(NamedTuple):
    """A question and its answers: in free words for CoQA, copied from the text for QuAC."""

    question: str
    answer: str
    other: str  # the same answer in other words
    span: str
    other_span: str


def _one(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False) + "\n"


def _town_lines(town: Town) -> list[str]:
    return [
        f"{town.name} is a town on the river {town.river}.",
        f" Its workshops make {town.craft}.",
        f" The flag is {town.flag}, and the fair takes place in {town.fair}.",
    ]


def hotpot_qa() -> Files:
    """Two pages answer a question (a machine's first town; two plants to compare), two others do not."""
    dice, records = Dice("hotpot_qa"), []
    by_name = {town.name: town for town in TOWNS}
    pages = {town.name: _town_lines(town) for town in TOWNS}
    for machine in MACHINES:
        pages[capital(machine.name)] = [
            f"The {machine.name} is driven by {machine.power}.",
            f" The first one was built in {machine.town}.",
        ]
    for plant in PLANTS:
        pages[capital(plant.name)] = [
            f"{capital(plant.name)} grows in {plant.place}.",
            f" It blooms in {plant.season}.",
        ]
    asked: list[tuple[str, str, list[list[Any]], str]] = []
    for machine in MACHINES:
        town, page = by_name[machine.town], capital(machine.name)
        start = f"the town where the first {machine.name} was built"
        asked += [
            (f"Which river runs past {start}?", town.river, [[page, 1], [town.name, 0]], "bridge"),
            (f"What do the workshops make in {start}?", town.craft, [[page, 1], [town.name, 1]], "bridge"),
            (f"What colour is the flag of {start}?", town.flag, [[page, 1], [town.name, 2]], "bridge"),
        ]
    for number, plant in enumerate(PLANTS):
        for step in (1, 3):
            other = PLANTS[(number + step) % 16]
            same = "yes" if plant.season == other.season else "no"
            facts: list[list[Any]] = [[capital(plant.name), 1], [capital(other.name), 1]]
            asked.append(
                (f"Do {plant.name} and {other.name} bloom in the same season?", same, facts, "comparison")
            )
    for number, (question, answer, facts, kind) in enumerate(dice.shuffled(asked)):
        gold = [title for title, _ in facts]
        others = dice.shuffled([title for title in pages if title not in gold])[:2]
        if number == 5:
            facts = [*facts, [gold[0], 7]]
        records.append({
            "_id": f"{number:024x}",
            "question": question,
            "answer": answer,
            "type": kind,
            "level": "easy",
            "supporting_facts": facts,
            "context": [[title, pages[title]] for title in dice.shuffled([*gold, *others])],
        })  # fmt: skip
    return {
        "hotpot_qa/hotpot_train_v1.1.json": _one(records[:54]),
        "hotpot_qa/hotpot_dev_distractor_v1.json": _one(records[54:]),
    }


def ms_marco() -> Files:
    """Version 2.1: 60 training and 20 dev questions with three passages; some have no answer."""
    dice, asked = Dice("ms_marco"), []
    for ailment in AILMENTS:
        about = f"{capital(ailment.name)} comes from {ailment.source}."
        remedy = f"{capital(ailment.cure)} tea helps against {ailment.name}."
        asked += [
            (f"what causes {ailment.name}", ailment.source, f"{about} Doctors see it often.", about),
            (f"{ailment.name} symptoms", ailment.sign,
             f"People with {ailment.name} have {ailment.sign}.", ""),
            (f"what helps against {ailment.name}", f"{ailment.cure} tea", remedy, remedy),
        ]  # fmt: skip
    for plant in PLANTS:
        colour = f"The flowers of {plant.name} are {plant.colour}."
        place = f"You can find {plant.name} in {plant.place}."
        asked += [
            (f"what colour is {plant.name}", plant.colour, colour, colour),
            (f"{plant.name} season", plant.season, f"{capital(plant.name)} blooms in {plant.season}.", ""),
            (f"where do you find {plant.name}", f"in {plant.place}", place, place),
        ]  # fmt: skip
    names = ("answers", "passages", "query", "query_id", "query_type", "wellFormedAnswers")
    tables: dict[str, dict[str, dict[str, Any]]] = {
        part: {name: {} for name in names} for part in ("train", "dev")
    }
    shuffled = dice.shuffled(asked)[:78]
    for number, (query, answer, text, whole) in enumerate(shuffled):
        table, key = tables["train" if number < 60 else "dev"], str(number if number < 60 else number - 60)
        others = dice.shuffled([entry[2] for entry in shuffled if entry[2] != text])[:2]
        answered = number % 12 != 11
        texts = dice.shuffled([text, *others] if answered else others)
        table["passages"][key] = [
            {
                "is_selected": int(passage == text),
                "url": f"http://pages.example/{number}/{place}",
                "passage_text": passage,
            }
            for place, passage in enumerate(texts)
        ]
        table["query"][key] = query
        table["query_id"][key] = 800_000 + number
        table["query_type"][key] = "ENTITY"
        table["answers"][key] = [answer] if answered else ["No Answer Present."]
        table["wellFormedAnswers"][key] = [whole] if answered and whole else "[]"
    return {f"ms_marco_qa/{part}_v2.1.json": _one(table) for part, table in tables.items()}


def trivia_qa() -> Files:
    """48 training and 16 dev questions in the two files of a split; three in four have a document."""
    dice, files = Dice("trivia_qa"), {}
    asked = []
    for town in TOWNS:
        page = f"{town.name}.txt"
        text = "".join(_town_lines(town))
        files[f"trivia_qa/evidence/wikipedia/{page}"] = f"{town.name}\n\n{text}\n"
        asked += [
            (
                f"Which river flows through the town of {town.name}?",
                town.river,
                [f"River {town.river}"],
                page,
            ),
            (
                f"In which season do people go to the fair of {town.name}?",
                capital(town.fair),
                [town.fair],
                page,
            ),
        ]
    for plant in PLANTS:
        page = f"{plant.name.replace(' ', '_')}/page_1.txt"
        files[f"trivia_qa/evidence/web/{page}"] = (
            f"All about plants. {capital(plant.name)} grows in {plant.place}. "
            f"People use it to make {plant.use}.\n"
        )
        asked += [
            (f"What is made from the plant called {plant.name}?", capital(plant.use), [plant.use], page),
            (f"What colour are the petals of {plant.name}?", capital(plant.colour), [plant.colour], page),
        ]
    entries: dict[str, list[dict[str, Any]]] = {
        f"{kind}-{part}": [] for kind in ("wikipedia", "web") for part in ("train", "dev")
    }
    for number, (question, value, aliases, page) in enumerate(dice.shuffled(asked)):
        part = "train" if number < 48 else "dev"
        entry = {
            "Answer": {
                "Aliases": aliases,
                "NormalizedValue": value.lower(),
                "Type": "FreeForm",
                "Value": value,
            },
            "EntityPages": [],
            "Question": question,
            "QuestionId": f"sm_{number}",
            "QuestionSource": "http://quiz.example/",
            "SearchResults": [],
        }  # fmt: skip
        if "/" in page:
            found = [
                {"Filename": page, "Rank": 0, "Title": "All about plants", "Url": "http://plants.example/"}
            ]
            entries[f"web-{part}"].append(entry | {"SearchResults": found})
        else:
            pages = [{"DocSource": "Search", "Filename": page, "Title": page.removesuffix(".txt")}]
            entries[f"wikipedia-{part}"].append(entry | {"EntityPages": pages})
            entries[f"web-{part}"].append(entry)
    for name, data in entries.items():
        content = {
            "Data": data,
            "Domain": "Web",
            "Split": name.partition("-")[2],
            "VerifiedEval": False,
            "Version": 1.0,
        }
        files[f"trivia_qa/qa/{name}.json"] = _one(content)
    return files


def webglm_qa() -> Files:
    """36 + 8 + 10 questions whose answer cites two of three passages."""
    dice = Dice("webglm_qa")
    asked = [
        (f"Why is {plant.name} worth a walk in {plant.season}?",
         f"{capital(plant.name)} blooms in {plant.season}", f"Its flowers are {plant.colour}")
        for plant in PLANTS
    ]  # fmt: skip
    asked += [
        (f"How does a {machine.name} work and what is it good for?",
         f"The {machine.name} is driven by {machine.power}", f"It is used to make {machine.product}")
        for machine in MACHINES
    ]  # fmt: skip
    asked += [
        (f"What should a visitor know about {town.name}?",
         f"{town.name} lies on the river {town.river}", f"The fair takes place in {town.fair}")
        for town in TOWNS
    ]  # fmt: skip
    asked += [
        (f"How do you recognise {ailment.name} and what helps against it?",
         f"People with {ailment.name} have {ailment.sign}", f"{capital(ailment.cure)} tea helps against it")
        for ailment in AILMENTS
    ]  # fmt: skip
    records = []
    for question, first, second in dice.shuffled(asked):
        stray = f"The museum of {dice.pick(TOWNS).name} is closed on Mondays."
        order = dice.shuffled([0, 1, 2])
        passages = [(f"{first}.", f"{second}.", stray)[place] for place in order]
        answer = f"{first} [{order.index(0) + 1}]. {second} [{order.index(1) + 1}]."
        records.append({"question": question, "answer": answer, "references": passages})
    return {
        "webglm_qa/train.jsonl": json_lines(records[:36]),
        "webglm_qa/validation.jsonl": json_lines(records[36:44]),
        "webglm_qa/test.jsonl": json_lines(records[44:]),
    }


def _talk(number: int) -> tuple[str, str, list[Turn], str]:
    """(title, text, turns, a question that the text does not answer) about one thing."""
    if number % 3 == 0:
        town = TOWNS[number // 3 % 16]
        river, fair = f"the river {town.river}", f"Every {town.fair} they hold a fair"
        text = (
            f"{town.name} is a town on {river}. The people there make {town.craft}. "
            f"Their flag is {town.flag}. {fair}."
        )
        turns = [
            Turn(f"Where is {town.name}?", f"on {river}", f"the {town.river}", f"on {river}", river),
            Turn("What do the people make?", town.craft, f"they make {town.craft}",
                 town.craft, f"make {town.craft}"),
            Turn("What colour is their flag?", town.flag, f"it is {town.flag}",
                 town.flag, f"Their flag is {town.flag}"),
            Turn("Do they hold a fair?", "yes", "yes, every year", fair, "they hold a fair"),
            Turn("When?", town.fair, f"in {town.fair}", town.fair, f"Every {town.fair}"),
        ]  # fmt: skip
        return town.name, text, turns, "Who is the mayor?"
    if number % 3 == 1:
        plant = PLANTS[number // 3 % 16]
        name, use = capital(plant.name), f"people use it to make {plant.use}"
        text = (
            f"{name} is a plant that grows in {plant.place}. It has {plant.colour} flowers. It blooms in "
            f"{plant.season}, and {use}."
        )
        turns = [
            Turn(f"Where does {plant.name} grow?", f"in {plant.place}", plant.place,
                 f"in {plant.place}", plant.place),
            Turn("What colour are the flowers?", plant.colour, f"they are {plant.colour}",
                 plant.colour, f"{plant.colour} flowers"),
            Turn("When does it bloom?", f"in {plant.season}", plant.season,
                 f"in {plant.season}", plant.season),
            Turn("Do people use it?", "yes", "they do", use, "people use it"),
            Turn("What do they make from it?", plant.use, f"they make {plant.use}",
                 plant.use, f"make {plant.use}"),
        ]  # fmt: skip
        return name, text, turns, "How tall is it?"
    machine = MACHINES[number // 3 % 12]
    power, product, town_name = machine.power, machine.product, machine.town
    built = f"The first one was built in {town_name}"
    text = (
        f"The {machine.name} is a machine. It is driven by {power}. It makes {product}. "
        f"{built}, a small town."
    )
    turns = [
        Turn(f"What is the {machine.name}?", "a machine", "machine", "a machine", "machine"),
        Turn("What drives it?", power, f"{power} does", power, f"driven by {power}"),
        Turn("What does it make?", product, f"it makes {product}", product, f"makes {product}"),
        Turn("Was the first one built in a town?", "yes", "it was",
             f"{built}, a small town", f"{town_name}, a small town"),
        Turn("Which one?", town_name, f"in {town_name}", town_name, f"in {town_name}"),
    ]  # fmt: skip
    return capital(machine.name), text, turns, "What does it cost?"


def _start(text: str, span: str) -> int:
    """Where the words of a span begin; it must stand in the text."""
    found = re.search(rf"\b{re.escape(span)}\b", text)
    if found is None:
        raise ValueError(f"not in the text: {span!r}")
    return found.start()


def coqa() -> Files:
    """30 training and 8 dev stories; the dev set has further answers, some turns stand out of order."""
    dice = Dice("coqa")
    stories: dict[str, list[dict[str, Any]]] = {"train": [], "dev": []}
    for number in dice.shuffled(range(38)):
        _, text, turns, _ = _talk(number)
        part = "train" if len(stories["train"]) < 30 else "dev"
        asked = [{"input_text": turn.question, "turn_id": place} for place, turn in enumerate(turns, 1)]

        def answers(other: bool, text: str = text, turns: list[Turn] = turns) -> list[dict[str, Any]]:
            return [
                {
                    "span_start": (start := _start(text, turn.span)),
                    "span_end": start + len(turn.span),
                    "span_text": turn.span,
                    "input_text": turn.other if other else turn.answer,
                    "turn_id": place,
                }
                for place, turn in enumerate(turns, 1)
            ]

        story: dict[str, Any] = {
            "source": "sample",
            "id": f"sample{number:04d}",
            "filename": f"sample.{number}",
            "story": text,
            "questions": asked if number % 5 else asked[::-1],
            "answers": answers(False),
            "name": f"sample.{number}",
        }
        if part == "dev":
            story["additional_answers"] = {"0": answers(True), "1": answers(False)}
        stories[part].append(story)
    return {
        f"coqa/coqa-{part}-v1.0.json": _one({"version": "1.0", "data": data})
        for part, data in stories.items()
    }


def quac() -> Files:
    """12 training and 4 validation sections of six questions, one of them without an answer.

    Every answer is copied from the text; that it means yes stands in a field of its own.
    """
    dice = Dice("quac")
    data: dict[str, list[dict[str, Any]]] = {"train": [], "val": []}
    for number in dice.shuffled(range(38))[:16]:
        title, text, turns, missing = _talk(number)
        part = "train" if len(data["train"]) < 12 else "val"
        context = f"{text} CANNOTANSWER"
        turns = [*turns[:2], Turn(missing, *["CANNOTANSWER"] * 4), *turns[2:]]
        qas = []
        for place, turn in enumerate(turns):
            spans = [turn.span] if part == "train" else [turn.span, turn.other_span]
            answers = [{"text": span, "answer_start": _start(context, span)} for span in spans]
            qas.append({
                "followup": "y",
                "yesno": "y" if turn.answer == "yes" else "x",
                "question": turn.question.lower().rstrip("?") if place % 2 else turn.question,
                "answers": answers,
                "id": f"C_sample{number:03d}_0_q#{place}",
                "orig_answer": answers[0],
            })  # fmt: skip
        data[part].append({
            "paragraphs": [{"context": context, "qas": qas, "id": f"C_sample{number:03d}_0"}],
            "section_title": "Overview",
            "background": f"{title} belongs to an invented world.",
            "title": title,
        })  # fmt: skip
    return {f"quac/{part}_v0.2.json": _one({"data": entries}) for part, entries in data.items()}
