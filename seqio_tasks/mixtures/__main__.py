"""`python -m seqio_tasks.mixtures` lists all mixtures; with a name: its tasks, rates, and what is missing.

With --published: the table of the mixture for full official files, from the numbers of rows in the catalog.
"""

from __future__ import annotations

import argparse
import sys

from seqio_tasks import mixtures, named_tasks, own_data, settings
from seqio_tasks.base import nearest
from seqio_tasks.catalog import GROUPS
from seqio_tasks.expected_errors import one_line

# Examples of each group among the 200,000 of the paper, in thousands: from the last steps of the authors'
# checkpoints with and without a group. Shares of single pairs are not known.
PAPER_EXAMPLES = {"query_understanding": 64, "document_understanding": 70, "query_document": 64}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m seqio_tasks.mixtures", description=__doc__)
    parser.add_argument("name", nargs="?", help="a mixture; without it all are listed")
    parser.add_argument("--split", help="default: the one that the mixture is meant for")
    parser.add_argument("--raw_dir", help="default: INTERS_RAW_DIR, else the packaged sample")
    parser.add_argument(
        "--published", action="store_true", help="rows, renderings, rates and shares as a Markdown table"
    )
    own_data.add_argument(parser)
    options = parser.parse_args(arguments)
    with one_line("mixtures"):
        own_data.register(options.datasets)
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
    if options.published:
        if recipe.split != "train":
            print(f"{options.name} is for evaluation and has no training rows", file=sys.stderr)
            return 2
        print(published(options.name))
        return 0
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


def published(name: str) -> str:
    """The rows, renderings, rates and shares of a training mixture with all official files, as Markdown.

    Every pair has a row, and every group one with its sums; for `inters` these are beside the paper's.
    """
    recipe = mixtures.recipes()[name]
    rates = {task: recipe.published_rate(task) for task in recipe.tasks}
    total = sum(rates.values())
    lines = ["| pair | rows | renderings | rate | share | paper |", "|---|---:|---:|---:|---:|---:|"]
    for group in GROUPS:
        own = [task for task in recipe.tasks if named_tasks.find(task)[0].group == group]
        if not own:
            continue
        for task in own:
            pair, form = named_tasks.find(task)
            rows = pair.counts.get("train")
            renderings = form.renderings(pair, "train") if recipe.renderings else 1.0
            cells = (
                task.removeprefix("inters_"),
                "?" if rows is None else f"{rows:,}",
                f"{renderings:g}",
                f"{rates[task]:,.0f}",
                f"{rates[task] / total:.2%}",
                "",
            )
            lines.append(f"| {' | '.join(cells)} |")
        rate = sum(rates[task] for task in own)
        paper = (
            f"about {PAPER_EXAMPLES[group] / sum(PAPER_EXAMPLES.values()):.0%}" if name == "inters" else ""
        )
        title = group.replace("_", " ")
        lines.append(f"| **{title}** | | | **{rate:,.0f}** | **{rate / total:.1%}** | {paper} |")
    lines.append(f"| **all, {recipe.epoch():,} of them in an epoch** | | | **{total:,.0f}** | **100%** | |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
