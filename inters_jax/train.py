"""`python -m inters_jax.train`: instruction-tune a decoder on a SeqIO task or mixture.

    python -m inters_jax.train --gin_file=mistral.gin --gin.MODEL_DIR=runs/mistral --gin.RAW_DIR=/data/inters

The token store is prepared when it is missing. Starting the same command again continues from the newest
checkpoint, to the bit. The run folder:

    model/                     config.json, tokenizer, chat template (if used): with a checkpoint, a whole
                               model
    checkpoints/<step>/        parameters, optimiser state, what they belong to
    store/                     the token store, unless STORE_DIR names another place
    operative_config.gin       every value in force
    metrics.jsonl              one line per record; tensorboard/ has the same as events
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import jax

from inters_jax import hosts, paths
from inters_jax import mesh as meshes
from inters_jax.config import run_command
from inters_jax.data import provenance
from inters_jax.data.loader import PackedBatches
from inters_jax.data.token_store import TokenStore
from inters_jax.models import loading
from inters_jax.models.config import DecoderConfig
from inters_jax.models.hf import folder
from inters_jax.models.lora.layers import LoRA
from inters_jax.models.prompt_record import Prompts, chat_template_of, of_model
from inters_jax.training import gin_bindings, loss, prepare_store
from inters_jax.training import step as steps
from inters_jax.training.checkpoints import Checkpoints, checkpoint_steps, config_hash
from inters_jax.training.compiling import CompileAhead
from inters_jax.training.hooks import FirstStep, Report
from inters_jax.training.in_run_evaluation import EARLY_STOP, MEAN_HEADLINE, Evaluation, Schedule
from inters_jax.training.initialise import (
    adapter_parameters,
    describe_lora,
    random_parameters,
    read_base,
    read_parameters,
    read_prompts,
    write_model_folder,
    write_operative_config,
)
from inters_jax.training.loop import Outcome, run_training
from inters_jax.training.metrics import MetricWriter, read_metrics
from inters_jax.training.optimizer import OptimizerSettings
from inters_jax.training.profiling import Profiler, parse_steps
from inters_jax.training.program import build_program
from inters_jax.training.progress import Progress
from inters_jax.training.reader import Reader
from inters_jax.training.retention import Best
from inters_jax.training.saving import Save
from inters_jax.training.trackers import WandB
from inters_jax.training.utilisation import Utilisation
from seqio_tasks.base import UserError

STARTS = ("pretrained", "random")

# The exit code of a run that a signal has stopped, for those who start it again until it is done
# (scripts/tpu); 0 unless this variable of the environment is set.
STOPPED_EXIT = "INTERS_STOPPED_EXIT"


def train(
    model: str | DecoderConfig,
    model_dir: str,
    init: str = "pretrained",
    tokenizer: str | None = None,
    raw_dir: str | None = None,
    mixture_or_task_name: str = "inters",
    store_dir: str | None = None,
    passes: int = 1,
    epochs: int | None = 3,
    train_steps: int | None = None,
    batch_size: int = 8,
    microbatches: int = 1,
    max_length: int = 2048,
    optimizer: OptimizerSettings | None = None,
    lora: LoRA | None = None,
    seed: int = 0,
    dtype: str = "bfloat16",
    remat: str = "full",
    mesh: str = "fsdp=-1",
    max_logits: int = loss.MAX_LOGITS,
    attention: str = "auto",
    checkpoint_every: int = 500,
    keep_checkpoints: int = 2,
    keep_every: int | None = None,
    keep_best: str | None = None,
    skip_non_finite: int = 5,
    log_every: int = 10,
    tensorboard: bool = True,
    chat_template: str | None = None,
    wandb: str | None = None,
    profile_steps: str | int | None = None,
    eval_every: int | None = None,
    eval_tasks: str | None = None,
    eval_split: str = "validation",
    eval_examples: int | None = 100,
    eval_max_new_tokens: int = 64,
    early_stop: int | None = None,
) -> dict[str, Any]:
    """Tune a model and return the last record of its metrics.

    Args:
        model: Hugging Face folder or hub name, a run folder of ours, or a `DecoderConfig`.
        model_dir: the run folder; a run that is in it already is continued.
        init: "pretrained", or "random" to take only the shape of `model`.
        tokenizer: tokenizer.json, a folder with one, or a hub name; None: the model's own, or the packaged
            sample's for a `DecoderConfig`.
        raw_dir: folder of the official files; None: the packaged sample.
        mixture_or_task_name: SeqIO task or mixture.
        store_dir: token store; None: ``store`` in the run folder.
        passes: renderings of every example in the store, each with fresh templates and demonstrations.
        epochs: length of the run, unless `train_steps` is given.
        train_steps: length of the run in optimiser steps.
        batch_size: packed rows per optimiser step, over all devices.
        microbatches: parts into which a batch is cut to save memory; the result is the same.
        max_length: positions of a row, and the longest sequence.
        optimizer: the optimiser and its settings; None: those of the recipe.
        lora: train low-rank updates beside a frozen, perhaps quantised base; None: train every parameter.
        seed: of data order, templates and random starts.
        dtype: what activations and matrix products are computed in; parameters and moments are float32.
        remat: what the backward pass computes again: "none", "dots", "attention", "full", "offload" or
            "offload_dots" (`inters_jax.models.remat`).
        mesh: devices by axis, such as "fsdp=-1" or "fsdp=4,tensor=2".
        max_logits: logits that may exist at once on a device; more are computed in chunks.
        attention: "auto" (by hardware), "xla", "splash" (TPU), "cudnn" (GPU) or "reference".
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: how many of the newest stay (step 0 of a random start stays as well).
        keep_every: checkpoints of multiples of this many steps stay for good; None: no such rule.
        keep_best: "min:METRIC" or "max:METRIC", such as "min:loss": the best checkpoint stays; None: no such
            rule.
        skip_non_finite: steps whose loss or gradient is not finite are skipped; so many in a row end the run
            (0: already the first).
        log_every: steps between records.
        tensorboard: whether to write event files.
        chat_template: None for plain prompts, "tokenizer" or a file, as for `prepare`; kept in the run
            folder, where `evaluate` and others find it.
        wandb: Weights & Biases project that gets the records as well; None: none.
        profile_steps: steps to trace, such as "10:13" for 10, 11 and 12; None: none.
        eval_every: steps between evaluations in the run; None: no evaluation.
        eval_tasks: tasks or mixtures to judge, separated by commas; None: those that are trained on.
        eval_split: split to judge on.
        eval_examples: questions per task; None: all.
        eval_max_new_tokens: limit of a generated answer.
        early_stop: evaluations without a better one that end the run; None: never. Better is what `keep_best`
            says of a metric ``eval/...``, otherwise the mean of the headline metrics, ``eval/mean``.
    """
    _check_settings(model, init, epochs, train_steps)
    gin_bindings.join_hosts()
    evaluating = _evaluation_schedule(
        eval_every,
        tasks=eval_tasks or mixture_or_task_name,
        split=eval_split,
        examples=eval_examples,
        patience=early_stop,
        max_new_tokens=eval_max_new_tokens,
        keep_best=keep_best,
    )
    if profile_steps is not None:
        parse_steps(profile_steps)  # refuse a wrong value before anything is loaded
    run, random_start, first = paths.local(model_dir), init == "random", jax.process_index() == 0
    store_folder = paths.local(store_dir or paths.join(paths.origin(run), "store"))
    device_mesh = meshes.make_mesh(mesh)
    meshes.check_batch(device_mesh, batch_size, microbatches)
    source = model if isinstance(model, DecoderConfig) else _local(paths.localized(model))
    tokenizer = str(_tokenizer_of(source)) if tokenizer is None else tokenizer
    found = checkpoint_steps(run)
    preparation = prepare_store.start_preparing(
        {
            "STORE_DIR": str(store_folder),
            "TOKENIZER": tokenizer,
            "RAW_DIR": raw_dir,
            "MIXTURE_OR_TASK_NAME": mixture_or_task_name,
            "MAX_LENGTH": max_length,
            "SEED": seed,
            "PASSES": passes,
            "CHAT_TEMPLATE": chat_template,
            **gin_bindings.prepare_values(),
        },
        # A store inside a run that has no checkpoint yet belongs to nothing else: it may be made anew.
        rebuild=store_dir is None and not found,
    )
    try:
        config = loading.config_of(source)
        store = preparation.wait()
    finally:
        preparation.stop()
    _check_vocabulary(config, store, tokenizer)
    prompts = read_prompts(chat_template, tokenizer, store) if first else Prompts()
    if isinstance(source, DecoderConfig):  # a bare shape knows no tokenizer: it takes on the ends of this one
        ends = store.manifest["tokenizer"]
        config = dataclasses.replace(config, bos_id=ends["bos_id"], eos_id=ends["eos_id"], stop_ids=())
    batches = PackedBatches(
        store,
        batch_rows=batch_size,
        max_length=max_length,
        seed=seed,
        steps=train_steps,
        epochs=epochs if train_steps is None else None,
        host_rows=meshes.host_rows(device_mesh, batch_size),
    )
    total = batches.total_steps or 0
    optimizer = optimizer or OptimizerSettings()
    program = build_program(
        config,
        device_mesh=device_mesh,
        optimizer=optimizer,
        total_steps=total,
        batch_size=batch_size,
        max_length=max_length,
        dtype=dtype,
        remat=remat,
        microbatches=microbatches,
        max_logits=max_logits,
        attention=attention,
        lora=lora,
        noise_seed=seed,
    )
    shardings = program.shardings
    progress = Progress(total, found[-1] if found else 0, visible=first)
    progress.line(f"mesh: {meshes.describe(device_mesh)}; compute {dtype}, parameters float32")
    progress.line(_describe_data(batches, store, total))
    before = of_model(source) if first else None
    if before is not None and before.sha256 != prompts.sha256:
        progress.line(f"MODEL was trained with {before}, this run trains with {prompts} (CHAT_TEMPLATE)")
    train_step = program.compiled_step(progress.line)
    compile_ahead = CompileAhead(train_step, batches, total)
    compile_ahead.compile_for(found[-1] if found else 0)  # while the parameters are read
    record = frozen = None
    if lora is not None:
        record, frozen = read_base(
            run, source, config, lora, program.frozen, random_start=random_start, seed=seed
        )
        train_step.hold(frozen)
        progress.line(describe_lora(record, program.like.params, frozen))
    identity = {
        "model": config_hash(config.to_hf()),
        "store": store.fingerprint,
        "seed": seed,
        "batch_rows": batch_size,
        "max_length": max_length,
        "total_steps": total,
        "optimizer_kind": optimizer.kind,
        "optimizer": dataclasses.asdict(optimizer),
        "dtype": dtype,
        "microbatches": microbatches,
        "keep_best": keep_best,
        **({} if record is None else {"base": record.fingerprint, "lora": record.to_json()["lora"]}),
    }
    checkpoints = Checkpoints(
        run,
        identity,
        keep=keep_checkpoints,
        keep_first=random_start,
        keep_every=keep_every,
        keep_best=keep_best,
    )
    writer = None
    try:
        state = checkpoints.restore(program.like) if found else None
        if state is not None:
            progress.line(f"continuing from the checkpoint of step {int(state.step)}")
        else:
            params = (
                adapter_parameters(program.like.params, seed, shardings.params)
                if lora is not None
                else random_parameters(config, seed, shardings.params)
                if random_start or isinstance(source, DecoderConfig)
                else read_parameters(source, program.structure.abstract(), shardings.params)
            )
            state = steps.init_state(params, program.transformation, shardings)
            del params
            if random_start:
                checkpoints.save(state)
        step = int(state.step)
        if first:
            write_model_folder(run, config, tokenizer, prompts, record, fresh=not found)
            write_operative_config(run, step)
            trackers = (
                [] if wandb is None else [WandB(wandb, run, identity | {"mixture": mixture_or_task_name})]
            )
            writer = MetricWriter(run, resume_step=step, tensorboard=tensorboard, trackers=trackers)
        if step >= total:
            progress.line(f"{paths.origin(run)} has all its {total} steps; nothing to do")
            return {"step": step}
        evaluation = None
        if evaluating is not None:
            evaluation = Evaluation(
                evaluating,
                config,
                device_mesh,
                dtype=dtype,
                lora=lora,
                frozen=frozen,
                ends=store.manifest["tokenizer"],
                data={
                    "tokenizer": tokenizer,
                    "max_length": max_length,
                    "seed": seed,
                    "raw_dir": raw_dir,
                    "chat_template": chat_template_of(run),
                },
                history=read_metrics(run),
                announce=progress.line,
            )
            if evaluation.exhausted:
                progress.line(
                    f"{paths.origin(run)}: ended by EARLY_STOP={early_stop} after step {step}; nothing to do"
                )
                return {"step": step}
        outcome = run_training(
            state,
            train_step=train_step,
            batches=batches,
            mesh=device_mesh,
            total_steps=total,
            reader=Reader(
                batches,
                run,
                schedule=program.schedule,
                utilisation=Utilisation(
                    config,
                    list(device_mesh.devices.flat),
                    None if lora is None else sum(leaf.size for leaf in jax.tree.leaves(program.like.params)),
                ),
                skip_non_finite=skip_non_finite,
                announce=progress.line,
            ),
            hooks=[
                compile_ahead,
                *([] if profile_steps is None else [Profiler(profile_steps, run, progress.line)]),
                FirstStep(progress.line),
                *([] if evaluation is None else [evaluation]),
                Report(log_every, progress, writer),
                Save(checkpoint_every, checkpoints),
            ],
        )
        best = checkpoints.best()
    finally:
        progress.close()
        if writer is not None:
            writer.close()
        checkpoints.close()
        paths.push(run)
    progress.line(_farewell(paths.origin(run), outcome, total))
    if best is not None:
        progress.line(f"best checkpoint by {keep_best}: step {best[0]} ({best[1]:.4g}); STEP='best' names it")
    if outcome.stopped_by not in (None, EARLY_STOP) and (code := os.environ.get(STOPPED_EXIT)):
        raise SystemExit(int(code))
    return {"step": outcome.step, **outcome.record}


def _check_settings(model: object, init: str, epochs: int | None, train_steps: int | None) -> None:
    if init not in STARTS:
        raise UserError(f"INIT={init!r} is not known; choose {' or '.join(STARTS)}")
    if init == "pretrained" and isinstance(model, DecoderConfig):
        raise UserError("MODEL is only a shape, it has no weights: set INIT='random', or name a model")
    if train_steps is None and epochs is None:
        raise UserError("neither TRAIN_STEPS nor EPOCHS says how long the run is")


def _local(model: str) -> str | Path:
    """The folder of a model: a run of ours as it is, else the (downloaded) Hugging Face folder."""
    return model if loading.is_run(model) else folder.folder_of(model)


def _tokenizer_of(source: str | Path | DecoderConfig) -> str | Path:
    if isinstance(source, DecoderConfig):
        return provenance.tokenizer_source(None)
    return Path(source) / loading.RUN_MODEL if loading.is_run(source) else source


def _check_vocabulary(config: DecoderConfig, store: TokenStore, tokenizer: str) -> None:
    size = store.manifest["tokenizer"]["vocab_size"]
    if size > config.vocab_size:
        raise UserError(
            f"the tokenizer {tokenizer} has {size} tokens, the model has embeddings for {config.vocab_size}"
            " only: they do not belong together (TOKENIZER, MODEL; of a bare shape DecoderConfig.vocab_size)"
        )


def _describe_data(batches: PackedBatches, store: TokenStore, total: int) -> str:
    examples = store.epoch_examples / batches.steps_per_epoch(0)
    return (
        f"data: {len(store.tasks)} tasks, {store.epoch_examples:,} examples an epoch; {total:,} "
        f"steps of {batches.batch_rows} rows of {batches.max_length} positions, {examples:.1f} examples each"
    )


def _evaluation_schedule(every: int | None, *, keep_best: str | None, **settings: Any) -> Schedule | None:
    of_evaluation = keep_best is not None and Best.parse(keep_best).of_evaluation
    if every is None:
        if of_evaluation or settings["patience"] is not None:
            raise UserError(
                "KEEP_BEST by an eval/ metric and EARLY_STOP need evaluations: set EVAL_EVERY (steps)"
            )
        return None
    best = Best.parse(keep_best) if keep_best is not None and of_evaluation else MEAN_HEADLINE
    return Schedule(every, best=best, **settings)


def _farewell(run: Path, outcome: Outcome, total: int) -> str:
    if outcome.stopped_by is None:
        return f"finished: {run}, step {outcome.step}"
    if outcome.stopped_by == EARLY_STOP:
        return f"finished: {run}, ended by EARLY_STOP after step {outcome.step} of {total}"
    return (
        f"stopped by {outcome.stopped_by} after step {outcome.step} of {total}; checkpoint saved. "
        "The same command continues from here"
    )


if __name__ == "__main__":
    with hosts.one_fate():
        run_command(train)
