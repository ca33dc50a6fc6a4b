"""BEIR folders of the sample, one for each retrieval collection beyond those of `sample_ranking`.

Every collection has documents that answer and documents that only use the words of the query, so that a
reranker has something to see through. The peculiar points of the official zips are here too: passages without
title (MS MARCO, FiQA, Quora), papers without abstract (TREC-COVID), queries that are documents themselves and
relevant documents missing from the corpus (ArguAna), judged zeros (DBPedia, SciDocs), twelve forums with ids
of their own (CQADupStack), and judgments for the test set alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import sample_topics
from sample_documents import Files, json_lines
from sample_world import AILMENTS, MACHINES, PLANTS, POWERS, SEASONS, TOWNS, Dice, capital


class Text(NamedTuple):
    """A document; `key` is what queries call it by."""

    key: str
    title: str
    text: str


class Asked(NamedTuple):
    """A query and its judgments: document key -> grade."""

    text: str
    judged: dict[str, int]
    key: str = ""


def _number(name: str, number: int) -> str:
    return str(1000 + 3 * number)


def _folder(
    name: str,
    documents: Sequence[Text],
    asked: Sequence[Asked],
    sizes: dict[str, int],
    *,
    document_id: Callable[[str, int], str] = _number,
    query_id: Callable[[str, int], str] = _number,
    metadata: Callable[[Asked], dict[str, Any]] = lambda _: {},
) -> Files:
    """A BEIR folder with its documents and queries in random order; `sizes` of the judgment files, in turn.

    Judgments may name documents that are missing: their key is their id.
    """
    dice = Dice(name)
    documents, asked = dice.shuffled(documents), dice.shuffled(asked)[: sum(sizes.values())]
    ids = {document.key: document_id(document.key, number) for number, document in enumerate(documents)}
    query_ids = [query_id(query.key, number) for number, query in enumerate(asked)]
    corpus = [
        {"_id": ids[document.key], "title": document.title, "text": document.text, "metadata": {}}
        for document in documents
    ]
    queries = [
        {"_id": query_ids[number], "text": query.text, "metadata": metadata(query)}
        for number, query in enumerate(asked)
    ]
    files = {f"{name}/corpus.jsonl": json_lines(corpus), f"{name}/queries.jsonl": json_lines(queries)}
    start = 0
    for split, size in sizes.items():
        lines = ["query-id\tcorpus-id\tscore"]
        for number in range(start, start + size):
            judged = asked[number].judged
            lines += [f"{query_ids[number]}\t{ids.get(key, key)}\t{grade}" for key, grade in judged.items()]
        files[f"{name}/qrels/{split}.tsv"] = "\r\n".join(lines) + "\r\n"
        start += size
    return files


def ms_marco() -> Files:
    """Passages without title; the few queries of test.tsv are graded, as those of TREC are."""
    documents, asked = [], []
    for plant in PLANTS:
        name = plant.name
        documents += [
            Text(name, "", f"Look for {name} in the {plant.place}. It is at its best in {plant.season}."),
            Text(f"{name} shop", "", f"Where to find {name}? Our shop sends {name} to every town by post."),
        ]
        asked.append(Asked(f"where to look for {name}", {name: 1}))
        asked.append(Asked(f"best season for {name}", {name: 1}))
    for machine in MACHINES:
        name = machine.name
        documents += [
            Text(
                name,
                "",
                f"The {name} of {machine.town} runs on {machine.power}; it turns out {machine.product}.",
            ),
            Text(
                f"{name} club", "", f"What does a {name} run on? Ask the friends of the {name} in our club."
            ),
        ]
        asked.append(Asked(f"what a {name} runs on", {name: 1}))
    # TREC judges more than one passage of a query, also those that do not answer it.
    graded = [
        Asked(f"{plant.name} in nature", {plant.name: 3, f"{plant.name} shop": 0, PLANTS[0].name: 1})
        for plant in PLANTS[12:]
    ]
    files = _folder("beir_ms_marco", documents, asked, {"train": 28, "dev": 10})
    held_out = _folder("beir_ms_marco", documents, graded, {"test": 4}, query_id=lambda _, n: str(9001 + n))
    files["beir_ms_marco/queries.jsonl"] += held_out["beir_ms_marco/queries.jsonl"]
    return files | {"beir_ms_marco/qrels/test.tsv": held_out["beir_ms_marco/qrels/test.tsv"]}


def trec_covid() -> Files:
    """The questions of the sample's TREC-COVID topics; the metadata carry the topic's other fields."""
    topics = re.findall(
        r'<topic number="(\d+)">\s*<query>(.*?)</query>\s*<question>(.*?)</question>\s*<narrative>(.*?)<',
        sample_topics.topic_files()["trec_covid/topics-rnd5.xml"],
    )
    found = {
        "origin": "The first patient of {x} had come down the {river} by boat. All early cases had met him.",
        "symptoms": "Patients in {x} had a fever and a dry cough, the weaker ones for weeks.",
        "treatment": "Patients in {x} were given rest and oxygen. Two drugs on trial made no difference.",
        "spreads": "In {x} one person infected three others, most of them inside the {craft} works.",
        "children": "Children in {x} had a fever for two days. None of them needed a doctor.",
    }
    towns = {town.name: town for town in TOWNS[:10]}
    documents, asked, fields = [], [], {}
    for number, title, question, narrative in topics:
        name = next(name for name in towns if name in title)
        kind = next(kind for kind in found if kind in title)
        words = towns[name]._asdict() | {"x": name}
        documents.append(Text(f"{name} {kind}", f"COVID-19 in {name}: a report", found[kind].format(**words)))
        # The original has many records without an abstract.
        documents.append(Text(f"{name} {kind} 2", f"Open questions on {title}", ""))
        others = {f"{other} {kind}": 0 for other in list(towns)[int(number) % 10 :][:2] if other != name}
        judged = {f"{name} {kind}": 2, f"{name} {kind} 2": 1, **others}
        asked.append(Asked(question, judged, number))
        fields[number] = {"query": title, "narrative": narrative}
    keys = {document.key for document in documents}
    asked = [
        query._replace(judged={key: grade for key, grade in query.judged.items() if key in keys})
        for query in asked
    ]
    return _folder(
        "beir_trec_covid",
        documents,
        asked,
        {"test": len(asked)},
        document_id=lambda key, _: _hash(key)[:8],
        query_id=lambda key, _: key,
        metadata=lambda query: fields[query.key],
    )


def nq() -> Files:
    """Paragraphs of encyclopedia pages; only the test set is judged."""
    documents, asked = [], []
    for town in TOWNS:
        name = town.name
        documents += [
            Text(f"{name} river", name, f"The town stands on the {town.river}, which turns its mills."),
            Text(f"{name} craft", name, f"Most workshops of the town deal in {town.craft}."),
            Text(f"{name} flag", name, f"Its flag has been {town.flag} since the town was founded."),
            Text(f"{name} fair", name, f"Every {town.fair} a fair brings visitors from the coast."),
            Text(
                f"{name} other",
                f"{name} (other uses)",
                f"{name} is the name of a ship, too, and of a street.",
            ),
        ]
        asked += [
            Asked(f"what river is {name.lower()} on", {f"{name} river": 1}),
            Asked(f"what do the workshops of {name.lower()} make", {f"{name} craft": 1}),
            Asked(f"when do visitors come to the {name.lower()} fair", {f"{name} fair": 1}),
        ]
    return _folder(
        "beir_nq",
        documents,
        asked,
        {"test": 40},
        document_id=lambda _, number: f"doc{number}",
        query_id=lambda _, number: f"test{number}",
    )


_MONEY = (
    ("insurance", "Should I insure my {x}?", "Insure the {x} only if you live on what it earns."),
    ("loan", "Is it wise to borrow money for a {x}?", "A loan pays off when the {x} works every day."),
    ("tax", "Do I pay tax on what my {x} earns?", "Yes, half of what the {x} brings in is taxed in spring."),
    ("rent", "How do I find the right rent for a {x}?", "Divide its price by the months the {x} will last."),
)  # fmt: skip


def fiqa() -> Files:
    """Replies of a money forum, without titles; train, dev and test."""
    documents, asked = [], []
    for machine in MACHINES:
        for kind, question, reply in _MONEY:
            key = f"{machine.name} {kind}"
            documents.append(Text(key, "", reply.format(x=machine.name)))
            asked.append(Asked(question.format(x=machine.name), {key: 1}))
        chat = f"My uncle has a {machine.name} too, and money, tax and loans are all he talks about."
        documents.append(Text(f"{machine.name} chat", "", chat))
    return _folder("beir_fiqa", documents, asked, {"train": 28, "dev": 6, "test": 6})


def hotpot_qa() -> Files:
    """Two articles are needed: where the machine stands, and what is told of that town."""
    documents = [
        Text(town.name, town.name, f"{town.name} is a town on the {town.river}. The flag of the town is "
             f"{town.flag}, its fair takes place in {town.fair}.")
        for town in TOWNS
    ] + [
        Text(plant.name, capital(plant.name), f"{capital(plant.name)} has {plant.colour} flowers and "
             f"is made into {plant.use}. It was once painted on the flag of a town.")
        for plant in PLANTS
    ]  # fmt: skip
    asked = []
    for machine in MACHINES:
        name = machine.name
        documents += [
            Text(
                name,
                capital(name),
                f"The oldest {name} stands in {machine.town}. It makes {machine.product}.",
            ),
            Text(
                f"{name} film", f"The {capital(name)} (film)", f"A film about a river, a fair and a {name}."
            ),
        ]
        for asks in (
            "river beside the town",
            "colour of the flag of the town",
            "season of the fair in the town",
        ):
            text = f"Name the {asks} where the oldest {name} stands."
            asked.append(Asked(text, {name: 1, machine.town: 1}))
    return _folder(
        "beir_hotpot_qa",
        documents,
        asked,
        {"train": 24, "dev": 6, "test": 6},
        query_id=lambda _, number: _hash(f"hotpot {number}"),
    )


_DEBATES = (
    ("noise", "The {x} must stop at night. People who live near it cannot sleep, and tired people fall ill.",
     "A silent night is no reason to stop the {x}. Its neighbours knew of the noise when they moved there."),
    ("cost", "The town should not buy a {x}. It costs more than the town earns in a year.",
     "The price of a {x} is paid only once. It serves the town for thirty years and earns the money back."),
    ("work", "A {x} takes work away. What it does in a day once kept twenty families in bread.",
     "Nobody loses work to a {x}. Somebody has to feed it, oil it and carry away what it makes."),
)  # fmt: skip


def arguana() -> Files:
    """Arguments as queries, which are documents themselves; two counter-arguments are not in the corpus."""
    documents, asked = [], []
    for machine in MACHINES:
        for kind, point, counter in _DEBATES:
            key = f"test-{kind}-{machine.name.replace(' ', '')}"
            title = f"{kind} of machines in towns"
            point, counter = (capital(text.format(x=machine.name)) for text in (point, counter))
            documents.append(Text(f"{key}-pro01a", title, point))
            documents.append(Text(f"{key}-pro01b", title, counter))
            asked.append(Asked(point, {f"{key}-pro01b": 1}, f"{key}-pro01a"))
    missing = {key for query in asked[:2] for key in query.judged}
    return _folder(
        "beir_arguana",
        [document for document in documents if document.key not in missing],
        asked,
        {"test": len(asked)},
        document_id=lambda key, _: key,
        query_id=lambda key, _: key,
    )


def touche() -> Files:
    """Questions with two sides; grade 2 for a reason with evidence, 1 for hearsay, 0 for no reason at all."""
    documents, asked = [], []
    issues = [(f"Should the {m.name} be banned?", m.name, f"the {m.name}", "dangerous", "useful")
              for m in MACHINES]  # fmt: skip
    issues += [(f"Should {p.name} be taken from the wild?", p.name, p.name, "rare", "common") for p in PLANTS]
    for question, name, called, bad, good in issues[:24]:
        documents += [
            Text(f"{name} con", "", f"What is {bad} needs a law, and {called} is {bad}, as reports show."),
            Text(f"{name} pro", "", f"No law is needed: {called} is {good}, and nobody has been harmed."),
            Text(f"{name} shout", "", f"A friend told me once that {called} is {bad}, so take care."),
            Text(f"{name} club", "", f"Join our club for friends of {called}. We meet on Sundays."),
        ]  # fmt: skip
        judged = {f"{name} con": 2, f"{name} pro": 2, f"{name} shout": 1, f"{name} club": 0}
        asked.append(Asked(question, judged))
    return _folder(
        "beir_touche",
        documents,
        asked,
        {"test": 24},
        document_id=lambda key, _: f"{_hash(key)[:8]}-2026-01-05T10:00:00Z-00000-000",
        query_id=lambda _, number: str(number + 1),
    )


# (title of the archived post, its text, the duplicate's title); {x} is the machine of the forum.
_PROBLEMS = (
    ("How can I stop my {x} from squeaking?", "It squeaks and oil did not help.", "{x} makes a shrill noise"),
    ("{x} does not start in winter", "When it is cold nothing moves.", "Cold, and the {x} stands still"),
    ("Which oil is right for a {x}?", "The old can has no label any more.", "What do I grease the {x} with?"),
    ("Can one person lift a {x}?", "It has to go up the stairs.", "Is the {x} too heavy to move alone?"),
    ("Is rust on the {x} dangerous?", "The lid is full of it.", "Brown spots on my {x}, should I worry?"),
)  # fmt: skip
_FORUMS = (
    "android", "english", "gaming", "gis", "mathematica", "physics", "programmers", "stats", "tex", "unix",
    "webmasters", "wordpress",
)  # fmt: skip


def cqadupstack() -> Files:
    """Twelve forums, each about one machine; ids start again in each."""
    files: Files = {}
    for forum, machine in zip(_FORUMS, MACHINES, strict=True):
        documents, asked = [], []
        for number, (title, text, again) in enumerate(_PROBLEMS):
            documents.append(Text(str(number), capital(title.format(x=machine.name)), text))
            asked.append(Asked(capital(again.format(x=machine.name)), {str(number): 1}))
        for part in ("lid", "wheel", "handle", "belt", "screw"):
            title = f"Where can I buy a {part} for my {machine.name}?"
            documents.append(Text(part, title, f"The {part} of my {machine.name} is broken."))
        files |= _folder(
            f"beir_cqadupstack/{forum}",
            documents,
            asked,
            {"test": 5},
            query_id=lambda _, number: str(500 + number),
        )
    return files


_PARAPHRASES = (
    ("How do I grow {x}?", "What is the best way of growing {x} at home?"),
    ("Where can I see {x}?", "Which places are good for seeing {x}?"),
    ("What is {x} good for?", "To what use do people put {x}?"),
)


def quora() -> Files:
    """Questions without titles; judgments for dev and test, none for training."""
    documents, asked = [], []
    for plant in PLANTS:
        for number, (question, again) in enumerate(_PARAPHRASES):
            documents.append(Text(f"{plant.name} {number}", "", question.format(x=plant.name)))
            asked.append(Asked(again.format(x=plant.name), {f"{plant.name} {number}": 1}))
        documents.append(Text(f"{plant.name} price", "", f"What is the best price for {plant.name} at home?"))
        documents.append(Text(f"{plant.name} name", "", f"Which people gave {plant.name} its name?"))
    return _folder(
        "beir_quora",
        documents,
        asked,
        {"dev": 24, "test": 16},
        query_id=lambda _, number: str(200_000 + 3 * number),
    )


def dbpedia() -> Files:
    """Entities of four kinds. Machines and towns belong together, and so do illnesses and plants.

    Grades: 2 for what is asked for; 1 for the one entity of another kind whose text names an entity that is
    asked for, with the fact that makes it so; 0 for judged entities that do neither.
    """
    texts = {
        t.name: f"{t.name} is a town on the {t.river} with a {t.flag} flag, known for its {t.craft}."
        for t in TOWNS
    }
    texts |= {
        p.name: f"{capital(p.name)} is a plant of the {p.place} with {p.colour} flowers." for p in PLANTS
    }
    texts |= {
        m.name: f"The {m.name} is a machine that runs on {m.power} and makes {m.product}." for m in MACHINES
    }
    texts |= {
        a.name: f"{capital(a.name)} is an illness with {a.sign}, caused by {a.source}." for a in AILMENTS
    }
    # entity -> the one whose text may name it, and how; {v} is the fact.
    told_by = {m.town: (m.name, f"The first one was built in {m.town}, which {{v}}.") for m in MACHINES}
    told_by |= {m.name: (m.town, f"The first {m.name}, which {{v}}, was built there.") for m in MACHINES}
    told_by |= {a.cure: (a.name, f"What helps is tea made from {a.cure}, which {{v}}.") for a in AILMENTS}
    told_by |= {a.name: (a.cure, f"Its tea helps against {a.name}, which {{v}}.") for a in AILMENTS}
    kinds: tuple[tuple[Sequence[Any], str, str, str], ...] = (
        (TOWNS, "river", "towns on the {v}", "lies on the {v}"),
        (TOWNS, "craft", "where is {v} made", "makes {v}"),
        (TOWNS, "flag", "{v} flag towns", "has a {v} flag"),
        (PLANTS, "colour", "plants with {v} flowers", "has {v} flowers"),
        (PLANTS, "place", "flora of the {v}", "grows in the {v}"),
        (MACHINES, "power", "Give me all machines that run on {v}.", "runs on {v}"),
        (MACHINES, "product", "machines for making {v}", "makes {v}"),
        (AILMENTS, "sign", "illness with {v}", "comes with {v}"),
        (AILMENTS, "source", "what is caused by {v}", "is caused by {v}"),
    )
    dice, asked = Dice("dbpedia judged"), []
    told: dict[str, list[str]] = {}  # entity -> facts that another one tells of it
    for items, attribute, wording, fact in kinds:
        for value in sorted({getattr(item, attribute) for item in items}):
            names = [item.name for item in items if getattr(item, attribute) == value]
            # Spread, so that no text becomes much longer than the others.
            named = min((name for name in names if name in told_by), key=lambda name: len(told.get(name, ())))
            told.setdefault(named, []).append(fact.format(v=value))
            judged = dict.fromkeys(names, 2) | {told_by[named][0]: 1}
            others = [key for key in dice.shuffled(list(texts)) if key not in judged][:3]
            asked.append(Asked(wording.format(v=value), judged | dict.fromkeys(others, 0)))
    for named, facts in told.items():
        teller, sentence = told_by[named]
        texts[teller] += f" {sentence.format(v=' and '.join(facts))}"
    documents = [Text(name, capital(name), text) for name, text in texts.items()]
    return _folder(
        "beir_dbpedia",
        documents,
        asked,
        {"dev": 20, "test": len(asked) - 20},
        document_id=lambda key, _: f"<dbpedia:{capital(key).replace(' ', '_')}>",
        query_id=lambda _, number: f"SAMPLE-{number + 1}",
    )


_MEASURES = ("pulse", "sleep", "appetite", "memory", "hearing")


def scidocs() -> Files:
    """Papers that a paper cites, and as many judged ones that it does not cite."""
    documents = [
        Text(f"{plant.name} {measure}", f"{capital(plant.name)} and {measure}",
             f"We measure the {measure} of volunteers before and after a cup of {plant.name} tea.")
        for plant in PLANTS
        for measure in _MEASURES
    ]  # fmt: skip
    dice, asked = Dice("scidocs judged"), []
    for plant in PLANTS:
        for title in ("{p} tea: a review of what is known", "a second look at {p} and its effects"):
            cited = {f"{plant.name} {measure}": 1 for measure in _MEASURES}
            others = [document.key for document in dice.shuffled(documents) if document.key not in cited][:5]
            text = capital(title.format(p=plant.name))
            asked.append(Asked(text, cited | dict.fromkeys(others, 0), text))
    return _folder(
        "beir_scidocs",
        documents,
        asked,
        {"test": len(asked)},
        document_id=lambda key, _: _hash(key),
        query_id=lambda key, _: _hash(key),
    )


_RECORDS = (
    ("Rainfall", "{t} gets more rain than it used to", "The rain of {t} is measured every morning."),
    ("Frost", "The last frost comes ever later in {t}", "Gardeners of {t} note every frosty night."),
    ("Wind", "The wind over {t} has lost half of its strength", "The wind over {t} is measured on a tower."),
)  # fmt: skip


def climate_fever() -> Files:
    """Claims on the weather of a town, and the pages on its records; test only."""
    documents, asked = [], []
    for town in TOWNS:
        for kind, claim, record in _RECORDS:
            key, told = f"{town.name} {kind}", f"{record.format(t=town.name)} A table gives all years."
            documents.append(Text(key, f"{kind} in {town.name}", told))
            asked.append(Asked(claim.format(t=town.name), {key: 1}))
        about = f"{town.name} stands on the {town.river}. Its weather is much talked about."
        documents.append(Text(town.name, town.name, about))
    return _folder(
        "beir_climate_fever",
        documents,
        asked,
        {"test": 40},
        document_id=lambda key, _: key.replace(" ", "_"),
        query_id=lambda _, number: str(number),
    )


def fever() -> Files:
    """Statements, true and false alike, and the one page that tells; train, dev and test."""
    dice, documents, asked = Dice("fever statements"), [], []
    for town in TOWNS:
        facts = f"{town.name} is a town on the {town.river}. Its people make {town.craft}."
        documents += [
            Text(town.name, town.name, facts),
            Text(
                f"{town.name} song", f"{town.name} (song)", f"{town.name} is a song about a river and a town."
            ),
        ]
        craft = town.craft if dice.chance(0.5) else "candles"
        asked.append(Asked(f"In {town.name}, people live by the sale of {craft}.", {town.name: 1}))
    for plant in PLANTS:
        facts = (
            f"{capital(plant.name)} is a plant that flowers in {plant.season} and is made into {plant.use}."
        )
        documents += [
            Text(plant.name, capital(plant.name), facts),
            Text(f"{plant.name} ship", f"{capital(plant.name)} (ship)", f"The {plant.name} was a ship."),
        ]  # fmt: skip
        season = plant.season if dice.chance(0.5) else dice.pick(SEASONS)
        asked.append(Asked(f"The plant called {plant.name} is in flower during {season}.", {plant.name: 1}))
    for machine in MACHINES:
        facts = f"The {machine.name} is a machine moved by {machine.power}. It makes {machine.product}."
        documents.append(Text(machine.name, capital(machine.name), facts))
        power = machine.power if dice.chance(0.5) else dice.pick(POWERS)
        asked.append(Asked(f"Without {power} no {machine.name} would move.", {machine.name: 1}))
    return _folder(
        "beir_fever",
        documents,
        asked,
        {"train": 26, "dev": 7, "test": 7},
        document_id=lambda key, _: capital(key).replace(" ", "_"),
    )


def _hash(text: str) -> str:
    """The sixteen hexadecimal digits that some collections have as ids."""
    return blake2b(text.encode(), digest_size=8).hexdigest()
