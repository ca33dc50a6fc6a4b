"""Query understanding sets of the sample in their official formats: topics, intents, panes, pairs."""

from __future__ import annotations

from sample_world import AILMENTS, MACHINES, PLANTS, TOWNS, Dice, capital

Files = dict[str, str]
Topic = tuple[str, str, str]

# (title, description, narrative); {x} is the town, plant, machine or ailment.
_TOWN_TOPICS = (
    ("{x} flood control", "How does {x} protect its streets from floods?",
     "Relevant documents describe dams or pumps that protect {x} from floods. "
     "Reports about rain alone are not relevant."),
    ("{x} ferry service", "Which ferries run in {x}?",
     "Relevant documents name the ferries of {x} and their routes. Advertisements are not relevant."),
    ("{x} school history", "How old are the schools of {x}?",
     "Relevant documents tell when a school in {x} was founded. Lists of pupils are not relevant."),
    ("{x} market rules", "What are the rules of the market in {x}?",
     "Relevant documents explain who may sell goods in {x}. Price lists are not relevant."),
)  # fmt: skip
_MACHINE_TOPICS = (
    ("{x} accidents", "Identify accidents with a {x}.",
     "A relevant document reports an accident with a {x} and its cause. "
     "Plans for a safer {x} are not relevant."),
    ("{x} repair", "What is known about the repair of a {x}?",
     "A relevant document explains how a broken {x} is repaired. Sales of a new {x} are not relevant."),
    ("invention of the {x}", "Who invented the {x}, and when?",
     "A relevant document tells who built the first {x}. Later models of the {x} are not relevant."),
    ("{x} noise", "How loud is a {x}?",
     "A relevant document measures the noise of a {x}. Complaints alone are not relevant."),
    ("{x} costs", "How much does a {x} cost?",
     "A relevant document gives the price of a {x}. Loans and taxes are not relevant."),
)  # fmt: skip
_AILMENT_TOPICS = (
    ("{x} origin", "what is the origin of {x}",
     "seeking information about the origin of {x}, including its first cases and its source"),
    ("{x} symptoms", "what are the symptoms of {x}",
     "looking for the symptoms of {x}, including mild and severe ones"),
    ("{x} treatment", "which treatments help against {x}",
     "seeking studies of treatments that help people with {x}, including teas and salves"),
    ("how {x} spreads", "how does {x} spread from one person to another",
     "looking for evidence of how {x} spreads, including through water, air and touch"),
    ("{x} in children", "how dangerous is {x} for children",
     "seeking information about how {x} affects children, including how long it lasts"),
)  # fmt: skip
_PLANT_TOPICS = (
    ("{x} harvest", "Information about the harvest of {x}",
     "Relevant documents should tell how much {x} was harvested and where. Recipes are not relevant."),
    ("{x} trade", "Information about the trade in {x}",
     "Relevant documents should tell who buys and sells {x}. Articles about gardens are not relevant."),
    ("{x} disease", "Diseases that harm {x}",
     "Relevant documents should describe a disease of {x} and its spread. "
     "Articles about insects are not relevant."),
    ("{x} festival", "Festivals that celebrate {x}",
     "Relevant documents should describe a festival of {x} and its date. Songs are not relevant."),
)  # fmt: skip


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
    gov2 = _topics([town.name for town in TOWNS], _TOWN_TOPICS, "gov2", 60)
    for part, (name, first) in enumerate(
        (("04topics.701-750", 701), ("05.topics.751-800", 751), ("06.topics.801-850", 801))
    ):
        chosen = gov2[part * 20 : part * 20 + 20]
        files[f"gov2/{name}.txt"] = "\n".join(_trec(first + i, topic) for i, topic in enumerate(chosen))

    robust = _topics([machine.name for machine in MACHINES], _MACHINE_TOPICS, "robust", 60)
    written = [
        _trec(301 + i, topic) if i < 40 else _trec(611 + i, topic, below=True, labels=i % 2 == 0)
        for i, topic in enumerate(robust)
    ]
    files["trec_robust04/topics.robust04.txt"] = "\n".join(written)
    files["trec_robust04/topics.robust05.txt"] = "\n".join(written[::6])

    covid = _topics([ailment.name for ailment in AILMENTS], _AILMENT_TOPICS, "covid", 50)
    body = "".join(
        f'  <topic number="{number}">\n    <query>{title[:1].lower() + title[1:]}</query>\n'
        f"    <question>{description}</question>\n"
        f"    <narrative>{narrative}</narrative>\n  </topic>\n"
        for number, (title, description, narrative) in enumerate(covid, start=1)
    )
    xml = f'<topics task="sample" batch="5">\n{body}</topics>\n'
    files["trec_covid/topics-rnd5.xml"] = xml.replace("\n", "\r\n")

    fire = _topics([plant.name for plant in PLANTS], _PLANT_TOPICS, "fire", 60)
    spread = "".join(
        f"<top lang='en'>\n<num>{76 + i}</num>\n<title>\n{_wrap(title, 12)}\n</title>\n"
        f"<desc>\n{_wrap(desc)}\n</desc>\n"
        f"<narr>\n{_wrap(narr)}\n</narr>\n</top>\n\n"
        for i, (title, desc, narr) in enumerate(fire[:30])
    )
    flat = "".join(
        f"<top lang='en'>\n<num>{176 + i}</num>\n<title>{title}</title>\n<desc>{desc}</desc>\n"
        f"<narr>{narr}</narr>\n</top>\n\n"
        for i, (title, desc, narr) in enumerate(fire[30:])
    )
    files["fire/en.topics.76-125.2010.txt"] = f"<topics>\n\n{spread}</topics>\n"
    files["fire/en.topics.176-225.2012.txt"] = f"<topics>\n\n{flat}</topics>\n"
    return files


_INTENTS = {
    "Factual": (
        "what colour is {plant}", "what is {ailment}", "what drives a {machine}", "what is {town} known for",
        "when does {plant} bloom", "when is the fair in {town}",
    ),
    "Instrumental": (
        "how to grow {plant}", "how to repair a {machine}", "how to treat {ailment}",
        "how to make {plant} soap",
        "how to clean a {machine}", "how to reach {town}",
    ),
    "Transactional": (
        "buy {plant} seeds", "buy a {machine}", "order {plant} soap", "buy ferry tickets {town}",
        "order map of {town}", "order parts of a {machine}",
    ),
    "Navigational": (
        "{town} town hall website", "{town} library login", "{town} museum website",
        "{machine} makers website",
        "{town} school login", "{town} news website",
    ),
    "Abstain": (
        "{plant}", "{machine}", "{town}", "{ailment}", "{town} {plant}", "{plant} {town}", "{town} {machine}",
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
    ("{plant}", ("growing", "uses", "pictures"), ("history",)),
    ("{plant} soap", ("recipe", "price"), ("colour", "smell")),
    ("{plant} in {town}", ("where it grows", "guided walks"), ()),
    ("{machine}", ("manual", "repair", "price"), ("noise",)),
    ("{machine} {town}", ("workshops", "rental"), ("jobs",)),
    ("{town}", ("map", "hotels", "weather"), ()),
    ("{town} ferry", ("timetable", "tickets", "harbour"), ("crew",)),
    ("{town} museum", ("opening hours", "tickets", "exhibitions"), ()),
    ("{town} market", ("opening days", "stalls", "parking"), ("rules",)),
    ("{ailment}", ("symptoms", "treatment", "causes"), ()),
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
    ("The {machine} of {town} is driven by {power}.", "In {town}, {power} drives the {machine}.",
     "The {machine} of {town} is not in use."),
    ("{Plant} grows in the {place} near {town}.", "In the {place} near {town} you can find {plant}.",
     "{Plant} does not grow near {town}."),
    ("The fair of {town} is held in {season}.", "Every {season}, {town} holds its fair.",
     "The people of {town} do not like their fair."),
    ("People in {town} use {plant} to make {use}.", "{Use} is made from {plant} in {town}.",
     "People in {town} do not use {plant}."),
    ("The flag of {town} is {colour}.", "{town} has a {colour} flag.", "The flag of {town} is not very old."),
    ("Doctors in {town} say that {ailment} comes from {source}.",
     "{Source} causes {ailment}, say doctors in {town}.",
     "Doctors in {town} do not know what causes {ailment}."),
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
            "Plant": capital(plant.name), "place": plant.place, "use": plant.use, "Use": capital(plant.use),
            "machine": machine.name, "power": machine.power, "ailment": ailment.name,
            "source": ailment.source, "Source": capital(ailment.source),
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
