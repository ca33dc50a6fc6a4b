"""The beginning of a run: its first parameters, and the files that say what it is."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from inters_jax.config import operative_config
from inters_jax.data.token_store import write_json
from inters_jax.models import huggingface, loading
from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import Decoder
from inters_jax.training import step as steps
from inters_jax.training.checkpoints import restore_params


def random_parameters(config: DecoderConfig, seed: int, shardings: Any) -> steps.Parameters:
    """Random float32 parameters, each device making its own part."""

    def start() -> steps.Parameters:
        return steps.parameters_of(Decoder(config, rngs=nnx.Rngs(params=seed)))

    # Run once: on CPUs optimising this program takes three times as long as running it unoptimised.
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return jax.jit(start, out_shardings=shardings, compiler_options=options)()


def read_parameters(source: str | Path, abstract: steps.Parameters, shardings: Any) -> steps.Parameters:
    """Float32 parameters of a Hugging Face folder or of the newest checkpoint of a run, on their devices."""
    if not loading.is_run(source):
        model = huggingface.load(source, param_dtype=jnp.float32, param_shardings=shardings)
        return steps.parameters_of(model)
    placed = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, jnp.float32, sharding=sharding),
        abstract,
        shardings,
    )
    return restore_params(source, None, placed)


def write_model_folder(run: Path, config: DecoderConfig, tokenizer: str) -> None:
    """``model/`` of the run folder: config.json and tokenizer, what a checkpoint needs to be a model."""
    folder = run / loading.RUN_MODEL
    if folder.exists():
        return
    run.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=run, prefix=".model.") as work:
        made = Path(work) / loading.RUN_MODEL
        made.mkdir()
        write_json(made / "config.json", config.to_hf())
        path = Path(tokenizer)
        huggingface.copy_tokenizer(path if path.exists() else huggingface.folder_of(tokenizer), made)
        shutil.move(str(made), folder)


def write_operative_config(run: Path, step: int) -> None:
    """``operative_config.gin``; another one from an earlier start of the run stays under its own name."""
    file = run / "operative_config.gin"
    text = operative_config()
    if file.exists():
        if file.read_text(encoding="utf-8") == text:
            return
        file.replace(run / f"operative_config.before_step_{step}.gin")
    partial = file.with_name(file.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)
