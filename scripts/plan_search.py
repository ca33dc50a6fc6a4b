"""Search of mesh, batch, remat and moments for a model on TPU slices, by compiling every candidate.

    python scripts/plan_search.py --topologies v5e-8,v4-32 --lengths 2048,4096 --output search.jsonl
    python scripts/plan_search.py --candidates chosen.txt --output search.jsonl

Candidates are ordered by the analytic estimate, or are the lines of a file such as

    v5e-8 {"moment_dtype": "bfloat16", "batch_size": 16, "microbatches": 2}
    v5e-1 {"lora": {"base_dtype": "nf4"}, "batch_size": 4, "microbatches": 4}

They are compiled one at a time. Each trial is a line of a JSON-lines file; trials that are there already
are not repeated, so the search can be stopped and started again. The last lines printed are the best trial
of each topology and length by its estimated utilisation.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inters_jax.mesh import MeshError
from inters_jax.models.lora.layers import LoRA
from inters_jax.plan import make_plan
from inters_jax.planning import analytic
from inters_jax.planning.devices import PlanError
from inters_jax.planning.plan import record
from inters_jax.planning.settings import Settings
from inters_jax.planning.shapes import shape_of
from inters_jax.planning.topologies import Topology, resolve


def candidates(settings: Settings, topology: Topology) -> Iterator[Settings]:
    """Settings whose estimate leaves hope that they fit."""
    count = topology.count
    meshes = ["fsdp=-1"]
    meshes += [
        f"fsdp={count // tensor},tensor={tensor}"
        for tensor in (2, 4)
        if count % tensor == 0 < count // tensor
    ]
    for mesh in meshes:
        for moments in ("float32", "bfloat16"):
            for remat in ("full", "dots"):
                for rows in (1, 2, 4, 8):
                    for microbatches in (1, 2, 4):
                        shards = count if mesh == "fsdp=-1" else count // int(mesh.rpartition("=")[2])
                        candidate = settings.changed(
                            mesh=mesh, remat=remat, microbatches=microbatches,
                            batch_size=shards * rows * microbatches, moment_dtype=moments,
                        )  # fmt: skip
                        try:
                            candidate.check(topology)
                        except (MeshError, PlanError):
                            continue
                        estimate = analytic.memory(candidate, topology).total
                        if estimate <= 1.05 * topology.device.memory:
                            yield candidate


def order(candidate: Settings, topology: Topology) -> tuple[float, int]:
    """Best estimated utilisation first; among equals the smaller batch."""
    seconds = analytic.time(candidate, topology).serial
    return -analytic.model_flops(candidate) / seconds, candidate.batch_size


def key(name: str, line: str) -> str:
    """What a trial is recognised by."""
    return f"{name}: {line}"


def read_trials(file: Path) -> dict[str, dict[str, Any]]:
    """Trials done so far; a line that a stop cut short is left out."""
    trials: dict[str, dict[str, Any]] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            trial = json.loads(line)
        except json.JSONDecodeError:
            continue
        trials[trial["key"]] = trial
    return trials


def automatic(options: argparse.Namespace) -> Iterator[tuple[Topology, Settings]]:
    """The most promising candidates of every topology and length."""
    for name in options.topologies.split(","):
        topology = resolve(name)
        for length in map(int, options.lengths.split(",")):
            base = Settings(shape_of(options.model), max_length=length, loss_positions=length // 4)
            found = sorted(set(candidates(base, topology)), key=lambda one: order(one, topology))
            yield from ((topology, settings) for settings in found[: options.trials])


def listed(options: argparse.Namespace) -> Iterator[tuple[Topology, Settings]]:
    """The candidates of a file."""
    for line in options.candidates.read_text(encoding="utf-8").splitlines():
        name, _, changes = line.strip().partition(" ")
        if not name or name.startswith("#"):
            continue
        values = json.loads(changes or "{}")
        if "lora" in values:
            values["lora"] = LoRA(**values["lora"])
        values["compiler_options"] = tuple(values.get("compiler_options", {}).items())
        length = values.get("max_length", 2048)
        base = Settings(shape_of(options.model), loss_positions=length // 4)
        yield resolve(name), base.changed(**values)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mistralai/Mistral-7B-v0.1")
    parser.add_argument("--topologies", default="v5e-8,v4-32,v5p-8,v6e-8")
    parser.add_argument("--lengths", default="2048,4096")
    parser.add_argument("--trials", type=int, default=4, help="compilations per topology and length")
    parser.add_argument("--candidates", type=Path, help="file of candidates, in place of the automatic ones")
    parser.add_argument("--minutes", type=float, default=60.0, help="no trial begins after this")
    parser.add_argument("--output", type=Path, default=Path("plan_search.jsonl"))
    options = parser.parse_args(argv)

    trials, stop = read_trials(options.output), time.monotonic() + 60 * options.minutes
    for topology, settings in automatic(options) if options.candidates is None else listed(options):
        name = key(topology.name, settings.line())
        if name in trials or time.monotonic() > stop:
            continue
        found = record(make_plan(settings, topology, compiles=True, tries=0))
        trials[name] = {"key": name, **found}
        with options.output.open("a", encoding="utf-8") as out:
            out.write(json.dumps(trials[name]) + "\n")
        print(summary(trials[name]), flush=True)
    print("\nbest by estimated utilisation (nothing overlapped):")
    groups: dict[tuple[str, int], dict[str, Any]] = {}
    for trial in trials.values():
        group = (trial["topology"], trial["settings"]["max_length"])
        if trial["fits"] and score(trial) > score(groups.get(group)):
            groups[group] = trial
    for trial in groups.values():
        print(summary(trial))
    return 0


def score(trial: dict[str, Any] | None) -> float:
    """Utilisation of a trial, 0 for none."""
    return trial["mfu"]["serial"] if trial and trial["mfu"] else 0.0


def summary(trial: dict[str, Any]) -> str:
    """One line about a trial."""
    needed, available = (trial["bytes"][name] / 2**30 for name in ("needed", "available"))
    verdict = "fits" if trial["fits"] else "does not fit"
    speed = ""
    if trial["mfu"]:
        ends = [f"{trial['mfu'][end]:.0%}" for end in ("serial", "overlapped")]
        speed = f", MFU {' to '.join(ends)}, {trial['tokens_per_second']['serial']:,.0f} tokens/s and more"
    took = f"{trial['compile_seconds']:.0f} s"
    return f"{trial['key']}: {needed:.1f} of {available:.1f} GiB, {verdict}{speed}; compiled in {took}"


if __name__ == "__main__":
    sys.exit(main())
