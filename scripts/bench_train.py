"""Training speed beside three others on the same machine, model, data and number of real tokens a step.

    python scripts/bench_train.py                                     30 M parameters, CPU, 2 rows of 512
    python scripts/bench_train.py --size 110m --steps 3
    python scripts/bench_train.py --device gpu --size 1b --rows 8 --length 2048 --dtype bfloat16
    python scripts/bench_train.py --startup                process start to first step, cold and cached

Contenders, each in a process of its own that waits while the others work (steps are interleaved, so that a
noisy machine is noisy for all):

    ours           inters_jax: packed rows, head at the loss positions
    hf-longest     transformers.Trainer, examples padded to the longest of their batch
    hf-max         the same, padded to the full length, as the authors of INTERS do
    trl-packed     trl.SFTTrainer(packing=True), examples cut into full rows
    torch-dense    a bare PyTorch loop on full rows without any padding or segments

Examples look like INTERS prompts (scripts/bench_packing.py): about 4 % of the tokens are targets. Printed per
contender: useful (not padding) tokens per second and per processor second, the share of the machine's
measured matrix-product rate that the model's work reaches (6 x parameters x tokens, the usual count), peak
memory; then the ratios to ours.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_packing import VOCABULARY, examples
from bench_train_peers import work_torch, work_trainer, work_trl
from bench_train_worker import SIZES, parameters, serve_steps, shape

CONTENDERS = ("ours", "hf-longest", "hf-max", "trl-packed", "torch-dense")


def peak(device: str, dtype: str) -> float:
    """Floating-point operations per second of a large matrix product, measured: the best of several."""
    import jax
    import jax.numpy as jnp

    size = 1536 if device == "cpu" else 8192
    product = jax.jit(lambda a, b: a @ b)
    a = jnp.ones((size, size), dtype)
    product(a, a).block_until_ready()
    best = float("inf")
    for _ in range(8):
        begin = time.perf_counter()
        product(a, a).block_until_ready()
        best = min(best, time.perf_counter() - begin)
    return 2 * size**3 / best


def work_ours(options: argparse.Namespace) -> None:
    import jax

    from inters_jax import mesh as meshes
    from inters_jax.data.loader import PackedBatches
    from inters_jax.data.token_store import TokenStore
    from inters_jax.models.decoder import random_parameters
    from inters_jax.models.hf.config_json import config_from_hf
    from inters_jax.settings.training import OptimizerSettings
    from inters_jax.training import step as steps
    from inters_jax.training.program import build_program

    config = config_from_hf(shape(options.size, options.length))
    mesh = meshes.make_mesh("fsdp=-1")
    program = build_program(
        config,
        device_mesh=mesh,
        optimizer=OptimizerSettings(learning_rate=1e-4),
        total_steps=1000,
        batch_size=options.rows,
        max_length=options.length,
        dtype=options.dtype,
        remat=options.remat,
    )
    params = random_parameters(config, 0, program.shardings.params)
    state = steps.init_state(params, program.transformation, program.shardings)
    made = examples(2000, options.length, 0)
    with tempfile.TemporaryDirectory() as folder:
        series = ((tokens, start, f"{i}") for i, (tokens, start) in enumerate(made))
        store = TokenStore.create(Path(folder) / "store", {"bench": [series]}, vocab_size=VOCABULARY)
        batches = PackedBatches(
            store, batch_rows=options.rows, max_length=options.length, seed=0, epochs=1000
        )
        stream = batches.iterate()
        # A run compiles the programs of coming batches in the background; here they are compiled before.
        train_step = program.compiled_step()
        for slots in {batches.statistics(number)["loss_positions"] for number in range(options.steps + 2)}:
            train_step.start(slots).result()

        def step() -> int:
            nonlocal state
            batch = next(stream)
            state, metrics = train_step(state, meshes.to_devices(mesh, batch, options.rows))
            jax.block_until_ready(metrics.loss)
            return int((batch["decoder_segment_ids"] > 0).sum())

        serve_steps(step)


def worker(options: argparse.Namespace) -> None:
    name = options.worker
    if name == "ours":
        work_ours(options)
    elif name.startswith("hf-"):
        work_trainer(options, name.removeprefix("hf-"))
    elif name == "trl-packed":
        work_trl(options)
    else:
        work_torch(options)


class Contender:
    """A worker process that does a step when it is told to."""

    def __init__(self, name: str, arguments: list[str]) -> None:
        self.name, self.steps = name, list[dict[str, float]]()
        environment = os.environ | {"TOKENIZERS_PARALLELISM": "false"}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", name, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._read()

    def _read(self) -> dict[str, float]:
        assert self.process.stdout is not None and self.process.stderr is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                found: dict[str, float] = json.loads(line)
                return found
        raise SystemExit(f"{self.name} ended:\n{self.process.stderr.read()[-3000:]}")

    def step(self) -> dict[str, float]:
        assert self.process.stdin is not None
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def startup() -> None:
    """Process start to the first finished step of tiny.gin: cold, and with the compilation cache."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": f"{folder}/cache",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        for run in ("cold", "cached"):
            command = [sys.executable, "-m", "inters_jax.train", "--gin_file=tiny.gin"]
            command += [f"--gin.MODEL_DIR={folder}/{run}", f"--gin.STORE_DIR={folder}/store"]
            subprocess.run(command, check=True, env=environment, capture_output=True)
            for line in Path(folder, run, "metrics.jsonl").read_text(encoding="utf-8").splitlines():
                record = json.loads(line)
                if "seconds_to_first_step" in record:
                    print(f"{run:<8}{record['seconds_to_first_step']:7.1f} s to the first step")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="30m")
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--steps", type=int, default=5, help="measured steps of each, after one that is not")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--remat", default="none", choices=("none", "full"))
    parser.add_argument("--contenders", default=",".join(CONTENDERS))
    parser.add_argument("--startup", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options)
        return
    if options.startup:
        startup()
        return
    passed = [f"--{name}={getattr(options, name)}" for name in ("size", "rows", "length", "device", "dtype")]
    passed += [f"--remat={options.remat}", f"--steps={options.steps}"]
    contenders = [Contender(name, passed) for name in options.contenders.split(",")]
    try:
        for contender in contenders:
            contender.step()  # compiles, allocates, warms caches
        rates = [peak(options.device, options.dtype)]
        for _ in range(options.steps):
            for contender in contenders:
                contender.steps.append(contender.step())
            rates.append(peak(options.device, options.dtype))
    finally:
        for contender in contenders:
            contender.close()
    report(options, contenders, max(rates))


def report(options: argparse.Namespace, contenders: list[Contender], rate: float) -> None:
    work = 6 * parameters(options.size)
    print(
        f"{options.size}: {options.rows} x {options.length} {options.dtype}, remat {options.remat}; "
        f"matrix products reach {rate / 1e9:,.0f} GFLOP/s"
    )
    head = f"{'contender':<13}{'tokens/s':>10}{'best':>9}{'per cpu s':>11}{'MFU':>7}{'GiB':>7}{'ours is':>9}"
    print(head)
    speeds = {}
    for contender in contenders:
        speeds[contender.name] = statistics.median(one["tokens"] / one["seconds"] for one in contender.steps)
    for contender in contenders:
        steps = contender.steps
        best = max(one["tokens"] / one["seconds"] for one in steps)
        cpu = statistics.median(one["tokens"] / max(one["cpu"], 1e-9) for one in steps)
        memory = max(one["memory"] for one in steps) / 2**30
        ratio = speeds["ours"] / speeds[contender.name] if "ours" in speeds else float("nan")
        print(
            f"{contender.name:<13}{speeds[contender.name]:>10.1f}{best:>9.1f}{cpu:>11.1f}"
            f"{100 * best * work / rate:>6.1f}%{memory:>7.2f}{ratio:>8.2f}x"
        )


if __name__ == "__main__":
    main()
