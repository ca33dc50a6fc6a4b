"""Judge a model on SeqIO tasks: `python -m inters_jax.evaluate --gin.MODEL_DIR=... --gin.TASKS=...`

Writes, in OUTPUT_DIR:

    results.json                manifest (model, tokenizer, data, seed, versions), metrics and counts per task
    report.html                 the same for reading, with averages and plots; before/after with COMPARE_WITH
    results.md, .csv, .tex      its tables as Markdown, for a spreadsheet and for a paper
    <task>/predictions.jsonl    one line per row: texts, evaluation fields, prediction or score
    <task>/run.trec             for ranking tasks: the order of the documents, and qrels.txt

Answers are saved as they are given: after an interruption the same command resumes where it
stopped, and finished tasks are not asked again. A result is checked against its own files by

    python -m inters_jax.evaluate --verify OUTPUT_DIR/results.json
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from inters_jax.command_line import run_command
from inters_jax.evaluation import verify
from inters_jax.evaluation.comparison import CompareError, Comparison
from inters_jax.evaluation.comparison_files import compare_evaluations
from inters_jax.evaluation.manifest import manifest_of, output_folder, tokenizer_of
from inters_jax.evaluation.results import read_result, write_json
from inters_jax.hosts import one_fate
from inters_jax.inference.model import DEFAULT_LENGTH, open_model
from inters_jax.inference.placement import call_tokens
from inters_jax.inference.sampling import Sampling
from inters_jax.inference.together import Lead, together
from inters_jax.models.prompt_record import chat_template_of
from inters_jax.reports import evaluation_page
from inters_jax.reports.evaluation_tables import summary_table
from inters_jax.settings.judging import (
    EvaluationSettings,
    GenerationSettings,
    InferenceSettings,
    ShareSettings,
)
from inters_jax.settings.training import HostSettings
from inters_jax.shards import Shard
from inters_jax.shared_work import in_shares, share_of_process
from seqio_tasks import own_data
from seqio_tasks.base import UserError
from seqio_tasks.prompts import chat
from seqio_tasks.settings import configure
from seqio_tasks.tokenizer import HuggingFaceTokenizer


def evaluate(
    model: InferenceSettings,
    judged: EvaluationSettings,
    generation: GenerationSettings,
    shares: ShareSettings,
    hosts: HostSettings,
) -> dict[str, Any] | None:
    """Judge a model on SeqIO tasks by their own metrics.

    A mixture in TASKS stands for its tasks, each in the form that is judged: generation tasks as they are,
    classification by label scoring (`_choices`), ranking by pointwise reranking (`_rerank`).
    """
    share = share_of_process(shares.shard, across_hosts=shares.across_hosts, mesh=model.mesh, **vars(hosts))
    with one_fate():
        done = together(
            "evaluate",
            shares.across_hosts,
            functools.partial(open_model, model),
            functools.partial(_judged, model, judged, generation, share),
        )
    if done is None:
        return None
    print(summary_table(done.result, done.before, done.compared).text())
    print(
        f"every metric, with intervals and tests: {done.folder / 'report.html'}, results.md, .csv, .tex",
        flush=True,
    )
    refuse_failures(done.result, f"the others are in {done.folder / 'results.json'}")
    if not done.result["metrics"]:
        raise UserError(f"nothing could be judged; skipped: {done.result['skipped']}")
    return done.result


class _Done(NamedTuple):
    """A finished evaluation; before: of COMPARE_WITH, and compared: the two tested against each other."""

    result: dict[str, Any]
    folder: Path
    before: dict[str, Any] | None
    compared: Comparison | None


def _judged(
    model: InferenceSettings,
    judged: EvaluationSettings,
    generation: GenerationSettings,
    share: Shard | None,
    lead: Lead | None,
) -> _Done | None:
    """Answer the questions of this process, and judge; None if another process judges."""
    own_data.register(judged.datasets)
    before = None if judged.compare_with is None else read_result(judged.compare_with)
    folder = output_folder(judged.output_dir, model.model_dir, "evaluation")

    # These import SeqIO and TensorFlow, which takes seconds: --help and a wrong setting do not wait for it.
    from inters_jax.evaluation.judge import Judge
    from inters_jax.evaluation.tasks import (
        identify_data,
        judge_task,
        judged_tasks,
        ranks_documents,
        resume_result,
    )

    explicit = list(judged.tasks)
    names = judged_tasks(explicit)
    loaded = open_model(model, lead)
    limit = min(model.max_length or DEFAULT_LENGTH, loaded.config.max_position)
    changes = {
        "tokenizer": tokenizer_of(loaded),
        "max_length": limit,
        "seed": judged.seed,
        "raw_dir": judged.raw_dir,
        "chat_template": chat_template_of(model.model_dir, model.chat_template, model.tokenizer),
    }
    settings = configure(**{name: value for name, value in changes.items() if value is not None})
    sampling = Sampling(
        generation.temperature,
        generation.top_k,
        generation.top_p,
        generation.beams,
        generation.length_penalty,
        judged.seed,
    )
    tokens = call_tokens(model.batch_tokens, limit)
    judge = Judge(
        loaded,
        HuggingFaceTokenizer(settings.tokenizer),
        max_new_tokens=generation.max_new_tokens,
        batch_tokens=tokens.scoring,
        generation_tokens=tokens.generation,
        decoding={"sampling": sampling, "stop_strings": generation.stop_strings},
        target_loss=judged.target_loss,
        answerers=lead,
    )
    manifest = manifest_of(
        loaded,
        command="evaluate",
        split=judged.split,
        step=model.step,
        seed=judged.seed,
        max_examples=judged.max_examples,
        max_length=limit,
        max_new_tokens=generation.max_new_tokens,
        decoding=dataclasses.asdict(sampling) | {"stop_strings": list(generation.stop_strings)},
        chat_template=chat.fingerprint(settings.chat_template, settings.tokenizer)[:16] or "none",
        raw_data="packaged sample" if judged.raw_dir is None else Path(judged.raw_dir).name,
        **({"target_loss": True} if judged.target_loss else {}),
        **({} if judged.max_queries is None else {"max_queries": judged.max_queries}),
    )

    def work(shard: Shard | None) -> _Done:
        result = resume_result(folder, manifest)
        identify_data(names, judged.split, judged.seed, folder, result)
        for name in names:
            judge_task(
                judge,
                name,
                judged.split,
                folder,
                result,
                (judged.max_queries if ranks_documents(name) else None) or judged.max_examples,
                judged.seed,
                skip=name not in explicit,
                shard=shard,
            )
            if shard is None:  # what is finished survives whatever comes after
                write_json(folder / "results.json", result)
        if shard is not None:
            refuse_failures(result, f"the answers to the others are in {folder}")
            return _Done(result, folder, before, None)
        result["counts"]["model"] = {
            "shapes compiled for generation": judge.generator.compilations,
            "shapes compiled for scoring": judge.scorer.compilations,
        }
        write_json(folder / "results.json", result)
        compared = tested(judged.compare_with, folder)
        evaluation_page.write(folder, result, before, compared)
        return _Done(result, folder, before, compared)

    return in_shares(share, folder, work)


def refuse_failures(result: Mapping[str, Any], others: str) -> None:
    """End the command with an error if tasks failed.

    Raises:
      UserError: some did.
    """
    if failed := result["failed"]:
        raise UserError(f"{len(failed)} tasks failed ({', '.join(failed)}); {others}")


def tested(before: str | None, folder: Path) -> Comparison | None:
    """Compare another evaluation with this one; None if they share no question."""
    if before is None:
        return None
    try:
        return compare_evaluations({"before": Path(before), "after": folder})
    except CompareError as error:
        print(f"before and after cannot be tested: {error}", flush=True)
        return None


if __name__ == "__main__":
    if sys.argv[1:2] == ["--verify"]:
        sys.exit(verify.main(sys.argv[2:]))
    run_command(evaluate)
