"""The invented world behind the packaged sample: names, facts about them, and a repeatable dice.

Nothing here exists. Every text of the sample speaks about the same sixteen towns, sixteen plants, twelve
machines and ten ailments, and a fact that is stated is the fact of this module: a small model can learn it in
minutes, and an answer can be checked by hand. A fact is denied only where a task needs a statement that does
not agree with another one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")


class Dice:
    """Picks by name and seed. Only ``random.random`` is used: its sequence is fixed across Python versions.

    >>> Dice("demo").pick("abc") == Dice("demo").pick("abc")
    True
    """

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def number(self, below: int) -> int:
        return int(self._random.random() * below)

    def pick(self, items: Sequence[Item]) -> Item:
        return items[self.number(len(items))]

    def chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        keys = [self._random.random() for _ in items]
        return [items[index] for index in sorted(range(len(items)), key=keys.__getitem__)]


class Town(NamedTuple):
    name: str
    river: str
    craft: str
    flag: str
    fair: str


class Plant(NamedTuple):
    name: str
    colour: str
    place: str
    season: str
    use: str


class Machine(NamedTuple):
    name: str
    power: str
    product: str
    town: str


class Ailment(NamedTuple):
    name: str
    sign: str
    source: str
    cure: str


COLOURS = ("red", "white", "blue", "yellow")
SEASONS = ("spring", "summer", "autumn", "winter")
POWERS = ("wind", "water", "steam")

_TOWNS = (
    "Ostrelby", "Quellmoor", "Brindlewick", "Tarnhollow", "Velloway", "Hazelmarsh", "Corvendale", "Lumenford",
    "Grindlebay", "Nettlecross", "Saltmere", "Fernhaven", "Oakvesper", "Windrowe", "Marrowfen", "Kestrelgate",
)  # fmt: skip
_RIVERS = ("Ambel", "Dorrin", "Eskwater", "Lisk")
_CRAFTS = ("glass", "rope", "paper", "pottery")
_PLANTS = (
    "lamp moss", "bell reed", "silver fern", "honey sedge", "frost clover", "drum gourd",
    "sand lily", "thread nettle", "copper thyme", "ribbon grass", "cloud bean", "marsh pepper",
    "stone mint", "velvet root", "lantern berry", "salt vine",
)  # fmt: skip
PLACES = ("marshes", "dunes", "ditches", "meadows")
USES = ("dye", "tea", "rope", "soap")
_MACHINES = (
    "tide pump", "wool comb", "grain sorter", "lime kiln", "cable ferry", "hand press",
    "clay mixer", "turf cutter", "seed drill", "bark mill", "net winder", "brick oven",
)  # fmt: skip
_PRODUCTS = ("flour", "cloth", "bricks", "paint")
_AILMENTS = (
    "river fever", "salt cough", "moss rash", "miller's sneeze", "dune ache",
    "lamp eye", "harbour chill", "bell ear", "frost cramp", "kiln throat",
)  # fmt: skip
_SIGNS = ("a dry cough", "red skin", "a high fever", "tired eyes")
SOURCES = ("dirty water", "wood smoke", "insect bites")

TOWNS = tuple(
    Town(name, _RIVERS[i % 4], _CRAFTS[i // 4 % 4], COLOURS[(i + i // 4) % 4], SEASONS[(i * 3 + i // 8) % 4])
    for i, name in enumerate(_TOWNS)
)
PLANTS = tuple(
    Plant(name, COLOURS[i * 3 % 4], PLACES[i // 4 % 4], SEASONS[(i + i // 4) % 4], USES[(i + i // 8) % 4])
    for i, name in enumerate(_PLANTS)
)
MACHINES = tuple(
    Machine(name, POWERS[i % 3], _PRODUCTS[i // 3 % 4], _TOWNS[i * 5 % 16])
    for i, name in enumerate(_MACHINES)
)
AILMENTS = tuple(
    Ailment(name, _SIGNS[i % 4], SOURCES[i % 3], _PLANTS[i * 3 % 16]) for i, name in enumerate(_AILMENTS)
)


def capital(text: str) -> str:
    """First letter upper case, the rest as it is.

    >>> capital("lamp moss")
    'Lamp moss'
    """
    return text[:1].upper() + text[1:]
