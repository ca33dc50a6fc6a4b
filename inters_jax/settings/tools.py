"""Settings of the commands that train and judge nothing: `compare`, `export`, `inspect_data`, `sweep`."""

from __future__ import annotations

from inters_jax.settings.fields import group, setting
from inters_jax.settings.training import DATASETS
from seqio_tasks.metrics.trec_files import RUN_FORMATS


@group
class CompareSettings:
    """Which runs or evaluations are compared, and how."""

    runs: tuple[str, ...] = setting(
        "run files, or results.json or folders of evaluate; also as plain arguments", path=True
    )
    qrels: str | None = setting("judgments of run files; also --qrels FILE", default=None, path=True)
    measures: str | tuple[str, ...] = setting(
        "of run files; also --measures", default="nDCG@10, RR@10, R@100, AP"
    )
    run_format: str = setting(
        "third column of runs with three: 'ranks', 'scores' or 'auto'; also --run_format",
        default="auto",
        choices=RUN_FORMATS,
    )
    tasks: tuple[str, ...] = setting(
        "of evaluations; (): all that every one of them has; also --tasks", default=()
    )
    datasets: tuple[str, ...] = setting(DATASETS, default=(), path=True)
    output_dir: str | None = setting("None: nothing is written; also --output_dir", default=None, path=True)
    missing: str = setting(
        "runs over different queries; 'zero' counts what is missing as 0; also --missing",
        default="refuse",
        choices=("refuse", "zero"),
    )
    samples: int = setting("random sign assignments; few queries are enumerated", default=100_000, at_least=1)
    bootstrap: int = setting("resamples of an interval", default=10_000, at_least=1)
    level: float = setting("of the confidence intervals", default=0.95, above=0, at_most=1)
    interval: str = setting("kind of bootstrap interval", default="percentile", choices=("percentile", "bca"))
    seed: int = setting("of sign assignments and resamples", default=0)


@group
class ExportSettings:
    """Which checkpoint is exported, and how."""

    model_dir: str = setting("run folder of train", path=True)
    output_dir: str = setting("folder to write; new or empty", path=True)
    step: int | str | None = setting(
        "checkpoint; None: the newest; 'best': by KEEP_BEST", default=None, at_least=0
    )
    export_dtype: str = setting(
        "of the written weights", default="float32", choices=("float32", "bfloat16", "float16")
    )
    format: str = setting(
        "a whole model, or the adapter of a LoRA run alone", default="merged", choices=("merged", "peft")
    )


@group
class InspectSettings:
    """Which store is shown, and how much of it."""

    store_dir: str = setting("a finished store (prepare writes it)", path=True)
    output: str = setting("HTML file to write", default="page.html", path=True)
    tasks: tuple[str, ...] = setting("task names; (): all tasks of the store", default=())
    tokenizer: str | None = setting(
        "of the store, if it is not where the store was made", default=None, path=True
    )
    raw_dir: str | None = setting(
        "folder of the official files; None: the packaged synthetic sample", default=None, path=True
    )
    datasets: tuple[str, ...] = setting(DATASETS, default=(), path=True)
    examples: int = setting("the most examples on the page", default=400, at_least=1)
    max_bytes: int = setting("the most room they take", default=4_000_000, at_least=1)
    max_length: int | None = setting(
        "positions of a packed row; None: the longest sequence of the store", default=None, at_least=1
    )
    seed: int = setting("of the epoch drawn and packed, and of the sample of examples", default=0)
    render: bool = setting("render stored examples again, to show their parts", default=True)


@group
class SweepSettings:
    """Which experiments are run, and how."""

    experiments: str = setting("list of experiments (YAML), found as gin files are", path=True)
    sweep_dir: str = setting("folder of the runs; a sweep that is in it is continued", path=True)
    seeds: tuple[int, ...] | int | None = setting("(0, 1, 2); None: those of the list", default=None)
    only: str | None = setting("experiments, or runs such as main:0, separated by semicolons", default=None)
    jobs: int = setting("runs at a time", default=1, at_least=1)
    launch: str | None = setting(
        "command that starts a job per run: 'sbatch --wrap={command}'; None: runs are done here", default=None
    )
    relaunch: bool = setting("launch runs that were launched and are not finished", default=False)
    prepare_only: bool = setting(
        "only prepare the token stores, on a machine without accelerators; the sweep goes on elsewhere",
        default=False,
    )
    dry_run: bool = setting("print every command and run none", default=False)
    collect_only: bool = setting("only make the tables of what is finished", default=False)
