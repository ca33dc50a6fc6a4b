"""Judge a model on SeqIO tasks: `python -m inters_jax.evaluate --gin.MODEL_DIR=... --gin.TASKS=...`

Writes, in OUTPUT_DIR:

    results.json                manifest (model, tokenizer, data, seed, versions), metrics and counts per task
    report.html                 the same for reading, with averages and plots; before/after with COMPARE_WITH
    results.md, .csv, .tex      its tables as Markdown, for a spreadsheet and for a paper
    <task>/predictions.jsonl    one line per row: texts, evaluation fields, prediction or score
    <task>/run.trec             for ranking tasks: the order of the documents, and qrels.txt

Answers are written down while they are given: the same command after an interruption goes on where it
stopped, and finished tasks are not asked again. A result is checked against its own files by

    python -m inters_jax.evaluate --verify OUTPUT_DIR/results.json
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inters_jax.compare import compare_evaluations
from inters_jax.config import run_command
from inters_jax.evaluation import report, verify, written_runs
from inters_jax.evaluation.comparison import CompareError, Comparison
from inters_jax.evaluation.evaluator import Judge, TaskResult
from inters_jax.evaluation.records import PREDICTIONS
from inters_jax.inference.placement import default_batch_tokens
from inters_jax.inference.sampling import Sampling
from inters_jax.mesh import make_mesh
from inters_jax.models.loading import load_model
from inters_jax.models.prompt_record import chat_template_of
from inters_jax.reports import evaluation_page
from seqio_tasks import named_tasks
from seqio_tasks.base import UserError, file_sha256
from seqio_tasks.tokenizer import HuggingFaceTokenizer


def evaluate(
    model_dir: Any,
    tasks: str | Sequence[str] | None = None,
    split: str = "test",
    output_dir: str | None = None,
    raw_dir: str | None = None,
    step: int | str | None = None,
    tokenizer: str | None = None,
    max_examples: int | None = None,
    max_length: int | None = None,
    max_new_tokens: int = 256,
    batch_tokens: int | None = None,
    dtype: str = "float32",
    mesh: str | None = None,
    seed: int = 0,
    compare_with: str | None = None,
    chat_template: str | None = None,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    beams: int = 1,
    length_penalty: float = 1.0,
    stop_strings: str | Sequence[str] = (),
    target_loss: bool = False,
) -> dict[str, Any]:
    """Judge a model on SeqIO tasks by their own metrics.

    Args:
      model_dir: run folder of train, Hugging Face folder or hub name.
      tasks: task or mixture names, separated by commas. A mixture stands for its tasks, each in the form
        that is judged: generation tasks as they are, classification by label scoring (`_choices`), ranking
        by pointwise reranking (`_rerank`). None: everything whose files are there.
      split: split to judge on.
      output_dir: default `<model_dir>/evaluation` of a local model.
      raw_dir: folder with the official files; None: the packaged synthetic sample.
      step: checkpoint of a run folder; None: the last; "best": the best by its KEEP_BEST.
      tokenizer: tokenizer.json or its folder, instead of the model's own.
      max_examples: questions per task (queries where documents are ranked); None: all.
      max_length: longest sequence in tokens; default 2048 or what the model knows, if that is less.
      max_new_tokens: limit of a generated answer.
      batch_tokens: tokens that the model sees at once, the memory knob; None: 2,048 on a CPU, else 16,384.
      dtype: compute type; logits are float32 in any case.
      mesh: devices, such as "fsdp=-1"; None: the first one.
      seed: draws demonstrations of few-shot tasks.
      compare_with: a results.json (or its folder) of another evaluation: a before/after table is made.
      chat_template: None for the one of training, which a run folder and its export know (others: plain
        prompts); "none", "tokenizer", or a file (see `seqio_tasks.prompts.chat`).
      temperature: of generated answers; 0 takes the most probable token.
      top_k: sample among the k most probable tokens only.
      top_p: sample among the most probable tokens that make up this probability only.
      beams: width of the beam search.
      length_penalty: an answer of a beam search is worth its log-probability / length ** length_penalty.
      stop_strings: texts that end an answer; they are not part of it.
      target_loss: also measure how probable the right answers are, in nats per token and bits per byte.
    """
    before = None if compare_with is None else report.read_result(compare_with)
    folder = report.output_folder(output_dir, model_dir, "evaluation")

    import seqio_tasks  # noqa: F401 (registers the tasks)
    from seqio_tasks.prompts import chat
    from seqio_tasks.settings import configure

    explicit = split_names(tasks)
    names = judged_tasks(explicit)
    placed = None if mesh is None else make_mesh(mesh)
    loaded = load_model(model_dir, dtype=dtype, step=step, mesh=placed, tokenizer=tokenizer)
    limit = min(2048 if max_length is None else max_length, loaded.config.max_position)
    changes: dict[str, Any] = {"tokenizer": report.tokenizer_of(loaded), "max_length": limit, "seed": seed}
    chat_template = chat_template_of(model_dir, chat_template, tokenizer)
    if chat_template is not None:
        changes["chat_template"] = chat_template
    stops = (stop_strings,) if isinstance(stop_strings, str) else tuple(stop_strings)
    sampling = Sampling(temperature, top_k, top_p, beams, length_penalty, seed)
    if raw_dir is not None:
        changes["raw_dir"] = raw_dir
    settings = configure(**changes)
    vocabulary = HuggingFaceTokenizer(settings.tokenizer)
    judge = Judge(
        loaded,
        vocabulary,
        max_new_tokens=max_new_tokens,
        batch_tokens=max(batch_tokens or default_batch_tokens(), limit),
        decoding={"sampling": sampling, "stop_strings": stops},
        target_loss=target_loss,
    )
    result = taken_up(
        folder,
        report.manifest(
            loaded,
            command="evaluate",
            split=split,
            step=step,
            seed=seed,
            max_examples=max_examples,
            max_length=limit,
            max_new_tokens=max_new_tokens,
            decoding=dataclasses.asdict(sampling) | {"stop_strings": list(stops)},
            chat_template=chat.fingerprint(settings.chat_template, settings.tokenizer)[:16] or "none",
            raw_data="packaged sample" if raw_dir is None else Path(raw_dir).name,
            **({"target_loss": True} if target_loss else {}),
        ),
    )
    for name in names:
        judge_task(judge, name, split, folder, result, max_examples, seed, skip=name not in explicit)
        report.write_json(folder / "results.json", result)  # what is finished survives whatever comes after
    result["counts"]["model"] = {
        "shapes compiled for generation": judge.generator.compilations,
        "shapes compiled for scoring": judge.scorer.compilations,
    }
    report.write_json(folder / "results.json", result)
    evaluation_page.write(folder, result, before, tested(compare_with, folder))
    print((folder / "results.md").read_text(encoding="utf-8"), flush=True)
    if result["failed"]:
        raise UserError(
            f"{len(result['failed'])} of {len(names)} tasks failed ({', '.join(result['failed'])}); "
            f"the others are in {folder / 'results.json'}"
        )
    if not result["metrics"]:
        raise UserError(f"nothing could be judged; skipped: {result['skipped']}")
    return result


def tested(before: str | None, folder: Path) -> Comparison | None:
    """The evaluation that is compared with held against this one; None where no question is common."""
    if before is None:
        return None
    try:
        return compare_evaluations({"before": Path(before), "after": folder})
    except CompareError as error:
        print(f"before and after cannot be tested: {error}", flush=True)
        return None


def taken_up(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The result in a folder to be continued, or a fresh one; one of another model or settings is refused."""
    fresh: dict[str, Any] = {
        "manifest": manifest,
        "metrics": {},
        "paper_metrics": {},
        "counts": {},
        "files": {},
        "skipped": {},
        "failed": {},
    }
    if not (folder / "results.json").is_file():
        return fresh
    there = report.read_result(folder)
    for name in sorted({*there["manifest"], *manifest} - {"versions", "device", "step"}):
        one, other = there["manifest"].get(name), manifest.get(name)
        if one != other:
            raise UserError(
                f"{folder / 'results.json'} is of another evaluation: {name} is {one!r:.80} there and "
                f"{other!r:.80} here; set another OUTPUT_DIR, or remove the folder"
            )
    return fresh | {
        key: there[key] for key in ("metrics", "paper_metrics", "counts", "files") if key in there
    }


def judge_task(
    judge: Judge,
    name: str,
    split: str,
    folder: Path,
    result: dict[str, Any],
    questions: int | None,
    seed: int,
    skip: bool,
) -> None:
    """Judge one task into `result`; a failure is kept there, so that the other tasks still count."""
    from tqdm.auto import tqdm

    if name in result["metrics"] and _unchanged(folder / name, result["files"].get(name, {})):
        print(f"{name}: judged before", flush=True)
        return
    reason = missing_data(name, split)
    if reason is not None and skip:
        result["skipped"][name] = reason
        print(f"{name}: not available: {reason}", flush=True)
        return
    manifest = result.get("manifest", {})
    settings = {key: value for key, value in manifest.items() if key not in ("versions", "device", "step")}
    started = time.perf_counter()
    try:
        with tqdm(desc=name, unit="question", mininterval=1.0) as bar:
            judge.progress = bar.update
            found = judge.run(
                name, split, questions=questions, seed=seed, folder=folder / name, settings=settings
            )
    except Exception as error:
        result["failed"][name] = f"{type(error).__name__}: {error}"
        print(f"{name}: failed: {error}", flush=True)
        return
    found.counts["seconds"] = round(time.perf_counter() - started, 2)
    result["metrics"][name] = found.metrics
    result["counts"][name] = found.counts
    if found.paper_metrics:
        result.setdefault("paper_metrics", {})[name] = found.paper_metrics
    result.setdefault("files", {})[name] = write_task(folder / name, found)
    shown = ", ".join(
        f"{m} {report.number(found.metrics[m])}" for m in report.headline_first(found.metrics)[:4]
    )
    print(f"{name}: {shown} ({found.counts['items']} items, {found.counts['seconds']} s)", flush=True)


def _unchanged(folder: Path, files: Mapping[str, str]) -> bool:
    """Whether the files of a finished task are those that its figures were made from."""
    return bool(files) and all(
        (folder / name).is_file() and file_sha256(folder / name) == digest for name, digest in files.items()
    )


def missing_data(name: str, split: str) -> str | None:
    """Why a task of ours cannot be read from the raw directory; None if it can, or is a third-party task."""
    return named_tasks.missing(name, split) if name in named_tasks.every() else None


def split_names(tasks: str | Sequence[str] | None) -> list[str]:
    """Names from `a,b` or a list.

    >>> split_names("inters_a, inters_b"), split_names(None)
    (['inters_a', 'inters_b'], [])
    """
    if tasks is None:
        return []
    parts = tasks.split(",") if isinstance(tasks, str) else tasks
    return [part.strip() for part in parts if part.strip()]


def judged_tasks(names: Sequence[str]) -> list[str]:
    """The tasks to run: tasks as they are named, a mixture as the judged form of its tasks, nothing as
    all."""
    import seqio

    from seqio_tasks import catalog

    def form(name: str) -> str:
        pairs = {pair.name: pair for pair in catalog.PAIRS}
        kind = pairs[name].kind if name in pairs else "generate"
        return name + {"classify": "_choices", "rank": "_rerank"}.get(kind, "")

    found: list[str] = []
    for name in names or [pair.name for pair in catalog.PAIRS]:
        if not names:
            found.append(form(name))
        elif name in seqio.TaskRegistry.names():
            found.append(name)
        elif name in seqio.MixtureRegistry.names():
            found += [form(task.name) for task in seqio.get_subtasks(seqio.get_mixture_or_task(name))]
        else:
            known = [*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()]
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UserError(f"no task or mixture is called {name!r}{hint}")
    return list(dict.fromkeys(found))


def write_task(folder: Path, found: TaskResult) -> dict[str, str]:
    """For ranking tasks the TREC run with its judgments; the sha256 of every file of the task."""
    names = [PREDICTIONS]
    if found.run is not None and found.qrels is not None:
        from seqio_tasks.metrics.trec_files import write_run

        write_run(folder / verify.RUN, found.run, "inters-jax", ties="given")
        written_runs.write_qrels(folder, found.qrels)
        names += [verify.RUN, written_runs.QRELS]
    return {name: file_sha256(folder / name) for name in names}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--verify"]:
        sys.exit(verify.main(sys.argv[2:]))
    run_command(evaluate)
