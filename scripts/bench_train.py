"""Training speed beside others on the same machine, model, data and number of real tokens a step.

    python scripts/bench_train.py                                     30 M parameters, CPU, 2 rows of 512
    python scripts/bench_train.py --size smollm2 --steps 3            the shape of SmolLM2-135M
    python scripts/bench_train.py --device gpu --size 1b --rows 8 --length 2048 --dtype bfloat16
    python scripts/bench_train.py --startup                process start to first step, cold and cached

Contenders, each in a process of its own that waits while the others work (steps are interleaved, so that a
noisy machine is noisy for all):

    ours           inters_jax: packed rows, head at the loss positions
    tunix          google-tunix, PeftTrainer on its Llama 3: our packed rows, logits of all positions
    maxtext        MaxText, the train step of its pre-training: our packed rows, logits of all positions
    hf-longest     transformers.Trainer, examples padded to the longest of their batch
    hf-max         the same, padded to the full length, as the authors of INTERS do
    trl-packed     trl.SFTTrainer(packing=True), examples cut into full rows
    torch-dense    a bare PyTorch loop on full rows without any padding or segments

Those in JAX start from our weights and read our rows, and must find our first loss (float32: within 1e-5,
MaxText with a tied head, which it rounds to bfloat16: 1e-4; else the exit code is 1). In bfloat16 ours and
MaxText keep float32 parameters; tunix computes in the type of its parameters. Tunix and MaxText have
environments of their own, because their packages contradict ours; one that is not named, or cannot start, is
left out and said to be:

    python3.11 -m venv envs/tunix
    envs/tunix/bin/pip install google-tunix==0.1.7 jax==0.10.2 flax==0.12.8 optax==0.2.8
    python3.12 -m venv envs/maxtext
    envs/maxtext/bin/pip install maxtext==0.2.5 jax==0.11.1 flax==0.12.10 optax orbax-checkpoint absl-py \\
        aqtp array-record chex cloud-accelerator-diagnostics datasets drjax 'grain[parquet]' jaxtyping \\
        jinja2 jsonlines ml-collections ml-goodput-measurement nltk omegaconf pathwaysutils pillow protobuf \\
        pydantic qwix safetensors sentencepiece sympy tensorboardx tiktoken tokamax transformers
    python scripts/bench_train.py --python_tunix envs/tunix/bin/python \\
        --python_maxtext envs/maxtext/bin/python

Levanter is not among them: marin-levanter 0.2.227 needs the packages of its cluster software, and pip had not
found their versions after 400 seconds on two busy cores.

Examples look like INTERS prompts (scripts/bench_examples.py): about 4 % of the tokens are targets. Printed
per contender: useful (not padding) tokens per second and per processor second, the share of the machine's
measured matrix-product rate that the model's work reaches (6 x parameters x tokens, the usual count), peak
memory, seconds from the start of the process to the end of its first step; then the ratios to ours.
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
from typing import Any

import numpy as np
from bench_examples import VOCABULARY, examples
from bench_process import Contender, started
from bench_train_peers import work_torch, work_trainer, work_trl
from bench_train_worker import SIZES, add_options, parameters, serve_steps, shape

JAX_PEERS = ("tunix", "maxtext")
CONTENDERS = ("ours", *JAX_PEERS, "hf-longest", "hf-max", "trl-packed", "torch-dense")
# Of the first loss in float32, which is about 10; the second of MaxText with a tied head.
LOSS_TOLERANCE, TIED_TOLERANCE = 1e-5, 1e-4


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


def packed_batches(options: argparse.Namespace) -> Any:
    """The `PackedBatches` of the store that `share` wrote."""
    from inters_jax.data.loader import PackedBatches
    from inters_jax.data.token_store import TokenStore

    store = TokenStore.open(options.folder / "store")
    return PackedBatches(store, batch_rows=options.rows, max_length=options.length, seed=0, epochs=1000)


def share(options: argparse.Namespace) -> None:
    """Write what contenders have in common to the folder: a store, its first batches, and the weights."""
    from flax import nnx

    from inters_jax.data.token_store import TokenStore
    from inters_jax.models.decoder import Decoder, random_parameters
    from inters_jax.models.hf import folder as huggingface
    from inters_jax.models.hf.config_json import config_from_hf

    made = examples(2000, options.length, 0)
    series = ((tokens, start, f"{i}") for i, (tokens, start) in enumerate(made))
    TokenStore.create(options.folder / "store", {"bench": [series]}, vocab_size=VOCABULARY)
    batches = packed_batches(options)
    drawn = [batches.batch(number) for number in range(options.steps + 2)]
    names = [name for name in drawn[0] if name != "decoder_loss_positions"]  # its size differs
    arrays: dict[str, Any] = {name: np.stack([batch[name] for batch in drawn]) for name in names}
    np.savez(options.folder / "batches.npz", **arrays)
    config = config_from_hf(shape(options.size, options.length))
    model = nnx.eval_shape(lambda: Decoder(config, rngs=nnx.Rngs(params=0)))
    graph, like = nnx.split(model, nnx.Param)
    nnx.replace_by_pure_dict(like, random_parameters(config, 0, None))
    huggingface.save(nnx.merge(graph, like), options.folder / "model")


def work_ours(options: argparse.Namespace) -> None:
    from inters_jax import mesh as meshes
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
        optimizer=OptimizerSettings(learning_rate=1e-4, schedule="constant", warmup=0),
        total_steps=1000,
        batch_size=options.rows,
        max_length=options.length,
        dtype=options.dtype,
        remat=options.remat,
    )
    params = random_parameters(config, 0, program.shardings.params)
    state = steps.init_state(params, program.transformation, program.shardings)
    batches = packed_batches(options)
    stream = batches.iterate()
    train_step = program.compiled_step()
    done = 0

    def step() -> tuple[int, float]:
        nonlocal state, done
        # A run compiles the programs of coming batches in the background; here the second step, which is not
        # measured either, does it.
        for number in range(done, options.steps + 2 if done == 1 else done + 1):
            train_step.start(batches.statistics(number)["loss_positions"]).result()
        done += 1
        batch = next(stream)
        state, metrics = train_step(state, meshes.to_devices(mesh, batch, options.rows))
        loss = float(metrics.loss)
        return int((batch["decoder_segment_ids"] > 0).sum()), loss

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


def start(name: str, options: argparse.Namespace) -> Contender | None:
    """A contender that has done its unmeasured steps; None, with a line that says why, if it cannot."""
    script, python = __file__, sys.executable
    if name in JAX_PEERS:
        script = str(Path(__file__).with_name("bench_train_jax_peers.py"))
        python = getattr(options, f"python_{name}")
        if python is None:
            print(f"{name}: left out, --python_{name} names no interpreter", flush=True)
            return None
    names = ("size", "rows", "length", "steps", "device", "dtype", "remat", "folder")
    passed = [f"--{option}={getattr(options, option)}" for option in names]
    command = [python, script, f"--worker={name}", *passed]
    return started(name, command, ["step", "step"], environment(options))  # the second compiles the rest


def environment(options: argparse.Namespace) -> dict[str, str]:
    """Several processes use a GPU: none may take all of its memory."""
    return {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} if options.device == "gpu" else {}


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_options(parser)
    parser.add_argument("--contenders", default=",".join(CONTENDERS))
    for name in JAX_PEERS:
        parser.add_argument(f"--python_{name}", help=f"interpreter of the environment that has {name}")
    parser.add_argument("--startup", action="store_true")
    options = parser.parse_args()
    if options.worker:
        worker(options)
        return 0
    if options.startup:
        startup()
        return 0
    asked = options.contenders.split(",")
    if unknown := [name for name in asked if name not in CONTENDERS]:
        parser.error(f"--contenders: no {', '.join(unknown)}; known: {', '.join(CONTENDERS)}")
    os.environ |= environment(options)
    with tempfile.TemporaryDirectory() as folder:
        options.folder = Path(folder)
        share(options)
        contenders: list[Contender] = []
        try:
            for name in asked:
                if (started := start(name, options)) is not None:
                    contenders.append(started)
            rates = [peak(options.device, options.dtype)]
            for _ in range(options.steps):
                for contender in contenders:
                    contender.ask("step")
                rates.append(peak(options.device, options.dtype))
        finally:
            for contender in contenders:
                contender.close()
    report(options, contenders, max(rates))
    return 0 if same_losses(options, contenders) else 1


def report(options: argparse.Namespace, contenders: list[Contender], rate: float) -> None:
    work = 6 * parameters(options.size)
    print(
        f"{options.size}: {options.rows} x {options.length} {options.dtype}, remat {options.remat}; "
        f"matrix products reach {rate / 1e9:,.0f} GFLOP/s"
    )
    print(
        f"{'contender':<13}{'tokens/s':>10}{'best':>9}{'per cpu s':>11}{'MFU':>7}{'GiB':>7}"
        f"{'first step s':>14}{'ours is':>9}"
    )
    measured = {contender.name: contender.answers[2:] for contender in contenders}
    speeds = {
        name: statistics.median(one["tokens"] / one["seconds"] for one in steps)
        for name, steps in measured.items()
    }
    for contender in contenders:
        steps = measured[contender.name]
        best = max(one["tokens"] / one["seconds"] for one in steps)
        cpu = statistics.median(one["tokens"] / max(one["cpu"], 1e-9) for one in steps)
        memory = max(one["memory"] for one in steps) / 2**30
        first = contender.started + contender.answers[0]["seconds"]
        ratio = speeds["ours"] / speeds[contender.name] if "ours" in speeds else float("nan")
        print(
            f"{contender.name:<13}{speeds[contender.name]:>10.1f}{best:>9.1f}{cpu:>11.1f}"
            f"{100 * best * work / rate:>6.1f}%{memory:>7.2f}{first:>14.1f}{ratio:>8.2f}x"
        )


def same_losses(options: argparse.Namespace, contenders: list[Contender]) -> bool:
    """Print how far the losses of those with our weights and rows are from ours; whether that is allowed."""
    losses = {one.name: [answer["loss"] for answer in one.answers] for one in contenders}
    ours = losses.get("ours")
    allowed = True
    for name in JAX_PEERS:
        if ours is None or name not in losses:
            continue
        first, last = abs(losses[name][0] - ours[0]), abs(losses[name][-1] - ours[-1])
        print(
            f"{name}: loss {losses[name][0]:.6f}, ours {ours[0]:.6f}, difference {first:.1e}; "
            f"after {len(ours) - 1} updates {losses[name][-1]:.6f}, ours {ours[-1]:.6f}, {last:.1e}"
        )
        tied = name == "maxtext" and SIZES[options.size].tied
        tolerance = TIED_TOLERANCE if tied else LOSS_TOLERANCE
        allowed = allowed and (options.dtype != "float32" or first <= tolerance)
    return allowed


if __name__ == "__main__":
    sys.exit(main())
