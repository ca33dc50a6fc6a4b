"""What a run consists of before its first step: its folder, data, program, and first parameters."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from inters_jax import mesh as meshes
from inters_jax import paths, run_folder
from inters_jax.config import values_of
from inters_jax.data import provenance
from inters_jax.data.loader import PackedBatches
from inters_jax.data.token_store import TokenStore
from inters_jax.models import loading, precision
from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import random_parameters
from inters_jax.models.hf import folder as huggingface
from inters_jax.models.hf.config_json import config_to_hf
from inters_jax.models.lora.base import LoraRecord
from inters_jax.models.lora.layers import LoRA, adapter_parameters, target_paths
from inters_jax.models.prompt_record import Prompts
from inters_jax.run_folder import CheckpointError, checkpoint_steps
from inters_jax.settings.training import (
    DataSettings,
    LengthSettings,
    ModelSettings,
    OptimizerSettings,
    RankingLossSettings,
    RetentionSettings,
    RunSettings,
    StepSettings,
    StoreSettings,
)
from inters_jax.training import prepare_store
from inters_jax.training import step as steps
from inters_jax.training.initialise import (
    check_model_folder,
    read_base,
    read_parameters,
    read_prompts,
    start_identity,
)
from inters_jax.training.optimizer import identity_of as optimizer_identity
from inters_jax.training.program import Program, build_program
from inters_jax.training.ranking_losses import RankingLoss, settings_of
from inters_jax.training.ranking_step import Ranking
from inters_jax.training.utilisation import Utilisation
from seqio_tasks import hub_names
from seqio_tasks.base import UserError, locked
from seqio_tasks.tokenizer_files import load as load_tokenizer
from seqio_tasks.tokenizer_files import local_tokenizer

LOCK = ".train.lock"


@dataclasses.dataclass(frozen=True)
class Start:
    """Where a run begins.

    run: its folder, here or the mirror of a URL. source: of the first parameters, or a bare shape.
    steps: of the checkpoints that are there. first: whether this host writes the files of the run.
    """

    run: Path
    source: str | Path | DecoderConfig
    tokenizer: str
    steps: list[int]
    first: bool
    random: bool

    @property
    def done(self) -> int:
        """The step of the newest checkpoint."""
        return self.steps[-1] if self.steps else 0


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a run is made of before its parameters are read; `prompts` are known to the first host only."""

    start: Start
    mesh: Mesh
    config: DecoderConfig
    store: TokenStore
    prompts: Prompts
    batches: PackedBatches
    program: Program
    store_check: str = ""  # what `TokenStore.verify` says

    @property
    def total(self) -> int:
        """Optimiser steps of the whole run."""
        return self.batches.total_steps or 0


def set_up(
    run: RunSettings,
    model: ModelSettings,
    data: DataSettings,
    length: LengthSettings,
    step: StepSettings,
    optimizer: OptimizerSettings,
    ranking: RankingLossSettings,
) -> Setup:
    """Everything of a run but its parameters: store, batches and the program of its step."""
    mesh = meshes.make_mesh(step.mesh)
    rules = meshes.AxisRules(step.axis_rules, step.activation_axis_rules)
    meshes.check_batch(mesh, step.batch_size, step.microbatches)
    start = open_start(run, model, data)
    config, store = prepared(start, model, data, length, ranking)
    store_check = store.verify(whole=run.verify_store)
    batches = PackedBatches(
        store,
        batch_rows=step.batch_size,
        max_length=length.max_length,
        seed=data.seed,
        steps=run.train_steps,
        epochs=run.epochs if run.train_steps is None else None,
        host_rows=meshes.host_rows(mesh, step.batch_size),
    )
    program = build_program(
        config,
        device_mesh=mesh,
        optimizer=optimizer,
        total_steps=batches.total_steps or 0,
        batch_size=step.batch_size,
        max_length=length.max_length,
        dtype=step.dtype,
        remat=step.remat,
        microbatches=step.microbatches,
        max_logits=step.max_logits,
        attention=step.attention,
        lora=model.lora,
        noise_seed=data.seed,
        rules=rules,
        splash_blocks=step.splash_blocks,
        ranking=ranking_of(ranking, batches),
    )
    prompts = read_prompts(data.chat_template, start.tokenizer, store) if start.first else Prompts()
    return Setup(start, mesh, config, store, prompts, batches, program, store_check)


def check_loss(loss: RankingLoss | None, store: TokenStore) -> None:
    """Refuse a ranking loss without documents to rank, documents without a loss, and an absent teacher.

    Raises:
        UserError: LOSS and the tasks of the store do not belong together.
    """
    tasks = store.tasks_with_documents()
    if loss is None and tasks:
        raise UserError(
            f"{', '.join(tasks[:3])}: the documents of a query are trained by a ranking loss, but LOSS is "
            "None; set LOSS=@RankNet(), or name tasks without _documents (MIXTURE_OR_TASK_NAME)"
        )
    if loss is None:
        return
    name = type(loss).__name__
    if not tasks:
        raise UserError(
            f"LOSS=@{name}() compares documents of a query, and no task of {store.folder} has any; train a "
            "ranking pair as PAIR_documents or the mixture inters_documents (MIXTURE_OR_TASK_NAME)"
        )
    if loss.needs_teacher and (without := store.tasks_without_teacher()):
        raise UserError(
            f"LOSS=@{name}() learns from the scores of a teacher, and {', '.join(without[:3])} has none in "
            f"{store.folder}; name their file (TEACHER)"
        )


def ranking_of(settings: RankingLossSettings, batches: PackedBatches) -> Ranking | None:
    """The ranking part of the step; None without a ranking loss."""
    if settings.loss is None or batches.document_slots is None:
        return None
    answers = batches.store.manifest["judgment"]
    tokens = (answers["yes"], answers["no"])
    return Ranking(settings.loss, settings.loss_weight, tokens, batches.document_slots)


def compute_type_of(run: RunSettings, step: StepSettings) -> str:
    """The compute type of a run; with "auto", a run that continues keeps that of its checkpoints."""
    if step.dtype == precision.AUTO:
        folder = run_folder_of(run)
        for done in reversed(checkpoint_steps(folder)):
            with contextlib.suppress(CheckpointError):
                return str(run_folder.run_record(folder, done)["dtype"])
    return precision.resolve(step.dtype)


def lora_base(setup: Setup, lora: LoRA, seed: int) -> tuple[LoraRecord, steps.Parameters]:
    """The record of a LoRA run, and its frozen base on the devices."""
    start = setup.start
    return read_base(
        start.run,
        start.source,
        setup.config,
        lora,
        setup.program.frozen,
        random_start=start.random,
        seed=seed,
    )


def identity_of(
    setup: Setup,
    data: DataSettings,
    length: LengthSettings,
    step: StepSettings,
    optimizer: OptimizerSettings,
    retention: RetentionSettings,
    ranking: RankingLossSettings,
    record: LoraRecord | None,
) -> dict[str, Any]:
    """What may not change when a run is resumed, and more that its checkpoints record."""
    start = setup.start
    return {
        "model": run_folder.config_hash(config_to_hf(setup.config)),
        "store": setup.store.fingerprint,
        "seed": data.seed,
        "batch_rows": step.batch_size,
        "max_length": length.max_length,
        "total_steps": setup.total,
        **optimizer_identity(optimizer),
        "dtype": step.dtype,
        "microbatches": step.microbatches,
        "keep_best": retention.keep_best,
        **(
            {}
            if ranking.loss is None
            else {"ranking": {**settings_of(ranking.loss), "weight": ranking.loss_weight}}
        ),
        "hub": None if isinstance(start.source, DecoderConfig) else hub_names.of_folder(start.source),
        **(
            {"start": start_identity(start.source, random_start=start.random, seed=data.seed)}
            if record is None
            else {"base": record.fingerprint, "lora": record.to_json()["lora"]}
        ),
    }


def utilisation_of(setup: Setup, model: ModelSettings, compute_type: str) -> Utilisation:
    """Counts the operations that the model needs; of a LoRA run those for its trained values."""
    trained = None
    if model.lora is not None:
        trained = sum(leaf.size for leaf in jax.tree.leaves(setup.program.like.params))
    return Utilisation(setup.config, list(setup.mesh.devices.flat), trained, compute_type)


def run_folder_of(run: RunSettings) -> Path:
    """The folder of a run, or the mirror of its URL.

    Raises:
        UserError: MODEL_DIR is empty, which would mean the working directory.
    """
    if not str(run.model_dir).strip():
        raise UserError("MODEL_DIR is empty; name a folder for the run")
    return paths.local(run.model_dir)


@contextlib.contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Inside the block no other `train` uses this run folder; held by the first host.

    Raises:
        AlreadyLocked: another process trains in this folder.
        UserError: the folder cannot be written.
    """
    if jax.process_index() > 0:
        yield
        return
    with contextlib.ExitStack() as lock:
        try:
            lock.enter_context(
                locked(
                    folder / LOCK,
                    busy=f"{folder}: another train is running in this MODEL_DIR; wait for it, stop it, or "
                    "choose another MODEL_DIR",
                )
            )
        except OSError as error:
            raise UserError(f"{folder}: MODEL_DIR cannot be written ({error.strerror or error})") from error
        yield


def open_start(run: RunSettings, model: ModelSettings, data: DataSettings) -> Start:
    """The folder of a run and what it starts from."""
    folder = run_folder_of(run)
    source: str | Path | DecoderConfig = model.model
    if not isinstance(source, DecoderConfig):
        name = str(paths.localized(source))
        source = name if run_folder.is_run(name) else huggingface.folder_of(name)
    steps = list(checkpoint_steps(folder))
    check_model_folder(folder, fresh=not steps)
    if steps and run_folder.is_run(folder):
        loading.config_of(folder)  # model/ is kept, and may have been changed since
    return Start(
        run=folder,
        source=source,
        tokenizer=str(_tokenizer_of(source)) if data.tokenizer is None else data.tokenizer,
        steps=steps,
        first=jax.process_index() == 0,
        random=run.init == "random",
    )


def prepared(
    start: Start,
    model: ModelSettings,
    data: DataSettings,
    length: LengthSettings,
    ranking: RankingLossSettings,
) -> tuple[DecoderConfig, TokenStore]:
    """The shape of the model and the token store, which is prepared by another process if it is missing.

    Raises:
        UserError: the settings do not belong together; what can be said before preparing is said before.
    """
    if ranking.loss is not None and not isinstance(ranking.loss, RankingLoss):
        raise UserError(f"LOSS={ranking.loss!r:.80} is no ranking loss; set LOSS=@RankNet(), for example")
    folder = paths.local(data.store_dir or paths.join(paths.origin(start.run), "store"))
    # A store inside a run that has no checkpoint yet belongs to nothing else: it may be replaced.
    existing = StoreSettings(rebuild=data.store_dir is None and not start.steps)
    resolved = dataclasses.replace(data, store_dir=str(folder), tokenizer=start.tokenizer)
    config = loading.config_of(start.source)
    check_sizes(config, start, length)
    if model.lora is not None:
        target_paths(config, model.lora.targets)
    preparation = prepare_store.start_preparing(values_of(resolved, length, existing))
    try:
        store = preparation.wait()
    finally:
        preparation.stop()
    _check_vocabulary(config, store.manifest["tokenizer"]["vocab_size"], start.tokenizer)
    check_loss(ranking.loss, store)
    if isinstance(start.source, DecoderConfig):  # a bare shape has no tokenizer of its own
        ends = store.manifest["tokenizer"]
        config = dataclasses.replace(config, bos_id=ends["bos_id"], eos_id=ends["eos_id"], stop_ids=())
    return config, store


def first_state(setup: Setup, *, lora: bool, seed: int) -> steps.TrainState:
    """The state of step 0: fresh adapters, random parameters, or those of the source."""
    program, start = setup.program, setup.start
    shardings = program.shardings
    if lora:
        params = adapter_parameters(program.like.params, seed, shardings.params)
    elif start.random or isinstance(start.source, DecoderConfig):
        params = random_parameters(setup.config, seed, shardings.params)
    else:
        params = read_parameters(start.source, program.structure.abstract(), shardings.params)
    return steps.init_state(params, program.transformation, shardings)


def _tokenizer_of(source: str | Path | DecoderConfig) -> str | Path:
    if isinstance(source, DecoderConfig):
        return provenance.tokenizer_source(None)
    return Path(source) / run_folder.MODEL if run_folder.is_run(source) else source


def check_sizes(config: DecoderConfig, start: Start, length: LengthSettings) -> None:
    """Refuse sequences that are too long for the model, and a tokenizer with more tokens than it has.

    Raises:
        UserError: MAX_LENGTH or TOKENIZER do not belong to MODEL.
    """
    config.check_length(length.max_length)
    if start.first and (file := local_tokenizer(start.tokenizer)) is not None:
        stat = file.stat()
        try:
            size = load_tokenizer(str(file), stat.st_mtime_ns, stat.st_size).size
        except (UserError, KeyError):  # prepare, which has to use it, says what is wrong
            return
        _check_vocabulary(config, size, start.tokenizer)


def _check_vocabulary(config: DecoderConfig, size: int, tokenizer: str) -> None:
    if size > config.vocab_size:
        raise UserError(
            f"the tokenizer {tokenizer} has {size} tokens, the model has embeddings for {config.vocab_size}"
            " only: they do not belong together (TOKENIZER, MODEL; of a bare shape DecoderConfig.vocab_size)"
        )
