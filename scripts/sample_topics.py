"""Query understanding sets of the sample in their official formats: topics, intents, panes, pairs."""

from __future__ import annotations

from sample_world import AILMENTS, MACHINES, PLANTS, TOWNS, Dice, capital

Files = dict[str, str]
Topic = tuple[str, str, str]

# What can be asked about each kind of thing; a set of topics has one way to ask.
_TOWN_ASPECTS = (
    "flood control", "ferry service", "school history", "market rules", "water supply",
    "street names", "bridge repair", "harbour trade", "fire brigade", "library opening",
)  # fmt: skip
_MACHINE_ASPECTS = (
    "accidents", "repair", "invention", "noise", "costs", "transport", "inspection", "storage", "cleaning",
)  # fmt: skip
_PLANT_ASPECTS = ("harvest", "trade", "disease", "festival", "price", "export", "protection")
_TOWN_TOPIC = (
    "{x} {a}",
    "What is known about the {a} of {x}?",
    "Relevant documents describe the {a} of {x}. Documents about other towns are not relevant.",
)
_MACHINE_TOPIC = (
    "{x} {a}",
    "Find reports about the {a} of the {x}.",
    "A relevant document tells about the {a} of the {x} in detail. Advertisements are not relevant.",
)
_AILMENT_TOPICS = (
    ("{x} origin", "what is the origin of {x}",
     "seeking information about the origin of {x}, including its first cases and its source"),
    ("{x} symptoms", "what are the symptoms of {x}",
     "seeking information about the symptoms of {x}, including mild and severe ones"),
    ("{x} treatment", "which treatments help against {x}",
     "seeking information about treatments that help people with {x}, including teas and salves"),
    ("how {x} spreads", "how does {x} spread from one person to another",
     "seeking information about how {x} spreads, including through water, air and touch"),
    ("{x} in children", "how dangerous is {x} for children",
     "seeking information about how {x} affects children, including how long it lasts"),
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

    ailments = [ailment.name for ailment in AILMENTS]
    covid = _topics(ailments, _AILMENT_TOPICS, "covid", 50)
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


_INTENTS = {
    "Factual": (
        "what is the colour of {plant}", "what is the cause of {ailment}", "what is the use of a {machine}",
        "what is the craft of {town}", "what is the season of {plant}", "what is the river of {town}",
    ),
    "Instrumental": (
        "how to grow {plant} step by step", "how to repair a {machine} step by step",
        "how to treat {ailment} step by step", "how to make {plant} soap step by step",
        "how to clean a {machine} step by step", "how to reach {town} step by step",
    ),
    "Transactional": (
        "buy cheap {plant} seeds online", "buy cheap {machine} online", "buy cheap {plant} soap online",
        "buy cheap ferry tickets {town} online", "buy cheap map of {town} online",
        "buy cheap {machine} parts online",
    ),
    "Navigational": (
        "{town} town hall website home page", "{town} library website login page",
        "{town} museum website home page", "{machine} makers website home page",
        "{town} school website login page", "{town} news website home page",
    ),
    "Abstain": (
        "{plant}", "{machine}", "{town}", "{plant} and other things", "{machine} and other things",
        "{town} {plant} and other things", "{plant} {town} and other things", "{town} and other things",
    ),
}  # fmt: skip
_INTENT_COUNTS = {"Factual": 110, "Instrumental": 80, "Transactional": 80, "Navigational": 80, "Abstain": 90}


def _filled(pattern: str, dice: Dice) -> str:
    return pattern.format(
        plant=dice.pick(PLANTS).name,
        machine=dice.pick(MACHINES).name,
        town=dice.pick(TOWNS).name.lower(),
        ailment=dice.pick(AILMENTS).name,
    )


def orcas_i() -> Files:
    """Gold file: the intent can be read off the query words; a bare name has none (Abstain)."""
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


# (sentence, the same said differently, something else about the same thing)
_PAIRS = (
    ("The {machine} of {town} is driven by {power}.", "In other words, {power} drives that {machine}.",
     "Nobody knows whether the {machine} of {town} will be sold."),
    ("{Plant} grows in the {place} near {town}.", "In other words, you can find {plant} near {town}.",
     "Nobody knows whether {plant} will be rare near {town}."),
    ("The fair of {town} is held in {season}.", "In other words, {town} holds its fair in {season}.",
     "Nobody knows whether the fair of {town} will be large."),
    ("People in {town} use {plant} to make {use}.", "In other words, {plant} becomes {use} in {town}.",
     "Nobody knows whether {town} will sell {plant}."),
    ("The flag of {town} is {colour}.", "In other words, {town} has a {colour} flag.",
     "Nobody knows whether {town} will change its flag."),
    ("Doctors in {town} say that {ailment} comes from {source}.",
     "In other words, {source} causes {ailment}.",
     "Nobody knows whether {ailment} will reach {town}."),
)  # fmt: skip


def msrp() -> Files:
    """Sentence pairs with byte order mark, CRLF and unbalanced quotes; train 400, test 100."""
    dice = Dice("msrp")
    rows: list[str] = []
    seen: set[tuple[str, str]] = set()
    while len(rows) < 500:
        town, plant = dice.pick(TOWNS), dice.pick(PLANTS)
        machine, ailment = dice.pick(MACHINES), dice.pick(AILMENTS)
        words = {
            "town": town.name, "season": town.fair, "colour": town.flag, "plant": plant.name,
            "Plant": capital(plant.name), "place": plant.place, "use": plant.use,
            "machine": machine.name, "power": machine.power, "ailment": ailment.name,
            "source": ailment.source,
        }  # fmt: skip
        first, same, other = (text.format(**words) for text in dice.pick(_PAIRS))
        answer = dice.chance(0.55)
        pair = (first, same if answer else other)
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
