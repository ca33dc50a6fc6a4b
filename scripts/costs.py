"""What reranking and training at scale need: hosts, hours, storage, network, by formulas (docs/costs.md).

    python scripts/costs.py                          the tables of docs/costs.md
    python scripts/costs.py --utilisation 0.2        with another share of the peak
    python scripts/costs.py --pair_tokens 445        pairs of another length

Nothing is measured or compiled here. Devices are those of `inters_jax.planning.devices`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from inters_jax.planning.devices import DEVICES, Device
from inters_jax.reports.tables import Table, markdown

HOUR, GB = 3600.0, 1e9
# Bytes per pair: a line of a TREC run, and the scores and order of a candidate in scores.jsonl.
RUN_BYTES, SCORE_BYTES = 60, 25
# Bytes per parameter: weights to score with, and a checkpoint (float32 parameters and two moments).
WEIGHT_BYTES, CHECKPOINT_BYTES = 2, 12
# Bytes per parameter that each device sends in a step of fsdp: bfloat16 weights are gathered forward and
# backward, float32 gradients are reduced.
STEP_BYTES = 2 + 2 + 4


@dataclass(frozen=True)
class Model:
    """A model by its parameters, and what it runs on: (device, devices of a host)."""

    name: str
    parameters: float
    hosts: tuple[tuple[str, int], ...]


MODELS = (
    Model("135M", 135e6, (("v5e", 8), ("h100", 8))),
    Model("7B", 7.24e9, (("v5e", 8), ("v6e", 8), ("h100", 8), ("h200", 8))),
    Model("70B", 69e9, (("v6e", 8), ("h100", 8), ("h200", 8))),
)


def speed(model: Model, device: Device, count: int, utilisation: float, per_token: int) -> float:
    """Tokens per second: utilisation x peak x devices / (per_token x parameters)."""
    return utilisation * device.peak_flops * count / (per_token * model.parameters)


def reranking_table(pairs: float, options: argparse.Namespace) -> Table:
    """Hours of one host, hosts for a day, and storage, for a number of pairs."""
    rows: list[list[str]] = []
    for model in MODELS:
        for name, count in model.hosts:
            device = DEVICES[name]
            if model.parameters * WEIGHT_BYTES > 0.8 * device.memory * count:
                rows.append([model.name, f"{count} x {name}", "does not fit", "", ""])
                continue
            rate = speed(model, device, count, options.utilisation, 2) / options.pair_tokens
            hours = pairs / rate / HOUR
            rows.append(
                [model.name, f"{count} x {name}", f"{rate:,.0f}", f"{hours:,.2f}", f"{hours / 24:,.2f}"]
            )
    notes = [
        f"Written: {pairs * (RUN_BYTES + SCORE_BYTES) / GB:,.1f} GB of runs and scores. Read: the texts of "
        "the candidates; between hosts nothing is sent (`SHARD`)."
    ]
    header = ["model", "host", "pairs/s", "hours of one host", "hosts for one day"]
    return Table(f"{pairs:,.0f} pairs", header, rows, notes, align="llrrr")


def training_table(options: argparse.Namespace) -> Table:
    """Hours, storage and network of one epoch of the mixture."""
    tokens = options.examples * options.example_tokens
    steps = tokens / options.batch_tokens
    rows: list[list[str]] = []
    for model in MODELS[1:]:
        for name, _ in model.hosts:
            device, needed = DEVICES[name], 16 * model.parameters
            count = 8
            while needed > 0.6 * device.memory * count:
                count *= 2
            rate = speed(model, device, count, options.utilisation, 6)
            moved = STEP_BYTES * model.parameters * steps / GB / 1000
            rows.append(
                [
                    model.name, f"{count} x {name}", f"{rate:,.0f}", f"{tokens / rate / HOUR:,.1f}",
                    f"{model.parameters * CHECKPOINT_BYTES / GB:,.0f}", f"{moved:,.0f}",
                ]
            )  # fmt: skip
    notes = [
        f"{options.examples:,} examples of {options.example_tokens} tokens, {tokens / 1e6:,.0f} M tokens, "
        f"{steps:,.0f} steps of {options.batch_tokens:,} tokens. The token store: {tokens * 2 / GB:,.2f} GB."
    ]
    header = ["model", "devices", "tokens/s", "hours", "checkpoint, GB", "sent per device, TB"]
    return Table("One epoch of the mixture", header, rows, notes, align="llrrrr")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--utilisation", type=float, default=0.35, help="share of the peak that is reached; default 0.35")
    add("--pair_tokens", type=int, default=173, help="tokens of a prompt; default: MS MARCO passages")
    add("--examples", type=int, default=200_000, help="of an epoch of training")
    add("--example_tokens", type=int, default=450, help="tokens of a training example")
    add("--batch_tokens", type=int, default=65_536, help="tokens of a step of training")
    options = parser.parse_args(arguments)
    if not 0 < options.utilisation <= 1:
        parser.error("--utilisation must be above 0 and at most 1")
    parts = [reranking_table(1e6, options), reranking_table(1e9, options), training_table(options)]
    print(markdown("Costs", parts), end="")


if __name__ == "__main__":
    main()
