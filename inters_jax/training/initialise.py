"""The beginning of a run: its first parameters, and the files that say what it is."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from inters_jax.data import provenance
from inters_jax.data.token_store import StoreError, TokenStore, write_json
from inters_jax.models import loading
from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.decoder import Decoder
from inters_jax.models.hf import folder as huggingface
from inters_jax.models.lora import base as bases
from inters_jax.models.lora import layers
from inters_jax.models.prompt_record import RECORD, Prompts
from inters_jax.training import step as steps
from inters_jax.training import trainable
from inters_jax.training.checkpoints import restore_params
from seqio_tasks.base import write_text


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
    if bases.record_of(source) is not None:  # a LoRA run: its update becomes part of the weights
        return bases.place(bases.stream_run(source, loading.config_of(source), None), abstract, shardings)
    placed = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, jnp.float32, sharding=sharding),
        abstract,
        shardings,
    )
    return restore_params(source, None, placed)


def adapter_parameters(abstract: steps.Parameters, seed: int, shardings: Any) -> steps.Parameters:
    """The trained part of a fresh LoRA run."""
    return layers.start(abstract, seed, shardings)


def read_base(
    run: Path,
    source: str | Path | DecoderConfig,
    config: DecoderConfig,
    settings: layers.LoRA,
    like: steps.Parameters,
    *,
    random_start: bool,
    seed: int,
) -> tuple[bases.LoraRecord, steps.Parameters]:
    """The frozen part of a LoRA run on its devices, and the record that names it.

    A run that is continued keeps the step of its base, when that is a run which has gone on since.
    """
    base, before = bases.base_of(source, random=random_start, seed=seed), bases.record_of(run)
    if before is not None and before.base.source == base.source:
        base = before.base
    frozen, fingerprint = bases.read_frozen(base, config, settings, like)
    return bases.LoraRecord(settings, base, fingerprint), frozen


def describe_lora(record: bases.LoraRecord, trained: steps.Parameters, frozen: steps.Parameters) -> str:
    """One line: what is trained, beside which base, and the bytes of both."""
    settings, count = record.settings, sum(leaf.size for leaf in jax.tree.leaves(trained))
    megabytes = [trainable.size_in_bytes(tree) / 1e6 for tree in (trained, frozen)]
    return (
        f"LoRA of rank {settings.rank}: {count:,} trained values ({megabytes[0]:.1f} MB) beside a frozen "
        f"base in {settings.base_dtype} ({megabytes[1]:.1f} MB): {record.base.name}"
    )


def read_prompts(chat_template: str | None, tokenizer: str, store: TokenStore) -> Prompts:
    """How the prompts of a store are written, in full; a store made otherwise than asked for is refused."""
    asked = provenance.chat_template_asked(chat_template)
    identity = None if asked == provenance.PLAIN else provenance.chat_template_identity(asked, tokenizer)
    stored = store.manifest["settings"].get("chat_template")
    if stored != identity:
        raise StoreError(
            f"{store.folder}: made with the chat template {stored or provenance.PLAIN}, CHAT_TEMPLATE is "
            f"{identity or provenance.PLAIN}; name the same template for both"
        )
    return Prompts.asked(asked, tokenizer)


def write_model_folder(
    run: Path,
    config: DecoderConfig,
    tokenizer: str,
    prompts: Prompts,
    record: bases.LoraRecord | None = None,
    *,
    fresh: bool = False,
) -> None:
    """``model/`` of the run folder: config.json, tokenizer, prompts; what a checkpoint needs to be a model.

    A LoRA run also keeps what it is made of. A folder that is there stays, unless the run is `fresh`: what an
    earlier start without a checkpoint has left may be of another model or template.
    """
    folder = run / loading.RUN_MODEL
    if any(folder.glob("*.safetensors")):
        raise ModelError(f"{folder}: is a model of its own, not a part of a run; choose another MODEL_DIR")
    if folder.exists() and not fresh:
        if not (folder / RECORD).is_file():  # of a run that an older version began
            prompts.write(folder)
        return
    shutil.rmtree(folder, ignore_errors=True)
    run.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=run, prefix=".model.") as work:
        made = Path(work) / loading.RUN_MODEL
        made.mkdir()
        write_json(made / "config.json", config.to_hf())
        if record is not None:
            write_json(made / bases.RECORD, record.to_json())
        path = Path(tokenizer)
        huggingface.copy_tokenizer(path if path.exists() else huggingface.folder_of(tokenizer), made)
        prompts.write(made)
        shutil.move(str(made), folder)


def write_operative_config(run: Path, step: int, text: str) -> None:
    """``operative_config.gin``; another one from an earlier start of the run stays under its own name."""
    file = run / "operative_config.gin"
    if file.exists():
        if file.read_text(encoding="utf-8") == text:
            return
        file.replace(run / f"operative_config.before_step_{step}.gin")
    write_text(file, text)
