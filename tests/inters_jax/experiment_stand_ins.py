"""What the tests of experiment files share: their own commands, tiny backbones, a part of the sample."""

from __future__ import annotations

import dataclasses
import importlib
import re
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gin
from flax import nnx

from inters_jax import config
from inters_jax.command_line import run_command
from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import Decoder
from inters_jax.models.hf import folder as huggingface

ROOT = Path(config.__file__).parents[1]
EXPERIMENTS = ROOT / "gin" / "experiments"
SAMPLE = ROOT / "seqio_tasks" / "sample"
FILES = sorted(file.name for file in EXPERIMENTS.glob("*.gin"))

# Datasets of the sample with few rows: one at least of each of the twenty tasks, and the seven held-out ones.
PART = (
    "aol", "beir_arguana", "beir_cqadupstack", "beir_dbpedia", "beir_fever", "beir_fiqa", "beir_ms_marco",
    "beir_nfcorpus", "beir_nq", "beir_quora", "beir_scidocs", "climate_fever", "cnn_dm", "codec", "coqa",
    "fever", "fire", "mimics_duo", "msrp", "qrecc", "raocq", "trec_robust04", "trec_web", "trivia_qa", "xsum",
)  # fmt: skip
# One dataset of each group; with trec_web, two of five pairs are answered in words.
JUDGED_PART = ("beir_arguana", "climate_fever", "trec_web")
SCORED_PART = ("beir_arguana", "climate_fever", "orcas_i")


def commands(name: str) -> list[tuple[str, list[str]]]:
    """The commands of a file's header: (command, its arguments)."""
    text = (EXPERIMENTS / name).read_text(encoding="utf-8")
    return [
        (match[1], shlex.split(match[2])) for match in re.finditer(r"python -m inters_jax\.(\w+) (.*)", text)
    ]


def load(command: str, arguments: list[str]) -> None:
    """Load a command's configuration as it does itself, and run nothing."""
    gin.clear_config()
    function = getattr(importlib.import_module(f"inters_jax.{command}"), command)
    name, _ = config._make_configurable(function)
    config.load_config(name, config.parse_arguments(arguments))
    config._require_arguments(name, function)


def macro(name: str) -> Any:
    return gin.query_parameter(f"{name}/gin.macro.value")


def run(name: str, command: str, *files: str, header: str | None = None, **values: Any) -> Any:
    """Run a command of a file's header in this process, with further gin files, and macros set anew.

    header: whose arguments are taken, where the file's header shows another command.
    """
    own = dict(commands(name))[header or command]
    arguments = [word for word in own if word.partition("=")[0].removeprefix("--gin.") not in values]
    arguments += [f"--gin_file={file}" for file in files]
    arguments += [f"--gin.{macro}={value}" for macro, value in values.items()]
    gin.clear_config()
    return run_command(getattr(importlib.import_module(f"inters_jax.{command}"), command), arguments)


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
