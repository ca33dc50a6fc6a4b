"""Query understanding sets of the sample in their official formats: topics, intents, panes, pairs."""

from __future__ import annotations

from sample_world import (
    AILMENTS,
    COLOURS,
    MACHINES,
    PLACES,
    PLANTS,
    POWERS,
    SEASONS,
    SOURCES,
    TOWNS,
    USES,
    Dice,
    capital,
)

Files = dict[str, str]
Topic = tuple[str, str, str]

# What can be asked about each kind of thing; a set of topics has one way to ask.
_TOWN_ASPECTS = (
    "flood control", "ferry service", "school history", "market rules", "water supply",
    "street names", "bridge repair", "harbour trade", "fire brigade", "library opening",
)  # fmt: skip
_MACHINE_ASPECTS = (
    "failures", "repair", "invention", "noise", "costs", "transport", "inspection", "storage", "cleaning",
)  # fmt: skip
_PLANT_ASPECTS = ("harvest", "trade", "diseases", "cultivation", "price", "export", "protection")
_TOWN_TOPIC = (
    "{x} {a}",
    "What is known about the {a} in {x}?",
    "Relevant documents describe the {a} in {x}. Documents about other towns are not relevant.",
)
_MACHINE_TOPIC = (
    "{x} {a}",
    "Find reports about the {a} of the {x}.",
    "A relevant document describes the {a} of the {x} in detail. Advertisements are not relevant.",
)
_COVID_TOPICS = (
    ("coronavirus origin {x}", "how did the coronavirus come to {x}",
     "seeking information about how COVID-19 reached {x}, including the first cases and where they had been"),
    ("coronavirus symptoms {x}", "which symptoms of COVID-19 do people in {x} have",
     "seeking information about the symptoms of COVID-19 patients in {x}, including mild and severe ones"),
    ("coronavirus treatment {x}", "how are COVID-19 patients treated in {x}",
     "seeking information about treatments that people with COVID-19 get in {x}, at home and in hospital"),
    ("how coronavirus spreads in {x}", "how does the coronavirus spread from one person to another in {x}",
     "seeking information about how COVID-19 spreads in {x}, including at markets, on ferries and at school"),
    ("coronavirus children {x}", "how dangerous is COVID-19 for children in {x}",
     "seeking information about how COVID-19 affects children in {x}, including how long it lasts"),
)  # fmt: skip
_PLANT_TOPIC = (
    "{x} {a}",
    "Information about the {a} of {x}",
    "Relevant documents should contain information about the {a} of {x}. Recipes are not relevant.",
)


def _kinds(topic: Topic, aspects: tuple[str, ...]) -> tuple[Topic, ...]:
    title, description, narrative = topic
    return tuple(
        (title.replace("{a}", aspect), description.replace("{a}", aspect), narrative.replace("{a}", aspect))
        for aspect in aspects
    )


def _topics(names: list[str], kinds: tuple[Topic, ...], seed: str, count: int) -> list[Topic]:
    every = [(name, kind) for name in names for kind in kinds]
    topics = []
    for name, kind in Dice(seed).shuffled(every)[:count]:
        title, description, narrative = (text.replace("{x}", name) for text in kind)
        topics.append((capital(title), description, narrative))
    return topics


def _wrap(text: str, width: int = 64) -> str:
    """Hard line breaks, as the official files have them."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n".join([*lines, line])


def _trec(number: int, topic: Topic, *, below: bool = False, labels: bool = True) -> str:
    """One TREC topic: fields are not closed; the title may stand below its tag, labels may be missing."""
    title, description, narrative = topic
    description_label, narrative_label = (" Description:", " Narrative:") if labels else ("", "")
    return (
        f"<top>\n<num> Number: {number}\n\n<title>{chr(10) if below else ' '}{title}\n\n"
        f"<desc>{description_label}\n{_wrap(description)}\n\n"
        f"<narr>{narrative_label}\n{_wrap(narrative)}\n\n</top>\n"
    )


def topic_files() -> Files:
    """gov2 (three files), trec_robust04 (the second file repeats topics of the first), trec_covid, fire."""
    files: Files = {}
    gov2 = _topics([town.name for town in TOWNS], _kinds(_TOWN_TOPIC, _TOWN_ASPECTS), "gov2", 150)
    for part, (name, first) in enumerate(
        (("04topics.701-750", 701), ("05.topics.751-800", 751), ("06.topics.801-850", 801))
    ):
        chosen = gov2[part * 50 : part * 50 + 50]
        files[f"gov2/{name}.txt"] = "\n".join(_trec(first + i, topic) for i, topic in enumerate(chosen))

    machines = [machine.name for machine in MACHINES]
    robust = _topics(machines, _kinds(_MACHINE_TOPIC, _MACHINE_ASPECTS), "robust", 100)
    written = [
        _trec(301 + i, topic) if i < 70 else _trec(581 + i, topic, below=True, labels=i % 2 == 0)
        for i, topic in enumerate(robust)
    ]
    files["trec_robust04/topics.robust04.txt"] = "\n".join(written)
    files["trec_robust04/topics.robust05.txt"] = "\n".join(written[::5])

    covid = _topics([town.name for town in TOWNS[:10]], _COVID_TOPICS, "covid", 50)
    body = "".join(
        f'  <topic number="{number}">\n    <query>{title[:1].lower() + title[1:]}</query>\n'
        f"    <question>{description}</question>\n"
        f"    <narrative>{narrative}</narrative>\n  </topic>\n"
        for number, (title, description, narrative) in enumerate(covid, start=1)
    )
    xml = f'<topics task="sample" batch="5">\n{body}</topics>\n'
    files["trec_covid/topics-rnd5.xml"] = xml.replace("\n", "\r\n")

    plants = [plant.name for plant in PLANTS]
    fire = _topics(plants, _kinds(_PLANT_TOPIC, _PLANT_ASPECTS), "fire", 100)
    spread = "".join(
        f"<top lang='en'>\n<num>{76 + i}</num>\n<title>\n{_wrap(title, 12)}\n</title>\n"
        f"<desc>\n{_wrap(desc)}\n</desc>\n"
        f"<narr>\n{_wrap(narr)}\n</narr>\n</top>\n\n"
        for i, (title, desc, narr) in enumerate(fire[:50])
    )
    flat = "".join(
        f"<top lang='en'>\n<num>{176 + i}</num>\n<title>{title}</title>\n<desc>{desc}</desc>\n"
        f"<narr>{narr}</narr>\n</top>\n\n"
        for i, (title, desc, narr) in enumerate(fire[50:])
    )
    files["fire/en.topics.76-125.2010.txt"] = f"<topics>\n\n{spread}</topics>\n"
    files["fire/en.topics.176-225.2012.txt"] = f"<topics>\n\n{flat}</topics>\n"
    return files


# Each intent has three or four ways to be put, and their words occur with other intents, too.
_INTENTS = {
    "Factual": (
        "what is the colour of {plant}", "what is the name of the river in {town}", "where does {plant} grow",
        "where do people use a {machine}", "meaning of {ailment}", "meaning of {town}", "{town} travel guide",
    ),
    "Instrumental": (
        "how to grow {plant}", "how to repair a {machine}", "cleaning a {machine} step by step",
        "making {plant} soap step by step", "{machine} user guide", "{ailment} treatment guide",
        "choosing an inn in {town}",
    ),
    "Transactional": (
        "buy {plant} seeds", "where to buy a {machine}", "{machine} for sale", "{plant} soap for sale",
        "order a map of {town}", "order ferry tickets to {town}",
    ),
    "Navigational": (
        "{town} town hall website", "{machine} manufacturer website", "{town} library login",
        "{plant} forum login", "home page of the {town} museum", "{town} news home page",
    ),
    "Abstain": (
        "{plant}", "{machine}", "{town} {plant}", "{machine} of {town}", "what about {plant}",
        "what about the {machine}",
    ),
}  # fmt: skip
_INTENT_COUNTS = {"Factual": 86, "Instrumental": 80, "Transactional": 80, "Navigational": 80, "Abstain": 90}


def _filled(pattern: str, dice: Dice) -> str:
    return pattern.format(
        plant=dice.pick(PLANTS).name,
        machine=dice.pick(MACHINES).name,
        town=dice.pick(TOWNS).name.lower(),
        ailment=dice.pick(AILMENTS).name,
    )


def orcas_i() -> Files:
    """Gold file: the intent follows from the query as a whole; a bare name has none (Abstain)."""
    dice, seen, rows = Dice("orcas"), set(), []
    for label, count in _INTENT_COUNTS.items():
        found = 0
        for attempt in range(count * 40):
            query = _filled(_INTENTS[label][attempt % len(_INTENTS[label])], dice)
            if query not in seen and found < count:
                seen.add(query)
                found += 1
                rows.append((query, label))
    lines = [
        f"{9000001 + i}\t{query}\tD{100 + i}\thttps://example.org/{i}\t{label}"
        for i, (query, label) in enumerate(dice.shuffled(rows))
    ]
    return {"orcas_i/ORCAS-I-gold.tsv": "\n".join(["qid\tquery\tdid\turl\tlabel_manual", *lines]) + "\n"}


# query pattern -> good options (label 2) and the ones judged fair or bad (1, 0)
_PANES = (
    ("{plant} plant", ("growing", "uses", "pictures"), ("history",)),
    ("{plant} plant {town}", ("growing", "uses", "pictures"), ()),
    ("{machine} machine", ("manual", "repair", "price"), ("noise",)),
    ("{machine} machine {town}", ("manual", "repair", "price"), ()),
    ("{ailment} illness", ("symptoms", "treatment", "causes"), ()),
    ("{ailment} illness {town}", ("symptoms", "treatment", "causes"), ("rumours",)),
    ("{town} ferry", ("timetable", "tickets", "harbour"), ("crew",)),
    ("{town} museum", ("opening hours", "guided tours"), ("building",)),
    ("{plant} soap", ("recipe", "shops"), ("colour", "smell")),
)  # fmt: skip


def mimics() -> Files:
    """Panes whose good options follow from the kind of query; some panes have no good option at all."""
    dice = Dice("mimics")
    rows: list[str] = []
    seen: set[str] = set()
    for attempt in range(900):
        pattern, good, poor = _PANES[attempt % len(_PANES)]
        query = _filled(pattern, dice)
        if query in seen:
            continue
        seen.add(query)
        options = [(option, "2") for option in good] + [(option, dice.pick("01")) for option in poor]
        if poor and dice.chance(0.05):
            options = [(option, "1") for option in poor]
        options += [("", "")] * (5 - len(options))
        question = dice.pick(
            ("Select one to refine your search", f"What would you like to know about {query}?")
        )
        cells = [
            query,
            question,
            *(option for option, _ in options),
            "1",
            "2",
            *(label for _, label in options),
        ]
        rows.append("\t".join(cells))
    header = [
        "query", "question", *(f"option_{i}" for i in range(1, 6)), "question_label", "options_overall_label",
        *(f"option_label_{i}" for i in range(1, 6)),
    ]  # fmt: skip
    return {"mimics/MIMICS-Manual.tsv": "\n".join(["\t".join(header), *rows]) + "\n"}


# what is told -> (sentence, the same said differently); {v} is the value that the two may state differently.
_PAIRS = {
    "power": ("The {machine} of {town} is driven by {v}.", "In {town}, {v} drives the {machine}."),
    "place": ("{Plant} grows in the {v} near {town}.", "You can find {plant} in the {v} around {town}."),
    "season": ("The fair of {town} is held in {v}.", "Every {v}, {town} holds its fair."),
    "use": ("People in {town} use {plant} to make {v}.", "In {town}, {v} is made from {plant}."),
    "colour": ("The flag of {town} is {v}.", "{town} has a {v} flag."),
    "source": ("Doctors in {town} say that {ailment} comes from {v}.",
               "According to doctors in {town}, {v} can cause {ailment}."),
}  # fmt: skip
_VALUES = {
    "power": POWERS, "place": PLACES, "season": SEASONS, "use": USES, "colour": COLOURS, "source": SOURCES,
}  # fmt: skip


def msrp() -> Files:
    """Sentence pairs with byte order mark, CRLF and unbalanced quotes; train 400, test 100.

    Two sentences that do not match state different values, or different things about the same town. All of
    them occur in pairs of both kinds, so only a comparison tells.
    """
    dice = Dice("msrp")
    rows: list[str] = []
    seen: set[tuple[str, str]] = set()
    while len(rows) < 500:
        town, plant = dice.pick(TOWNS), dice.pick(PLANTS)
        machine, ailment = dice.pick(MACHINES), dice.pick(AILMENTS)
        words = {
            "town": town.name, "plant": plant.name, "Plant": capital(plant.name), "machine": machine.name,
            "ailment": ailment.name,
        }  # fmt: skip
        told = {
            "power": machine.power, "place": plant.place, "season": town.fair, "use": plant.use,
            "colour": town.flag, "source": ailment.source,
        }  # fmt: skip
        kind = dice.pick(list(_PAIRS))
        answer = dice.chance(0.55)
        other_kind, value = kind, told[kind]
        if not answer and dice.chance(0.5):
            other_kind = dice.pick([name for name in _PAIRS if name != kind])
            value = told[other_kind]
        elif not answer:
            value = dice.pick([item for item in _VALUES[kind] if item != value])
        stated = (
            _PAIRS[kind][0].format(v=told[kind], **words),
            _PAIRS[other_kind][1].format(v=value, **words),
        )
        # The false value is in either sentence, so that no sentence is more often false.
        if not answer and other_kind == kind and dice.chance(0.5):
            stated = (_PAIRS[kind][0].format(v=value, **words), _PAIRS[kind][1].format(v=told[kind], **words))
        pair = (capital(stated[0]), capital(stated[1]))
        if pair in seen:
            continue
        seen.add(pair)
        if dice.chance(0.3):
            pair = (pair[1], pair[0])
        quoted = [
            text.replace(machine.name, f'"{machine.name}"', 1) if dice.chance(0.05) else text for text in pair
        ]
        if dice.chance(0.02):
            quoted[0] = f'"{quoted[0]}'
        rows.append(f"{int(answer)}\t{2 * len(rows) + 1}\t{2 * len(rows) + 2}\t{quoted[0]}\t{quoted[1]}")
    header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"
    return {
        f"msrp/msr_paraphrase_{name}.txt": "\ufeff" + "\r\n".join([header, *part]) + "\r\n"
        for name, part in (("train", rows[:400]), ("test", rows[400:]))
    }
