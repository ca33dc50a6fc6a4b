"""What `prepare` prints about the token store it wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from inters_jax.reports.tables import Table


def text(manifest: Mapping[str, Any]) -> str:
    """Examples and tokens by task, and every reason for which rows were left out or noted."""
    reasons = [f"{reason}: {count:,}" for reason, count in sorted(_reasons(manifest).items())]
    absent = [f"without data: {task}: {reason}" for task, reason in manifest["without_data"].items()]
    epoch = f"an epoch has {manifest['epoch_examples']:,} examples"
    return "\n".join([table(manifest).text(), *reasons, *absent, epoch])


def table(manifest: Mapping[str, Any]) -> Table:
    """A row per task over all of its passes, and their sum."""
    header = ["task", "rate", "passes", "rows", "kept", "dropped", "shortened", "tokens", "targets"]
    rows, rate, totals = [], 0.0, [0] * 6
    for task, entry in manifest["tasks"].items():
        passes = entry["passes"]
        numbers = [
            sum(one["rows"] for one in passes),
            sum(one["kept"] for one in passes),
            sum(sum(one["dropped"].values()) for one in passes),
            sum(one["shortened"] for one in passes),
            sum(one["tokens"] for one in passes),
            sum(one["target_tokens"] for one in passes),
        ]
        rate, totals = rate + entry["rate"], [a + b for a, b in zip(totals, numbers, strict=True)]
        rows.append([task, f"{entry['rate']:,.5g}", str(len(passes)), *(f"{n:,}" for n in numbers)])
    rows.append(["all", f"{rate:,.5g}", "", *(f"{n:,}" for n in totals)])
    return Table("", header, rows)


def _reasons(manifest: Mapping[str, Any]) -> Counter[str]:
    """Counts of dropped rows and of notes, by reason and task."""
    found: Counter[str] = Counter()
    for task, entry in manifest["tasks"].items():
        for one in entry["passes"]:
            found.update({f"dropped, {reason}: {task}": n for reason, n in one["dropped"].items()})
            found.update({f"{note}: {task}": n for note, n in one["notes"].items()})
    return found
