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
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inters_jax.command_line import run_command
from inters_jax.compare import compare_evaluations
from inters_jax.evaluation import report, verify
from inters_jax.evaluation.comparison import CompareError, Comparison
from inters_jax.inference.placement import default_batch_tokens
from inters_jax.inference.sampling import Sampling
from inters_jax.mesh import make_mesh
from inters_jax.models.loading import load_model
from inters_jax.models.prompt_record import chat_template_of
from inters_jax.reports import evaluation_page
from seqio_tasks.base import UserError
from seqio_tasks.prompts import chat
from seqio_tasks.settings import configure


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

    # These import SeqIO and TensorFlow, which takes seconds: --help and a wrong setting do not wait for it.
    from inters_jax.evaluation.judge import Judge
    from inters_jax.evaluation.tasks import judge_task, judged_tasks, resume_result, split_names
    from seqio_tasks.vocabularies import HuggingFaceVocabulary

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
    vocabulary = HuggingFaceVocabulary(settings.tokenizer)
    judge = Judge(
        loaded,
        vocabulary,
        max_new_tokens=max_new_tokens,
        batch_tokens=max(batch_tokens or default_batch_tokens(), limit),
        decoding={"sampling": sampling, "stop_strings": stops},
        target_loss=target_loss,
    )
    result = resume_result(
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


if __name__ == "__main__":
    if sys.argv[1:2] == ["--verify"]:
        sys.exit(verify.main(sys.argv[2:]))
    run_command(evaluate)
