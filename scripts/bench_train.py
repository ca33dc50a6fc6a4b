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
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from bench_packing import BOS, EOS, VOCABULARY, examples

CONTENDERS = ("ours", "hf-longest", "hf-max", "trl-packed", "torch-dense")
# hidden, MLP, layers, heads, key heads
SIZES = {
    "30m": (384, 1024, 6, 6, 6),
    "110m": (768, 2048, 8, 12, 12),
    "1b": (2048, 5632, 22, 32, 4),
    "7b": (4096, 14336, 32, 32, 8),
}


def shape(size: str, length: int) -> dict[str, Any]:
    """A Llama shape as a Hugging Face config."""
    hidden, mlp, layers, heads, groups = SIZES[size]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "max_position_embeddings": max(2048, length),
        "rms_norm_eps": 1e-5,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "tie_word_embeddings": False,
    }


def parameters(size: str) -> int:
    """Parameters that a token is multiplied with: all but the input embedding."""
    hidden, mlp, layers, heads, groups = SIZES[size]
    attention = 2 * hidden * hidden + 2 * hidden * hidden * groups // heads
    return layers * (attention + 3 * hidden * mlp) + VOCABULARY * hidden


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


def serve_steps(step: Callable[[], int]) -> None:
    """One optimiser step for every line of input; answers with time, tokens and memory."""
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        tokens = step()
        print(
            json.dumps(
                {
                    "seconds": time.perf_counter() - wall,
                    "cpu": time.process_time() - cpu,
                    "tokens": tokens,
                    "memory": _memory(),
                }
            ),
            flush=True,
        )


def _memory() -> float:
    """Peak bytes: of the GPU where one is used, else of the process."""
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            return float(torch.cuda.max_memory_allocated())
    if "jax" in sys.modules:
        import jax

        statistics = jax.devices()[0].memory_stats()
        if statistics and "peak_bytes_in_use" in statistics:
            return float(statistics["peak_bytes_in_use"])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def work_ours(options: argparse.Namespace) -> None:
    import jax

    from inters_jax import mesh as meshes
    from inters_jax.data.loader import PackedBatches
    from inters_jax.data.token_store import TokenStore
    from inters_jax.models.config import DecoderConfig
    from inters_jax.training import step as steps
    from inters_jax.training.optimizer import AdamW
    from inters_jax.training.program import build_program
    from inters_jax.training.start import random_parameters

    config = DecoderConfig.from_hf(shape(options.size, options.length))
    mesh = meshes.make_mesh("fsdp=-1")
    program = build_program(
        config,
        device_mesh=mesh,
        optimizer=AdamW(learning_rate=1e-4),
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


def torch_model(options: argparse.Namespace) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    if options.device == "cpu":
        torch.set_num_threads(os.cpu_count() or 1)
    config = LlamaConfig(
        **{k: v for k, v in shape(options.size, options.length).items() if k != "model_type"}
    )
    model = LlamaForCausalLM(config)
    if options.device == "gpu":
        model = model.to("cuda", dtype=getattr(torch, options.dtype))
    if options.remat == "full":
        model.gradient_checkpointing_enable()
    return model.train()


def count_of_batch(options: argparse.Namespace, made: list[tuple[np.ndarray, int]]) -> int:
    """Examples with as many real tokens as our rows have."""
    mean = np.mean([len(tokens) for tokens, _ in made])
    return max(1, round(options.rows * options.length / mean))


def work_trainer(options: argparse.Namespace, padding: str) -> None:
    import torch
    from transformers import Trainer, TrainingArguments

    made = examples(2000, options.length, 0)
    size = count_of_batch(options, made)
    counted: list[int] = []

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        width = options.length if padding == "max" else max(len(row["input_ids"]) for row in rows)
        ids = torch.full((len(rows), width), EOS)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for number, row in enumerate(rows):
            tokens = torch.from_numpy(row["input_ids"]).long()
            ids[number, : len(tokens)] = tokens
            mask[number, : len(tokens)] = 1
            labels[number, row["start"] : len(tokens)] = tokens[row["start"] :]
        counted.append(int(mask.sum()))
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    class Rows(torch.utils.data.Dataset):  # type: ignore[type-arg,misc]
        def __len__(self) -> int:
            return len(made)

        def __getitem__(self, number: int) -> dict[str, Any]:
            return {"input_ids": made[number][0], "start": made[number][1]}

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(**trainer_arguments(folder, options), per_device_train_batch_size=size)
        trainer = Trainer(torch_model(options), arguments, train_dataset=Rows(), data_collator=collate)
        run_trainer(trainer, lambda: counted.pop(0))


def trainer_arguments(folder: str, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "output_dir": folder,
        "max_steps": 10_000,
        "learning_rate": 1e-4,
        "logging_steps": 10_000,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": options.device == "cpu",
        "bf16": options.device == "gpu" and options.dtype == "bfloat16",
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "gradient_checkpointing": options.remat == "full",
        "dataloader_num_workers": 0,
    }


def run_trainer(trainer: Any, tokens_of_step: Callable[[], int]) -> None:
    """Lets a Trainer go one step at a time: it waits in a callback for the next line of input."""
    from transformers import TrainerCallback

    class Gate(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.begun: tuple[float, float] | None = None

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if self.begun is None:
                print(json.dumps({"ready": True}), flush=True)
            if not sys.stdin.readline():
                os._exit(0)
            self.begun = time.perf_counter(), time.process_time()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            assert self.begun is not None
            wall, cpu = self.begun
            print(
                json.dumps(
                    {
                        "seconds": time.perf_counter() - wall,
                        "cpu": time.process_time() - cpu,
                        "tokens": tokens_of_step(),
                        "memory": _memory(),
                    }
                ),
                flush=True,
            )

    trainer.add_callback(Gate())
    trainer.train()


def work_trl(options: argparse.Namespace) -> None:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    made = examples(2000, options.length, 0)
    rows = Dataset.from_dict(
        {
            "input_ids": [tokens.tolist() for tokens, _ in made],
            "completion_mask": [[0] * start + [1] * (len(tokens) - start) for tokens, start in made],
        }
    )
    sample = Path(__file__).parent.parent / "seqio_tasks" / "sample" / "tokenizer" / "tokenizer.json"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(sample), bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = trainer_arguments(folder, options) | {"remove_unused_columns": True}
        config = SFTConfig(
            **arguments,
            per_device_train_batch_size=options.rows,
            packing=True,
            packing_strategy="wrapped",
            max_length=options.length,
            completion_only_loss=True,
        )
        model = torch_model(options)
        trainer = SFTTrainer(model, config, train_dataset=rows, processing_class=tokenizer)
        run_trainer(trainer, lambda: options.rows * options.length)


def work_torch(options: argparse.Namespace) -> None:
    import torch

    model = torch_model(options)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1)
    made = examples(2000, options.length, 0)

    def dense() -> Iterator[tuple[Any, Any]]:
        stream = np.concatenate([tokens for tokens, _ in made])
        target = np.concatenate([np.arange(len(tokens)) >= start for tokens, start in made])
        size = options.rows * options.length
        while True:
            for at in range(0, len(stream) - size, size):
                ids = torch.from_numpy(stream[at : at + size].astype(np.int64))
                labels = torch.where(torch.from_numpy(target[at : at + size]), ids, -100)
                yield ids.view(options.rows, -1), labels.view(options.rows, -1)

    batches = dense()
    device = "cuda" if options.device == "gpu" else "cpu"

    def step() -> int:
        ids, labels = (array.to(device) for array in next(batches))
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        return options.rows * options.length

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
