"""`python -m seqio_tasks.mixtures` lists all mixtures; with a name: its tasks, rates, and what is missing."""

from __future__ import annotations

import argparse
import sys

from seqio_tasks import mixtures, settings
from seqio_tasks.base import nearest


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m seqio_tasks.mixtures", description=__doc__)
    parser.add_argument("name", nargs="?", help="a mixture; without it all are listed")
    parser.add_argument("--split", help="default: the one that the mixture is meant for")
    parser.add_argument("--raw_dir", help="default: INTERS_RAW_DIR, else the packaged sample")
    options = parser.parse_args(arguments)
    recipes = mixtures.recipes()
    if options.name is None:
        width = max(map(len, recipes))
        for name, recipe in recipes.items():
            print(f"{name:{width}}  {len(recipe.tasks):3} tasks  {recipe.split:5}  {recipe.about}")
        return 0
    if options.name not in recipes:
        print(f"no mixture is named {options.name}{nearest(options.name, recipes, most=1)}", file=sys.stderr)
        return 2
    recipe = recipes[options.name]
    changes = {"raw_dir": options.raw_dir} if options.raw_dir else {}
    with settings.override(**changes):
        found = mixtures.members(options.name, options.split or recipe.split)
    width = max(map(len, recipe.tasks))
    for name, rate in found.available:
        print(f"{name:{width}}  {rate:10,.0f}")
    print(f"{recipe.about}: {len(found.available)} tasks, {sum(r for _, r in found.available):,.0f} examples")
    for name, reason in found.missing:
        print(f"missing: {name}: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
