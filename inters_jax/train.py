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

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import Any

from inters_jax import mesh as meshes
from inters_jax import paths
from inters_jax.command_line import run_command
from inters_jax.config import operative_text
from inters_jax.hosts import from_first, join_hosts, one_fate
from inters_jax.models.config import DecoderConfig
from inters_jax.models.prompt_record import chat_template_of, of_model
from inters_jax.run_folder import Best
from inters_jax.settings.training import (
    DataSettings,
    HostSettings,
    InRunEvaluationSettings,
    LengthSettings,
    ModelSettings,
    OptimizerSettings,
    RankingLossSettings,
    RetentionSettings,
    RunSettings,
    StepSettings,
)
from inters_jax.training import step as steps
from inters_jax.training.checkpoints import Checkpoints
from inters_jax.training.compiling import CompileAhead
from inters_jax.training.hooks import FirstStep, Report
from inters_jax.training.in_run_evaluation import EARLY_STOP, MEAN, MEAN_HEADLINE, Evaluation, Schedule
from inters_jax.training.initialise import (
    describe_lora,
    write_model_folder,
    write_operative_config,
)
from inters_jax.training.loop import Outcome, run_training
from inters_jax.training.metrics import MetricWriter, read_metrics
from inters_jax.training.profiling import Profiler, parse_steps
from inters_jax.training.progress import Progress
from inters_jax.training.reader import Reader
from inters_jax.training.saving import Save
from inters_jax.training.setup import (
    Setup,
    compute_type_of,
    first_state,
    identity_of,
    lora_base,
    only_run_in,
    open_start,
    prepared,
    run_folder_of,
    set_up,
    utilisation_of,
)
from inters_jax.training.trackers import WandB
from seqio_tasks.base import UserError

# The exit code of a run that a signal has stopped, for those who start it again until it is done
# (scripts/tpu); 0 unless this variable of the environment is set.
STOPPED_EXIT = "INTERS_STOPPED_EXIT"


def train(
    run: RunSettings,
    model: ModelSettings,
    data: DataSettings,
    length: LengthSettings,
    step: StepSettings,
    optimizer: OptimizerSettings,
    ranking: RankingLossSettings,
    retention: RetentionSettings,
    evaluation: InRunEvaluationSettings,
    hosts: HostSettings,
) -> dict[str, Any]:
    """Tune a model and return the last record of its metrics; a run that is in MODEL_DIR is continued.

    With PREPARE_ONLY it returns {} as soon as the token store is there.
    """
    if run.init == "pretrained" and isinstance(model.model, DecoderConfig):
        raise UserError("MODEL is only a shape, it has no weights: set INIT='random', or name a model")
    join_hosts(**vars(hosts))
    schedule = evaluation_schedule(evaluation, data, retention)
    if run.profile_steps is not None:
        parse_steps(run.profile_steps)  # refuse a wrong value before anything is loaded
    with only_run_in(run_folder_of(run)), contextlib.ExitStack() as closing:
        if run.prepare_only:
            _, store = prepared(open_start(run, model, data), model, data, length, ranking)
            print(f"{store.folder}: ready, {store.epoch_examples:,} examples an epoch", flush=True)
            return {}
        step = dataclasses.replace(step, dtype=compute_type_of(run, step))
        setup = set_up(run, model, data, length, step, optimizer, ranking)
        start, total = setup.start, setup.total

        progress = Progress(total, start.done, visible=start.first)
        announce(setup, step, progress)
        train_step = setup.program.compiled_step(progress.line)
        compile_ahead = CompileAhead(train_step, setup.batches, total)
        compile_ahead.compile_for(start.done)  # while the parameters are read
        record = frozen = None
        if model.lora is not None:
            record, frozen = lora_base(setup, model.lora, data.seed)
            train_step.hold(frozen)
            progress.line(describe_lora(record, setup.program.like.params, frozen))
        identity = identity_of(setup, data, length, step, optimizer, retention, ranking, record)
        checkpoints = Checkpoints(
            start.run,
            identity,
            keep=retention.keep_checkpoints,
            keep_first=start.random,
            keep_every=retention.keep_every,
            keep_best=retention.keep_best,
        )
        closing.callback(paths.push, start.run)
        closing.callback(checkpoints.close)
        closing.callback(progress.close)
        state = checkpoints.restore(setup.program.like) if start.steps else None
        if state is not None:
            progress.line(f"continuing from the checkpoint of step {int(state.step)}")
        else:
            state = first_state(setup, lora=model.lora is not None, seed=data.seed)
            if start.random:
                checkpoints.save(state)
        at = int(state.step)
        writer = None
        if start.first:
            write_model_folder(
                start.run, setup.config, start.tokenizer, setup.prompts, record, fresh=not start.steps
            )
            groups = (run, model, data, length, step, optimizer, ranking, retention, evaluation, hosts)
            write_operative_config(start.run, at, operative_text("train", groups))
            facts = identity | {"mixture": data.mixture_or_task_name}
            trackers = [] if run.wandb is None else [WandB(run.wandb, start.run, facts)]
            writer = MetricWriter(start.run, resume_step=at, tensorboard=run.tensorboard, trackers=trackers)
            closing.callback(writer.close)
        if at >= total:
            progress.line(f"{paths.origin(start.run)} has all its {total} steps; nothing to do")
            return {"step": at}
        judged = None
        if schedule is not None:
            judged = in_run_evaluation(setup, schedule, model, data, length, step, frozen, progress)
            if judged.exhausted:
                ended = f"ended by EARLY_STOP={evaluation.early_stop} after step {at}"
                progress.line(f"{paths.origin(start.run)}: {ended}; nothing to do")
                return {"step": at}
        outcome = run_training(
            state,
            train_step=train_step,
            batches=setup.batches,
            mesh=setup.mesh,
            total_steps=total,
            reader=Reader(
                setup.batches,
                start.run,
                schedule=setup.program.schedule,
                utilisation=utilisation_of(setup, model, step.dtype),
                skip_non_finite=run.skip_non_finite,
                announce=progress.line,
                ranking_weight=ranking.loss_weight,
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
    progress.line(_farewell(paths.origin(start.run), outcome, total))
    if best is not None:
        progress.line(
            f"best checkpoint by {retention.keep_best}: step {best[0]} ({best[1]:.4g}); STEP='best' names it"
        )
    if outcome.stopped_by not in (None, EARLY_STOP) and (code := os.environ.get(STOPPED_EXIT)):
        raise SystemExit(int(code))
    return {"step": outcome.step, **outcome.record}


def announce(setup: Setup, step: StepSettings, progress: Progress) -> None:
    """What a run is about to do, in a few lines."""
    progress.line(f"mesh: {meshes.describe(setup.mesh)}; compute {step.dtype}, parameters float32")
    batches, examples = setup.batches, setup.store.epoch_examples
    split = setup.store.manifest["settings"].get("split")  # `TokenStore.create` makes stores of no split
    progress.line(
        f"data: {f'split {split}, ' if split else ''}{len(setup.store.tasks)} tasks, "
        f"{examples:,} examples an epoch; {setup.total:,} steps of {batches.batch_rows} rows "
        f"of {batches.max_length} positions, {examples / batches.steps_per_epoch(0):.1f} examples each"
    )
    if setup.store_check:
        progress.line(setup.store_check)
    before = of_model(setup.start.source) if setup.start.first else None
    if before is not None and before.sha256 != setup.prompts.sha256:
        progress.line(
            f"MODEL was trained with {before}, this run trains with {setup.prompts} (CHAT_TEMPLATE)"
        )


def in_run_evaluation(
    setup: Setup,
    schedule: Schedule,
    model: ModelSettings,
    data: DataSettings,
    length: LengthSettings,
    step: StepSettings,
    frozen: steps.Parameters | None,
    progress: Progress,
) -> Evaluation:
    """The hook that evaluates the run, with the records of earlier evaluations."""
    return Evaluation(
        schedule,
        setup.config,
        setup.mesh,
        dtype=step.dtype,
        lora=model.lora,
        frozen=frozen,
        ends=setup.store.manifest["tokenizer"],
        data={
            "tokenizer": setup.start.tokenizer,
            "max_length": length.max_length,
            "seed": data.seed,
            "raw_dir": data.raw_dir,
            "datasets": data.datasets or None,
            # Only the first host writes prompts, and the others may not see its files yet.
            "chat_template": chat_template_of(setup.start.run) if setup.start.first else None,
        },
        history=from_first(
            "evaluations so far",
            lambda: [record for record in read_metrics(setup.start.run) if MEAN in record],
        ),
        announce=progress.line,
    )


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
