"""Initialise a run: its first parameters, and the files that describe it."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from inters_jax import run_folder
from inters_jax.data import provenance
from inters_jax.data.pass_files import StoreError
from inters_jax.data.token_store import TokenStore, write_json
from inters_jax.models import loading
from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.hf import folder as huggingface
from inters_jax.models.hf.config_json import config_to_hf
from inters_jax.models.lora import base as bases
from inters_jax.models.lora import layers, trainable
from inters_jax.models.prompt_record import RECORD, TEMPLATE, Prompts
from inters_jax.training import step as steps
from seqio_tasks.base import write_text
from seqio_tasks.tokenizer_files import find_tokenizer


def read_parameters(source: str | Path, abstract: steps.Parameters, shardings: Any) -> steps.Parameters:
    """Load the float32 parameters of a Hugging Face folder, or of the newest checkpoint of a run.

    Args:
        source: a local folder, hub name, or run folder.
        abstract: shapes of the parameters, as nested dicts.
        shardings: tree like `abstract`.
    """
    if not run_folder.is_run(source):
        model = huggingface.load(source, param_dtype=jnp.float32, param_shardings=shardings)
        return steps.parameters_of(model)
    if bases.record_of(source) is not None:  # a LoRA run: its update is merged into the weights
        return bases.place(bases.stream_run(source, loading.config_of(source), None), abstract, shardings)
    placed = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, jnp.float32, sharding=sharding),
        abstract,
        shardings,
    )
    return run_folder.restore_params(source, None, placed)


_BLOCK, _BLOCKS = 4096, 256


def start_identity(
    source: str | Path | DecoderConfig, *, random_start: bool, seed: int
) -> dict[str, str] | None:
    """Identifies the weights that a run starts from, wherever they are; None if they are not there any more.

    Of a Hugging Face folder: sizes, headers and evenly spaced blocks of its weight files. Of a run: what it
    was trained on; the run may have newer checkpoints by now.
    """
    if random_start or isinstance(source, DecoderConfig):
        return {"random": str(seed)}
    if run_folder.is_run(source):
        found = run_folder.checkpoint_steps(source)
        if not found:
            return None
        record = run_folder.run_record(source, found[-1])
        names = ("model", "store", "seed", "batch_rows", "max_length", "base", "start")
        text = json.dumps({name: record.get(name) for name in names}, sort_keys=True)
        return {"run": hashlib.sha256(text.encode()).hexdigest()[:16]}
    files = sorted(Path(source).glob("*.safetensors"))
    if not files:
        return None
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{size} ".encode())
        with path.open("rb") as file:
            for number in range(_BLOCKS):
                file.seek(number * max(size - _BLOCK, 0) // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK))
    return {"weights": digest.hexdigest()[:16]}


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
    """Load the frozen part of a LoRA run onto its devices.

    A resumed run keeps the step of its base, even if the base is a run that has newer checkpoints by now.

    Args:
        run: run folder.
        source: of the base, as for `load_model`.
        config: of the decoder.
        settings: of the adapters.
        like: nested dict of shapes with shardings (`Program.frozen`).
        random_start: whether the base has random weights.
        seed: of random weights.

    Returns:
        The record of the base, and the parameters.
    """
    base, before = bases.base_of(source, random=random_start, seed=seed), bases.record_of(run)
    if before is not None and before.base.source == base.source:
        base = before.base
    base = bases.seen_from(base, run)
    frozen, fingerprint = bases.read_frozen(base, config, settings, like)
    return bases.LoraRecord(settings, base, fingerprint), frozen


def describe_lora(record: bases.LoraRecord, trained: steps.Parameters, frozen: steps.Parameters) -> str:
    """A line for the log: what is trained, on which base, and the size of both."""
    settings, count = record.settings, sum(leaf.size for leaf in jax.tree.leaves(trained))
    megabytes = [trainable.size_in_bytes(tree) / 1e6 for tree in (trained, frozen)]
    return (
        f"LoRA of rank {settings.rank}: {count:,} trained values ({megabytes[0]:.1f} MB) on a frozen "
        f"base in {settings.base_dtype} ({megabytes[1]:.1f} MB): {record.base.name}"
    )


def read_prompts(chat_template: str | None, tokenizer: str, store: TokenStore) -> Prompts:
    """How the prompts of a store are written.

    Raises:
        StoreError: the store was made with another chat template than the one given.
    """
    asked = provenance.chat_template_asked(chat_template)
    identity = None if asked == provenance.PLAIN else provenance.chat_template_identity(asked, tokenizer)
    stored = store.manifest["settings"].get("chat_template")
    if stored != identity:
        raise StoreError(
            f"{store.folder}: made with the chat template {stored or provenance.PLAIN}, but CHAT_TEMPLATE is "
            f"{identity or provenance.PLAIN}; use the same template for both"
        )
    return Prompts.asked(asked, tokenizer)


def check_model_folder(run: Path, *, fresh: bool) -> None:
    """Refuse a run folder whose ``model/`` was not written by a run.

    Args:
        run: run folder.
        fresh: whether the run has no checkpoint yet, so that ``model/`` will be replaced: then it may hold
            only files that `write_model_folder` writes, its record of the prompts among them.

    Raises:
        ModelError: names what is in the way.
    """
    folder = run / run_folder.MODEL
    if not folder.exists() and not folder.is_symlink():
        return
    if any(folder.glob("*.safetensors")):
        raise ModelError(f"{folder}: a model of its own, not part of a run; choose another MODEL_DIR")
    if not fresh:
        return
    own = {"config.json", bases.RECORD, RECORD, TEMPLATE, *huggingface.TOKENIZER_FILES}
    foreign: list[Path] = []
    if folder.is_symlink() or not folder.is_dir():
        foreign = [folder]
    elif found := sorted(folder.iterdir()):
        foreign = [path for path in found if path.name not in own or path.is_dir() or path.is_symlink()]
        if not foreign and not _is_record(folder / RECORD):
            foreign = [folder]
    if foreign:
        raise ModelError(
            f"{foreign[0]}: not written by a training run, and {folder} would be replaced by this one; "
            "nothing was removed. Choose another MODEL_DIR, or move the folder"
        )


def _is_record(file: Path) -> bool:
    try:
        return "chat_template" in json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def write_model_folder(
    run: Path,
    config: DecoderConfig,
    tokenizer: str,
    prompts: Prompts,
    record: bases.LoraRecord | None = None,
    *,
    fresh: bool = False,
) -> None:
    """Write ``model/`` of the run folder: all that a checkpoint needs to be loaded as a model.

    An existing folder is kept, unless the run is `fresh`: an earlier start without a checkpoint may have used
    another model or template.

    Args:
        run: run folder.
        config: of the decoder.
        tokenizer: a tokenizer.json, a folder with one, or a hub name.
        prompts: how prompts are written.
        record: of a LoRA run.
        fresh: whether the run has no checkpoint yet.

    Raises:
        ModelError: the folder holds a model of its own, or other files that are not of a run.
    """
    folder = run / run_folder.MODEL
    check_model_folder(run, fresh=fresh)
    if folder.exists() and not fresh:
        if not (folder / RECORD).is_file():  # started by an older version
            prompts.write(folder)
        if record is not None and bases.record_of(run) != record:  # the same base at another place
            write_json(folder / bases.RECORD, record.to_json())
        return
    if folder.exists():
        shutil.rmtree(folder)
    run.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=run, prefix=".model.") as work:
        made = Path(work) / run_folder.MODEL
        made.mkdir()
        write_json(made / "config.json", config_to_hf(config))
        if record is not None:
            write_json(made / bases.RECORD, record.to_json())
        path = Path(tokenizer)
        huggingface.copy_tokenizer(path if path.exists() else find_tokenizer(tokenizer), made)
        prompts.write(made)
        shutil.move(str(made), folder)


def write_operative_config(run: Path, step: int, text: str) -> None:
    """Write ``operative_config.gin``; a different one of an earlier start is kept under another name."""
    file = run / "operative_config.gin"
    if file.exists():
        if file.read_text(encoding="utf-8") == text:
            return
        kept = run / f"operative_config.before_step_{step}.gin"
        number = 1
        while kept.exists():
            number += 1
            kept = run / f"operative_config.before_step_{step}_{number}.gin"
        file.rename(kept)
    write_text(file, text)
