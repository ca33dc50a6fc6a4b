"""A training process with one fault built in.

    python fault_launcher.py FAULT STEP MODEL_DIR STORE_DIR '{"train_steps": 24, "lora": {"rank": 4}, ...}'

FAULT is one of

    kill_in_save   the checkpoint of STEP is written but not yet renamed, and the process waits to be killed
    kill_in_step   SIGKILL while step STEP runs on the device
    sigterm        SIGTERM in step STEP
    limit          no file may grow beyond 1 kB from step STEP on
    fill           the file system of MODEL_DIR is full from step STEP on
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
from pathlib import Path

from orbax.checkpoint._src.path import atomicity
from training_stand_ins import run_train

from inters_jax import hosts
from inters_jax.models.lora.layers import LoRA
from inters_jax.training.compiling import CompiledStep

FILLER = "filler"


def at_step(number, action):
    """Call `action` when step `number`, counted from 0, has been handed to the device."""
    original = CompiledStep.__call__

    def call(self, state, batch):
        now = int(state.step)  # read before the state is consumed
        result = original(self, state, batch)
        if now == number:
            action()
        return result

    CompiledStep.__call__ = call


def fill(folder: Path):
    with (folder / FILLER).open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def main():
    fault, step, run, store, given = sys.argv[1:]
    number, settings = int(step), json.loads(given)
    if "lora" in settings:
        settings["lora"] = LoRA(**settings["lora"])
    if fault == "kill_in_save":
        original = atomicity.AtomicRenameTemporaryPath.finalize

        async def finalize(self):
            if self.get_final().name == step:
                print("writing", flush=True)
                await asyncio.sleep(600)
            await original(self)

        atomicity.AtomicRenameTemporaryPath.finalize = finalize
    elif fault == "kill_in_step":
        at_step(number, lambda: os.kill(os.getpid(), signal.SIGKILL))
    elif fault == "sigterm":
        at_step(number, lambda: os.kill(os.getpid(), signal.SIGTERM))
    elif fault == "limit":
        at_step(number, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)))
    elif fault == "fill":
        at_step(number, lambda: fill(Path(run)))
    with hosts.one_fate():
        try:
            run_train(Path(run), Path(store), **settings)
        except Exception as error:  # as run_command reports it
            raise SystemExit(f"train: {error}") from error


if __name__ == "__main__":
    main()
