"""Document understanding sets of the sample: FEVER, XSum, CNN/DailyMail, WikiSum, Multi-News.

The traps of the official files are here too: page names and sentences with escaped brackets, evidence of
several sentences, claims without enough information; stories without final full stops; an empty article
among several; NEWLINE_CHAR and the dash before summaries.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sample_world import COLOURS, MACHINES, PLANTS, SEASONS, TOWNS, Dice, Machine, Plant, Town, capital

Files = dict[str, str]
Article = tuple[list[str], str]  # sentences, summary

_PRODUCTS = tuple(dict.fromkeys(machine.product for machine in MACHINES))


def json_lines(records: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _other(dice: Dice, value: str, values: tuple[str, ...]) -> str:
    return dice.pick([item for item in values if item != value])


def fever() -> Files:
    """60 + 12 + 16 decided claims, every sixth undecided, and the pages of all towns, plants and machines."""
    dice, claims = Dice("fever"), []
    pages: dict[str, list[str]] = {}
    for town in TOWNS:
        pages[town.name] = [
            f"{town.name} -LRB- also called Old {town.name} -RRB- is a town on the {town.river} .",
            "",
            f"Its people make {town.craft} .",
            f"The flag of the town is {town.flag} .",
            f"A fair is held there in {town.fair} .",
        ]
        wrong = _other(dice, town.fair, SEASONS)
        season = town.fair if dice.chance(0.5) else wrong
        claims.append((f"Visitors come to {town.name} for a fair in {season}.",
                       [[(town.name, 4)]], season == town.fair))  # fmt: skip
        colour = town.flag if dice.chance(0.5) else _other(dice, town.flag, COLOURS)
        claims.append((f"The banner that flies over {town.name} is {colour}.",
                       [[(town.name, 0), (town.name, 3)], [(town.name, 3)]],
                       colour == town.flag))  # fmt: skip
    for plant in PLANTS:
        page = f"{capital(plant.name).replace(' ', '_')}_-LRB-plant-RRB-"
        pages[page] = [
            f"{capital(plant.name)} is a plant with {plant.colour} flowers .",
            f"It is found in {plant.place} .",
            f"It blooms in {plant.season} .",
        ]
        colour = plant.colour if dice.chance(0.5) else _other(dice, plant.colour, COLOURS)
        claims.append((f"Whoever picks {plant.name} holds {colour} flowers.", [[(page, 0)]],
                       colour == plant.colour))  # fmt: skip
        season = plant.season if dice.chance(0.5) else _other(dice, plant.season, SEASONS)
        claims.append((f"{capital(plant.name)} can be seen in bloom in {season}.", [[(page, 0), (page, 2)]],
                       season == plant.season))  # fmt: skip
    for machine in MACHINES:
        page = f"{capital(machine.name).replace(' ', '_')}_-LRB-machine-RRB-"
        pages[page] = [
            f"The {machine.name} is a machine driven by {machine.power} .",
            f"It is used to make {machine.product} .",
        ]
        product = machine.product if dice.chance(0.5) else _other(dice, machine.product, _PRODUCTS)
        claims.append((f"A workshop that needs {product} will buy a {machine.name}.", [[(page, 1)]],
                       product == machine.product))  # fmt: skip
    records: list[dict[str, Any]] = []
    for number, (claim, sets, holds) in enumerate(dice.shuffled(claims)):
        records.append({
            "id": 7000 + number,
            "verifiable": "VERIFIABLE",
            "label": "SUPPORTS" if holds else "REFUTES",
            "claim": claim,
            "evidence": [[[50_000 + number, 60_000 + number, *pointer] for pointer in own] for own in sets],
        })  # fmt: skip
        if number % 6 == 5:
            town = TOWNS[number % 16]
            records.append({
                "id": 9000 + number,
                "verifiable": "NOT VERIFIABLE",
                "label": "NOT ENOUGH INFO",
                "claim": f"The mayor of {town.name} owns {number} geese.",
                "evidence": [[[50_500 + number, None, None, None]]],
            })  # fmt: skip
    order = dice.shuffled(list(pages))
    wiki = [
        {
            "id": page,
            "text": " ".join(filter(None, pages[page])),
            "lines": "\n".join(
                f"{i}\t{text}" + ("\tlink\tLink" if i == 0 else "") for i, text in enumerate(pages[page])
            ),
        }
        for page in order
    ]
    return {
        "fever/train.jsonl": json_lines(records[:64]),
        "fever/paper_dev.jsonl": json_lines(records[64:76]),
        "fever/paper_test.jsonl": json_lines(records[76:]),
        "fever/wiki-pages/wiki-001.jsonl": json_lines([{"id": "", "text": "", "lines": ""}, *wiki[:22]]),
        "fever/wiki-pages/wiki-002.jsonl": json_lines(wiki[22:]),
    }


# (summary, sentences of the article); {t} town, {o} another town, {r} river, {m} machine, {p} plant.
_EVENTS = (
    ("{t} will build a {m} beside the {r}.",
     ("The council of {t} met on Monday.", "After a long debate it voted for a new {m}.",
      "The machine will stand beside the {r}, where an old shed is to be torn down.",
      "It is driven by {w} and will make {g}.", "Neighbours had asked for a quieter place.")),
    ("A flood of the {r} has damaged the market of {t}.",
     ("Heavy rain fell in the hills for three days.", "On Friday the {r} left its banks at {t}.",
      "Water stood in the market hall until noon, and many stalls were damaged.",
      "Nobody was hurt.", "People from {o} came with carts to help.")),
    ("{t} has won the rowing race against {o}.",
     ("Hundreds stood on the bridges of the {r} to watch.", "The boat from {o} led at first.",
      "In the last bend the crew of {t} passed it and won the rowing race.",
      "The winners were given {c} as a prize.", "Next year the race will be held in {o}.")),
    ("Gardeners in {t} are worried because {p} has become rare.",
     ("{P} used to grow in the {l} around {t}.", "This {s} hardly any was found.",
      "Gardeners are worried, for people make {u} from it.", "A dry year may be the cause.",
      "The school wants to sow new {p} soon.")),
    ("The museum of {t} shows the first {m}.",
     ("The museum of {t} opened a new room on Sunday.", "In the middle of it stands the first {m}.",
      "It was driven by {w} and used to make {g}.", "Children may turn the wheel themselves.",
      "Visitors from {o} pay half the price.")),
    ("Thieves have stolen {c} from a shop in {t}.",
     ("A shop in {t} was broken into at night.", "The thieves took {c} and a little money.",
      "A baker saw two men run towards the {r}.", "The police ask for help.",
      "It is the second theft since the fair in {f}.")),
)  # fmt: skip


def _words(town: Town, other: Town, machine: Machine, plant: Plant) -> dict[str, str]:
    return {
        "t": town.name, "r": town.river, "c": town.craft, "f": town.fair, "o": other.name,
        "m": machine.name, "w": machine.power, "g": machine.product,
        "p": plant.name, "P": capital(plant.name), "l": plant.place, "s": plant.season, "u": plant.use,
    }  # fmt: skip


def _stories(dice: Dice, count: int) -> list[tuple[Article, dict[str, str]]]:
    """Different events: (sentences and summary), words."""
    found: dict[tuple[int, str], tuple[Article, dict[str, str]]] = {}
    while len(found) < count:
        kind, town = dice.number(len(_EVENTS)), dice.pick(TOWNS)
        other = dice.pick([item for item in TOWNS if item.name != town.name])
        words = _words(town, other, dice.pick(MACHINES), dice.pick(PLANTS))
        summary, sentences = _EVENTS[kind]
        article = [sentence.format(**words) for sentence in sentences]
        found.setdefault((kind, town.name), ((article, summary.format(**words)), words))
    return list(found.values())


def xsum() -> Files:
    """40 + 8 + 12 news items in the sections of the official archive, and the split file."""
    files: Files = {}
    ids: dict[str, list[str]] = {"test": [], "train": [], "validation": []}
    for number, ((sentences, summary), words) in enumerate(_stories(Dice("xsum"), 60)):
        name = str(90_000_001 + 37 * number)
        ids["train" if number < 40 else "validation" if number < 48 else "test"].append(name)
        body = "\n".join(sentences)
        files[f"xsum/bbc-summary-data/{name}.summary"] = (
            f"[SN]URL[SN]\nhttp://news.example/{name}\n\n[SN]TITLE[SN]\nNews from {words['t']}\n\n"
            f"[SN]FIRST-SENTENCE[SN]\n{summary}\n\n[SN]RESTBODY[SN]\n{body}\n"
        )
    files["xsum/XSum-TRAINING-DEV-TEST-SPLIT-90-5-5.json"] = json.dumps(ids) + "\n"
    return files


def cnn_dm() -> Files:
    """30 + 8 + 12 stories with two highlights each, half of them in each newspaper's folder."""
    files: Files = {}
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for number, ((sentences, summary), words) in enumerate(_stories(Dice("cnn_dm"), 50)):
        url = f"http://news.example/sample/{words['t'].lower()}-{number}/index.html"
        lists["train" if number < 30 else "val" if number < 38 else "test"].append(url)
        name = hashlib.sha1(url.encode("utf-8"), usedforsecurity=False).hexdigest()
        place = words["t"].upper()
        highlights = [summary.rstrip("."), f"The news comes from {words['t']} on the {words['r']}"]
        paragraphs = [
            f"{place} (Sample News) -- {sentences[0]}",
            *sentences[1:],
            f"Share this story from {words['t']}",
        ]
        marked = [piece for text in highlights for piece in ("@highlight", text)]
        folder = ("cnn", "dailymail")[number % 2]
        files[f"cnn_dm/{folder}/stories/{name}.story"] = "\n\n".join([*paragraphs, *marked])
    for name, urls in lists.items():
        files[f"cnn_dm/all_{name}.txt"] = "\n".join(urls) + "\n"
    return files


_STEPS = (
    ("How to Make {U} from {T}",
     "To make {u} from {p}, gather the plant in {s}, dry it and boil it in water.",
     ("Gather the plant", "Go to the {l} in {s}, when {p} is in bloom. Cut only every second stem."),
     ("Dry it", "Hang the stems in a dark room for two days. They must not touch each other."),
     ("Boil it", "Put the dry stems in water and boil them for an hour to make {u}. Then let it cool.")),
    ("How to Grow {T} in a Pot",
     "To grow {p} in a pot, use soil from the {l}, water it twice a week and wait for {k} flowers in {s}.",
     ("Find the right soil", "Fill a pot with soil from the {l}. Other soil is too heavy for {p}."),
     ("Water it", "Give the plant a cup of water twice a week. Never water it at noon."),
     ("Wait for the flowers", "In {s} you will see {k} flowers. Put the pot near a window then.")),
    ("How to Use a {M}",
     "To use a {m}, check the {w}, fill the box slowly and wear gloves when you take out the {g}.",
     ("Check the machine", "A {m} needs {w}. Make sure that there is enough of it before you begin."),
     ("Fill the box", "Fill the box slowly, one bucket at a time. Do not reach into the wheels."),
     ("Take out the {g}", "When the bell rings, put on gloves and take out the {g}. The box may be hot.")),
)  # fmt: skip


def wikisum() -> Files:
    """40 + 8 + 12 how-to guides."""
    dice = Dice("wikisum")
    guides = [(kind, plant, MACHINES[0]) for kind in (0, 1) for plant in PLANTS]
    guides += [(2, PLANTS[0], machine) for machine in MACHINES]
    guides += [(0, plant, MACHINES[1]) for plant in PLANTS]
    records = []
    for number, (kind, plant, machine) in enumerate(guides[:60]):
        title, summary, *steps = _STEPS[kind]
        words = {
            "p": plant.name, "u": plant.use, "s": plant.season, "l": plant.place, "k": plant.colour,
            "T": plant.name.title(), "U": capital(plant.use), "M": machine.name.title(),
            "m": machine.name, "w": machine.power, "g": machine.product,
        }  # fmt: skip
        if number >= 44:  # the same craft again, for a larger household
            words |= {"u": f"a barrel of {plant.use}", "U": f"a Barrel of {capital(plant.use)}"}
        record = {
            "url": f"https://howto.example/{number}",
            "title": title.format(**words),
            "summary": summary.format(**words),
            "article": "\n".join(f"{text}" for _, text in steps).format(**words),
            "step_headers": "\n".join(header for header, _ in steps).format(**words),
        }
        records.append(record)
    folds = ["train"] * 40 + ["val"] * 8 + ["test"] * 12
    rows = [row | {"fold": fold} for row, fold in zip(dice.shuffled(records), folds, strict=True)]
    return {"wikisum/WikiSumDataset/WikiSumDataset.jsonl": json_lines(rows)}


def multi_news() -> Files:
    """40 + 8 + 12 clusters of two or three reports on one event."""
    dice = Dice("multi_news")
    lines = []
    for number, ((sentences, summary), words) in enumerate(_stories(dice, 60)):
        first = " NEWLINE_CHAR NEWLINE_CHAR ".join(sentences[:3])
        second = f"{sentences[2]} NEWLINE_CHAR {sentences[3]} The editor of {words['o']} reports."
        third = f"{summary} {sentences[4]}"
        articles = [first, second, third][: 2 + number % 2]
        source = " ||||| ".join(articles) + (" ||||| " if number % 3 == 0 else "")
        if number == 7:
            source = " ||||| " + source
        lines.append((source, f"\u2013 {summary} {sentences[3]}"))
    files: Files = {}
    for name, part in (("train", lines[:40]), ("val", lines[40:48]), ("test", lines[48:])):
        files[f"multi_news/{name}.src.cleaned"] = "".join(f"{source}\n" for source, _ in part)
        files[f"multi_news/{name}.tgt"] = "".join(f"{summary}\n" for _, summary in part)
    return files
