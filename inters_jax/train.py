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

from inters_jax import mesh as meshes
from inters_jax import paths, run_folder
from inters_jax.command_line import run_command
from inters_jax.config import operative_text, values_of
from inters_jax.data import provenance
from inters_jax.data.loader import PackedBatches
from inters_jax.data.token_store import TokenStore
from inters_jax.hosts import join_hosts, one_fate
from inters_jax.models import loading
from inters_jax.models.config import DecoderConfig
from inters_jax.models.decoder import random_parameters
from inters_jax.models.hf import folder as huggingface
from inters_jax.models.hf.config_json import config_to_hf
from inters_jax.models.lora.layers import adapter_parameters
from inters_jax.models.prompt_record import Prompts, chat_template_of, of_model
from inters_jax.run_folder import Best, checkpoint_steps
from inters_jax.settings.training import (
    DataSettings,
    HostSettings,
    InRunEvaluationSettings,
    LengthSettings,
    ModelSettings,
    OptimizerSettings,
    RetentionSettings,
    RunSettings,
    StepSettings,
    StoreSettings,
)
from inters_jax.training import prepare_store
from inters_jax.training import step as steps
from inters_jax.training.checkpoints import Checkpoints, config_hash
from inters_jax.training.compiling import CompileAhead
from inters_jax.training.hooks import FirstStep, Report
from inters_jax.training.in_run_evaluation import EARLY_STOP, MEAN_HEADLINE, Evaluation, Schedule
from inters_jax.training.initialise import (
    describe_lora,
    read_base,
    read_parameters,
    read_prompts,
    write_model_folder,
    write_operative_config,
)
from inters_jax.training.loop import Outcome, run_training
from inters_jax.training.metrics import MetricWriter, read_metrics
from inters_jax.training.optimizer import identity_of
from inters_jax.training.profiling import Profiler, parse_steps
from inters_jax.training.program import Program, build_program
from inters_jax.training.progress import Progress
from inters_jax.training.reader import Reader
from inters_jax.training.saving import Save
from inters_jax.training.trackers import WandB
from inters_jax.training.utilisation import Utilisation
from seqio_tasks.base import UserError

# The exit code of a run that a signal has stopped, for those who start it again until it is done
# (scripts/tpu); 0 unless this variable of the environment is set.
STOPPED_EXIT = "INTERS_STOPPED_EXIT"


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


def train(
    run: RunSettings,
    model: ModelSettings,
    data: DataSettings,
    length: LengthSettings,
    step: StepSettings,
    optimizer: OptimizerSettings,
    retention: RetentionSettings,
    evaluation: InRunEvaluationSettings,
    hosts: HostSettings,
) -> dict[str, Any]:
    """Tune a model and return the last record of its metrics; a run that is in MODEL_DIR is continued."""
    if run.init == "pretrained" and isinstance(model.model, DecoderConfig):
        raise UserError("MODEL is only a shape, it has no weights: set INIT='random', or name a model")
    join_hosts(**vars(hosts))
    schedule = evaluation_schedule(evaluation, data, retention)
    if run.profile_steps is not None:
        parse_steps(run.profile_steps)  # refuse a wrong value before anything is loaded
    device_mesh = meshes.make_mesh(step.mesh)
    meshes.check_batch(device_mesh, step.batch_size, step.microbatches)

    start = open_start(run, model, data)
    config, store = prepared(start, data, length)
    prompts = read_prompts(data.chat_template, start.tokenizer, store) if start.first else Prompts()
    batches = PackedBatches(
        store,
        batch_rows=step.batch_size,
        max_length=length.max_length,
        seed=data.seed,
        steps=run.train_steps,
        epochs=run.epochs if run.train_steps is None else None,
        host_rows=meshes.host_rows(device_mesh, step.batch_size),
    )
    total = batches.total_steps or 0
    program = build_program(
        config,
        device_mesh=device_mesh,
        optimizer=optimizer,
        total_steps=total,
        batch_size=step.batch_size,
        max_length=length.max_length,
        dtype=step.dtype,
        remat=step.remat,
        microbatches=step.microbatches,
        max_logits=step.max_logits,
        attention=step.attention,
        lora=model.lora,
        noise_seed=data.seed,
        rules=meshes.AxisRules(step.axis_rules, step.activation_axis_rules),
        splash_blocks=step.splash_blocks,
    )
    done = start.steps[-1] if start.steps else 0
    progress = Progress(total, done, visible=start.first)
    progress.line(f"mesh: {meshes.describe(device_mesh)}; compute {step.dtype}, parameters float32")
    progress.line(_describe_data(batches, store, total))
    if start.first:
        _tell_other_prompts(start.source, prompts, progress)

    train_step = program.compiled_step(progress.line)

    compile_ahead = CompileAhead(train_step, batches, total)
    compile_ahead.compile_for(done)  # while the parameters are read
    record = frozen = None
    if model.lora is not None:
        record, frozen = read_base(
            start.run,
            start.source,
            config,
            model.lora,
            program.frozen,
            random_start=start.random,
            seed=data.seed,
        )
        train_step.hold(frozen)
        progress.line(describe_lora(record, program.like.params, frozen))
    identity = {
        "model": config_hash(config_to_hf(config)),
        "store": store.fingerprint,
        "seed": data.seed,
        "batch_rows": step.batch_size,
        "max_length": length.max_length,
        "total_steps": total,
        **identity_of(optimizer),
        "dtype": step.dtype,
        "microbatches": step.microbatches,
        "keep_best": retention.keep_best,
        **({} if record is None else {"base": record.fingerprint, "lora": record.to_json()["lora"]}),
    }
    checkpoints = Checkpoints(
        start.run,
        identity,
        keep=retention.keep_checkpoints,
        keep_first=start.random,
        keep_every=retention.keep_every,
        keep_best=retention.keep_best,
    )
    writer = None
    try:
        state = checkpoints.restore(program.like) if start.steps else None
        if state is not None:
            progress.line(f"continuing from the checkpoint of step {int(state.step)}")
        else:
            state = first_state(program, start, config, lora=model.lora is not None, seed=data.seed)
            if start.random:
                checkpoints.save(state)
        at = int(state.step)
        if start.first:
            write_model_folder(start.run, config, start.tokenizer, prompts, record, fresh=not start.steps)
            groups = (run, model, data, length, step, optimizer, retention, evaluation, hosts)
            write_operative_config(start.run, at, operative_text("train", groups))
            facts = identity | {"mixture": data.mixture_or_task_name}
            trackers = [] if run.wandb is None else [WandB(run.wandb, start.run, facts)]
            writer = MetricWriter(start.run, resume_step=at, tensorboard=run.tensorboard, trackers=trackers)
        if at >= total:
            progress.line(f"{paths.origin(start.run)} has all its {total} steps; nothing to do")
            return {"step": at}
        judged = None
        if schedule is not None:
            judged = Evaluation(
                schedule,
                config,
                device_mesh,
                dtype=step.dtype,
                lora=model.lora,
                frozen=frozen,
                ends=store.manifest["tokenizer"],
                data={
                    "tokenizer": start.tokenizer,
                    "max_length": length.max_length,
                    "seed": data.seed,
                    "raw_dir": data.raw_dir,
                    "chat_template": chat_template_of(start.run),
                },
                history=read_metrics(start.run),
                announce=progress.line,
            )
            if judged.exhausted:
                ended = f"ended by EARLY_STOP={evaluation.early_stop} after step {at}"
                progress.line(f"{paths.origin(start.run)}: {ended}; nothing to do")
                return {"step": at}
        trained = None if model.lora is None else sum(x.size for x in jax.tree.leaves(program.like.params))
        outcome = run_training(
            state,
            train_step=train_step,
            batches=batches,
            mesh=device_mesh,
            total_steps=total,
            reader=Reader(
                batches,
                start.run,
                schedule=program.schedule,
                utilisation=Utilisation(config, list(device_mesh.devices.flat), trained),
                skip_non_finite=run.skip_non_finite,
                announce=progress.line,
            ),
            hooks=[
                compile_ahead,
                *(
                    []
                    if run.profile_steps is None
                    else [Profiler(run.profile_steps, start.run, progress.line)]
                ),
                FirstStep(progress.line),
                *([] if judged is None else [judged]),
                Report(run.log_every, progress, writer),
                Save(retention.checkpoint_every, checkpoints),
            ],
        )
        best = checkpoints.best()
    finally:
        progress.close()
        if writer is not None:
            writer.close()
        checkpoints.close()
        paths.push(start.run)
    progress.line(_farewell(paths.origin(start.run), outcome, total))
    if best is not None:
        progress.line(
            f"best checkpoint by {retention.keep_best}: step {best[0]} ({best[1]:.4g}); STEP='best' names it"
        )
    if outcome.stopped_by not in (None, EARLY_STOP) and (code := os.environ.get(STOPPED_EXIT)):
        raise SystemExit(int(code))
    return {"step": outcome.step, **outcome.record}


def open_start(run: RunSettings, model: ModelSettings, data: DataSettings) -> Start:
    """The folder of a run and what it starts from."""
    folder = paths.local(run.model_dir)
    source: str | Path | DecoderConfig = model.model
    if not isinstance(source, DecoderConfig):
        name = str(paths.localized(source))
        source = name if run_folder.is_run(name) else huggingface.folder_of(name)
    return Start(
        run=folder,
        source=source,
        tokenizer=str(_tokenizer_of(source)) if data.tokenizer is None else data.tokenizer,
        steps=list(checkpoint_steps(folder)),
        first=jax.process_index() == 0,
        random=run.init == "random",
    )


def prepared(start: Start, data: DataSettings, length: LengthSettings) -> tuple[DecoderConfig, TokenStore]:
    """The shape of the model and the token store, which is prepared by another process if it is missing."""
    folder = paths.local(data.store_dir or paths.join(paths.origin(start.run), "store"))
    # A store inside a run that has no checkpoint yet belongs to nothing else: it may be replaced.
    existing = StoreSettings(rebuild=data.store_dir is None and not start.steps)
    resolved = dataclasses.replace(data, store_dir=str(folder), tokenizer=start.tokenizer)
    preparation = prepare_store.start_preparing(values_of(resolved, length, existing))
    try:
        config = loading.config_of(start.source)
        store = preparation.wait()
    finally:
        preparation.stop()
    _check_vocabulary(config, store, start.tokenizer)
    if isinstance(start.source, DecoderConfig):  # a bare shape has no tokenizer of its own
        ends = store.manifest["tokenizer"]
        config = dataclasses.replace(config, bos_id=ends["bos_id"], eos_id=ends["eos_id"], stop_ids=())
    return config, store


def first_state(
    program: Program, start: Start, config: DecoderConfig, *, lora: bool, seed: int
) -> steps.TrainState:
    """The state of step 0: fresh adapters, random parameters, or those of the source."""
    shardings = program.shardings
    if lora:
        params = adapter_parameters(program.like.params, seed, shardings.params)
    elif start.random or isinstance(start.source, DecoderConfig):
        params = random_parameters(config, seed, shardings.params)
    else:
        params = read_parameters(start.source, program.structure.abstract(), shardings.params)
    return steps.init_state(params, program.transformation, shardings)


def evaluation_schedule(
    evaluation: InRunEvaluationSettings, data: DataSettings, retention: RetentionSettings
) -> Schedule | None:
    """When the run is evaluated; None: never."""
    best = None if retention.keep_best is None else Best.parse(retention.keep_best)
    of_evaluation = best is not None and best.of_evaluation
    if evaluation.eval_every is None:
        if of_evaluation or evaluation.early_stop is not None:
            raise UserError(
                "KEEP_BEST by an eval/ metric and EARLY_STOP need evaluations: set EVAL_EVERY (steps)"
            )
        return None
    return Schedule(
        evaluation.eval_every,
        tasks=evaluation.eval_tasks or data.mixture_or_task_name,
        split=evaluation.eval_split,
        examples=evaluation.eval_examples,
        patience=evaluation.early_stop,
        best=best if best is not None and of_evaluation else MEAN_HEADLINE,
        max_new_tokens=evaluation.eval_max_new_tokens,
    )


def _tell_other_prompts(source: str | Path | DecoderConfig, prompts: Prompts, progress: Progress) -> None:
    before = of_model(source)
    if before is not None and before.sha256 != prompts.sha256:
        progress.line(f"MODEL was trained with {before}, this run trains with {prompts} (CHAT_TEMPLATE)")


def _tokenizer_of(source: str | Path | DecoderConfig) -> str | Path:
    if isinstance(source, DecoderConfig):
        return provenance.tokenizer_source(None)
    return Path(source) / run_folder.MODEL if run_folder.is_run(source) else source


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
    with one_fate():
        run_command(train)
