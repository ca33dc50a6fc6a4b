"""What the tests of recipes and experiments share: their commands, tiny backbones, a part of the sample."""

from __future__ import annotations

import dataclasses
import importlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import gin
from flax import nnx

from inters_jax import config
from inters_jax.command_line import parse_arguments, run_command
from inters_jax.experiments import lists, runs
from inters_jax.experiments.lists import Experiment
from inters_jax.experiments.routing import Arguments, reads
from inters_jax.gin_files import search_paths
from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import Decoder
from inters_jax.models.hf import folder as huggingface

ROOT = Path(config.__file__).parents[1]
GIN = ROOT / "gin"
SAMPLE = ROOT / "seqio_tasks" / "sample"
LISTS = {file.stem: lists.read(file) for file in sorted((GIN / "experiments").glob("*.yaml"))}
# "ablations/no_template" -> the experiment
EXPERIMENTS: dict[str, Experiment] = {
    f"{name}/{one.name}": one for name, found in LISTS.items() for one in found.experiments
}
BACKBONES = ("llama2", "llama2_chat", "mistral", "minima", "falcon_rw", "phi2",
             "llama31", "qwen3_4b", "qwen3_8b", "gemma3_4b")  # fmt: skip

# Datasets of the sample with few rows: one at least of each of the twenty tasks, and the seven held-out ones.
PART = (
    "aol", "beir_arguana", "beir_cqadupstack", "beir_dbpedia", "beir_fever", "beir_fiqa", "beir_ms_marco",
    "beir_nfcorpus", "beir_nq", "beir_quora", "beir_scidocs", "climate_fever", "cnn_dm", "codec", "coqa",
    "fever", "fire", "mimics_duo", "msrp", "qrecc", "raocq", "trec_robust04", "trec_web", "trivia_qa", "xsum",
)  # fmt: skip
# One dataset of each group; with trec_web, two of five pairs are answered in words.
JUDGED_PART = ("beir_arguana", "climate_fever", "trec_web")
SCORED_PART = ("beir_arguana", "climate_fever", "orcas_i")


def load(command: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Load a command's configuration as it does itself; the value of every setting, by name."""
    line = parse_arguments(arguments)
    folders = search_paths(line.search_paths)
    return config.values_of(*config.load(command, line.files, line.overrides, folders))


def arguments(experiment: str, step: str, *files: str) -> list[str]:
    """The arguments with which a sweep calls a step of an experiment, with further gin files.

    experiment: LIST/NAME.
    """
    name = experiment.partition("/")[0]
    [run] = [
        run
        for run in runs.runs_of(LISTS[name], Path("sweep"), [0], Arguments(files))
        if run.experiment is EXPERIMENTS[experiment]
    ]
    [command] = [one.command for one in run.steps if one.name == step]
    assert command[1:3] == ("-m", f"inters_jax.{step}")
    return list(command[3:])


def run(command: str, given: Sequence[str], *files: str, **values: Any) -> Any:
    """Run a command in this process, with further gin files and settings.

    given: arguments, perhaps of another command: those that this one does not read are left out.
    """
    names = {word: word.partition("=")[0].removeprefix("--gin.") for word in given if "--gin." in word}
    words = [
        word
        for word in given
        if word not in names or (names[word] not in values and reads(command, names[word]))
    ]
    words += [f"--gin_file={file}" for file in files]
    words += [f"--gin.{name}={value}" for name, value in values.items()]
    gin.clear_config()
    return run_command(getattr(importlib.import_module(f"inters_jax.{command}"), command), words)


def part_of_sample(folder: Path, names: Iterable[str]) -> Path:
    """A raw directory with some of the sample's datasets."""
    for name in names:
        shutil.copytree(SAMPLE / name, folder / name)
    return folder


def shrunk(shape: DecoderConfig) -> DecoderConfig:
    """The same family and arithmetic in small: widths, layers, vocabulary and windows are cut.

    Ratios stay: heads to key heads, the width of all heads to that of the model, the rotated share of a head,
    the order of layers with and without a window.
    """
    width, heads = 80, 4
    head = width // heads * shape.num_heads * shape.head_dim // shape.hidden_size
    windows = shape.sliding_layers[:6]
    return dataclasses.replace(
        shape,
        vocab_size=4096,
        hidden_size=width,
        intermediate_size=96,
        num_layers=len(windows) or 2,
        num_heads=heads,
        num_kv_heads=max(1, heads * shape.num_kv_heads // shape.num_heads),
        head_dim=head,
        rotary_dim=head * shape.rotary_dim // shape.head_dim,
        sliding_window=shape.sliding_window and shape.sliding_window // 32,
        sliding_layers=windows,
        bos_id=1,
        eos_id=2,
        stop_ids=(),
        pad_id=None,
    )


def save_tiny(shape: DecoderConfig, folder: Path) -> Path:
    """A model folder with random weights and the sample's tokenizer."""
    return huggingface.save(Decoder(shape, rngs=nnx.Rngs(params=0)), folder, tokenizer=SAMPLE / "tokenizer")
