"""The same training through this project and through transformers.Trainer: do the losses agree?

    python scripts/compare_with_trainer.py --model models/SmolLM2-135M --store stores/inters512
    python scripts/compare_with_trainer.py --model models/SmolLM2-135M --store stores/inters512 \\
        --steps 50 --rows 2 --learning_rate 3e-4

The second line is the comparison with SmolLM2-135M: 50 steps of 2 rows of 512 positions. The store is one of

    python -m inters_jax.prepare --gin_file=smollm2.gin --gin.TOKENIZER=models/SmolLM2-135M \\
        --gin.RAW_DIR=data/inters --gin.STORE_DIR=stores/inters512

Ours is `python -m inters_jax.train`, a process of its own, with the recipe inters.gin, full tuning and
float32. Then Trainer gets the examples of the same packed rows, step by step: one to a row,
padded, with labels at the targets only. Its own loss is the sum over the targets of a batch by their number.
Betas, eps, weight decay, clipping and the learning rate of every step are those of our settings.

Printed are the losses of every step and the largest difference; the exit code is 1 if that exceeds
--tolerance. What follows the arguments is passed on to train and holds for both: --gin_file=smollm2.gin,
--gin.WARMUP=10. Needs torch and accelerate: pip install 'inters-jax[bench]'.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench_train_peers import padded, trainer_arguments

from inters_jax import config
from inters_jax.command_line import parse_arguments
from inters_jax.data.loader import Batch, PackedBatches
from inters_jax.data.token_store import TokenStore
from inters_jax.gin_files import search_paths
from inters_jax.reports.tables import Table
from inters_jax.settings.training import (
    DataSettings,
    LengthSettings,
    ModelSettings,
    OptimizerSettings,
    RunSettings,
    StepSettings,
)
from inters_jax.training.metrics import read_metrics
from inters_jax.training.optimizer import optimizer_of
from inters_jax.training.optimizers import AdamW
from inters_jax.training.schedule import learning_rate_schedule
from seqio_tasks.base import UserError
from seqio_tasks.expected_errors import one_line

RECIPE = "inters.gin"
# Settings of a store that decide its tokens; train refuses a store that was made with others.
STORED = ("split", "max_length", "seed", "passes", "max_shots", "max_cut", "epoch_examples")

Settings = dict[type, Any]  # by group


def train_arguments(options: argparse.Namespace, more: Sequence[str], run: Path) -> list[str]:
    """The arguments of `train`; those that the user has added come last and win."""
    stored = TokenStore.open(options.store).manifest["settings"]
    given: dict[str, Any] = {name.upper(): stored[name] for name in STORED if name in stored}
    given |= {
        "MIXTURE_OR_TASK_NAME": stored["name"],
        "CHECK_SOURCES": False,  # the store is what both train on, whatever it was made from
        "STORE_DIR": options.store,
        "MODEL": options.model,
        "MODEL_DIR": run,
        "TRAIN_STEPS": options.steps,
        "BATCH_SIZE": options.rows,
        "DTYPE": "float32",
        "LOG_EVERY": 1,
        "TENSORBOARD": False,
        "CHECKPOINT_EVERY": options.steps,
    }
    if options.learning_rate is not None:
        given["LEARNING_RATE"] = options.learning_rate
    return [f"--gin_file={RECIPE}", *(f"--gin.{name}={value}" for name, value in given.items()), *more]


def load_settings(arguments: Sequence[str]) -> Settings:
    """The settings that `train` reads from these arguments.

    Raises:
      UserError: Trainer has no counterpart to them.
    """
    line = parse_arguments(arguments)
    groups = config.load("train", line.files, line.overrides, search_paths(line.search_paths))
    found = {type(group): group for group in groups}
    if found[ModelSettings].lora is not None:
        raise UserError("LORA is set; every parameter is trained here: leave it out")
    if not isinstance(optimizer_of(found[OptimizerSettings]), AdamW):
        raise UserError("OPTIMIZER is not AdamW, which Trainer is given here: leave it out")
    return found


def our_losses(arguments: Sequence[str], run: Path) -> list[float]:
    """The loss of every step of `train`.

    Raises:
      UserError: it failed.
    """
    command = [sys.executable, "-m", "inters_jax.train", *arguments]
    done = subprocess.run(
        command, env={"JAX_PLATFORMS": "cpu"} | os.environ, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise UserError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    return [math.nan if record["loss"] is None else record["loss"] for record in read_metrics(run)]


def unpacked(batch: Batch) -> Iterator[tuple[np.ndarray, int]]:
    """The examples of a packed batch: (tokens, target start)."""
    arrays = {name.removeprefix("decoder_"): array for name, array in batch.items()}
    for row, segments in enumerate(arrays["segment_ids"]):
        for segment in range(1, segments.max() + 1):
            here = segments == segment
            tokens = np.append(arrays["input_tokens"][row][here], arrays["target_tokens"][row][here][-1])
            yield tokens, len(tokens) - int(arrays["loss_weights"][row][here].sum())


def trainer_losses(settings: Settings) -> list[float]:
    """The loss of every step of Trainer on the same batches.

    Raises:
      UserError: torch or accelerate are missing.
    """
    try:
        import accelerate  # noqa: F401 (Trainer imports it when it is made)
        import torch
        from transformers import AutoModelForCausalLM, PrinterCallback, Trainer, TrainingArguments
    except ImportError as error:
        raise UserError(f"{error}; pip install 'inters-jax[bench]'") from error

    steps = settings[RunSettings].train_steps
    store = TokenStore.open(settings[DataSettings].store_dir)
    batches = PackedBatches(
        store,
        batch_rows=settings[StepSettings].batch_size,
        max_length=settings[LengthSettings].max_length,
        seed=settings[DataSettings].seed,
        steps=steps,
    )

    class Steps(torch.utils.data.Dataset):  # type: ignore[type-arg,misc]
        """Item t: the examples of step t."""

        def __len__(self) -> int:
            return int(steps)

        def __getitem__(self, step: int) -> list[tuple[np.ndarray, int]]:
            return list(unpacked(batches.batch(step)))

    def collate(items: list[list[tuple[np.ndarray, int]]]) -> dict[str, Any]:
        (examples,) = items
        return padded(examples, max(len(tokens) for tokens, _ in examples))

    shared = settings[OptimizerSettings]
    adam = optimizer_of(shared)
    model = AutoModelForCausalLM.from_pretrained(settings[ModelSettings].model, dtype=torch.float32)
    spared = [p for p in model.parameters() if p.ndim < 2 and not shared.decay_norms]
    decayed = [p for p in model.parameters() if p.ndim >= 2 or shared.decay_norms]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": shared.weight_decay}, {"params": spared, "weight_decay": 0.0}],
        lr=1.0,  # times what the schedule says
        betas=(adam.b1, adam.b2),
        eps=adam.eps,
    )
    rate = learning_rate_schedule(
        shared.learning_rate, steps, schedule=shared.schedule, warmup=shared.warmup, floor=shared.floor
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: float(rate(step)))
    with tempfile.TemporaryDirectory() as folder:
        cpu = argparse.Namespace(device="cpu", dtype="float32", remat="none")
        arguments = trainer_arguments(folder, cpu) | {
            "max_steps": steps,
            "logging_steps": 1,
            "max_grad_norm": shared.clip or 0.0,
            "per_device_train_batch_size": 1,
            "train_sampling_strategy": "sequential",
        }
        trainer = Trainer(
            model,
            TrainingArguments(**arguments),
            train_dataset=Steps(),
            data_collator=collate,
            optimizers=(optimizer, scheduler),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def compared(ours: Sequence[float], theirs: Sequence[float], tolerance: float) -> tuple[Table, bool]:
    """The losses by step, and whether they agree."""
    differences = [one - other for one, other in zip(ours, theirs, strict=True)]
    largest = max(differences, key=lambda value: math.inf if math.isnan(value) else abs(value))
    agree = abs(largest) <= tolerance
    rows = [
        [str(step), f"{one:.6f}", f"{other:.6f}", f"{one - other:+.1e}"]
        for step, (one, other) in enumerate(zip(ours, theirs, strict=True), 1)
    ]
    verdict = "within" if agree else "beyond"
    note = f"Largest difference {abs(largest):.1e}, {verdict} the tolerance of {tolerance:g}."
    return Table("Loss by step", ["step", "inters_jax", "Trainer", "difference"], rows, [note]), agree


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code is 1 if the losses differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--model", required=True, help="Hugging Face folder with weights and tokenizer")
    parser.add_argument(
        "--store", required=True, help="token store; rows have as many positions as its MAX_LENGTH"
    )
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rows", type=int, default=2, help="packed rows per step")
    parser.add_argument("--learning_rate", type=float, help=f"peak; default: that of {RECIPE}")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    options, more = parser.parse_known_args(arguments)
    with one_line("compare_with_trainer"), tempfile.TemporaryDirectory() as folder:
        given = train_arguments(options, more, Path(folder) / "run")
        settings = load_settings(given)
        ours = our_losses(given, Path(folder) / "run")
        table, agree = compared(ours, trainer_losses(settings), options.tolerance)
    print(table.markdown())
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
