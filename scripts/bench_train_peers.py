"""The contenders of bench_train.py beside ours: transformers.Trainer, trl.SFTTrainer, a bare PyTorch loop."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench_examples import EOS, examples
from bench_process import answer, ready
from bench_train_worker import serve_steps, shape


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
        batch = padded([(row["input_ids"], row["start"]) for row in rows], width)
        counted.append(int(batch["attention_mask"].sum()))
        return batch

    class Rows(torch.utils.data.Dataset):  # type: ignore[type-arg,misc]
        def __len__(self) -> int:
            return len(made)

        def __getitem__(self, number: int) -> dict[str, Any]:
            return {"input_ids": made[number][0], "start": made[number][1]}

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(**trainer_arguments(folder, options), per_device_train_batch_size=size)
        trainer = Trainer(torch_model(options), arguments, train_dataset=Rows(), data_collator=collate)
        run_trainer(trainer, lambda: counted.pop(0))


def padded(rows: Sequence[tuple[np.ndarray, int]], width: int) -> dict[str, Any]:
    """Sequences (tokens, target start), one per row, as transformers takes them; only targets are labels."""
    import torch

    ids = torch.full((len(rows), width), EOS)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for number, (sequence, start) in enumerate(rows):
        tokens = torch.from_numpy(sequence).long()
        ids[number, : len(tokens)] = tokens
        mask[number, : len(tokens)] = 1
        labels[number, start : len(tokens)] = tokens[start:]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


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
        "dataloader_num_workers": 0,
        **({"gradient_checkpointing": True} if options.remat == "full" else {}),
    }


def run_trainer(trainer: Any, tokens_of_step: Callable[[], int]) -> None:
    """Lets a Trainer go one step at a time: it waits in a callback for the next line of input."""
    from transformers import TrainerCallback

    class Gate(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.begun: tuple[float, float] | None = None

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if self.begun is None:
                ready()
            if not sys.stdin.readline():
                os._exit(0)
            self.begun = time.perf_counter(), time.process_time()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            assert self.begun is not None
            answer(*self.begun, {"tokens": tokens_of_step(), "loss": None})

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

    def step() -> tuple[int, float]:
        ids, labels = (array.to(device) for array in next(batches))
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return options.rows * options.length, loss.item()

    serve_steps(step)
