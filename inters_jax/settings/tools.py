"""Settings of the commands that train and judge nothing: `compare`, `export`, `inspect_data`, `sweep`."""

from __future__ import annotations

from inters_jax.settings.fields import group, setting


@group
class CompareSettings:
    """Which runs or evaluations are compared, and how."""

    runs: tuple[str, ...] = setting(
        help="run files, or results.json or folders of evaluate; also as plain arguments", path=True
    )
    qrels: str | None = setting(None, "judgments of run files; also --qrels FILE", path=True)
    measures: str | tuple[str, ...] = setting("nDCG@10, RR@10, R@100, AP", "of run files; also --measures")
    tasks: tuple[str, ...] = setting((), "of evaluations; (): all that every one of them has; also --tasks")
    output_dir: str | None = setting(None, "None: nothing is written; also --output_dir", path=True)
    missing: str = setting(
        "refuse",
        "runs over different queries; 'zero' counts what is missing as 0; also --missing",
        choices=("refuse", "zero"),
    )
    samples: int = setting(100_000, "random sign assignments; few queries are enumerated", at_least=1)
    bootstrap: int = setting(10_000, "resamples of an interval", at_least=1)
    level: float = setting(0.95, "of the confidence intervals", above=0, at_most=1)
    interval: str = setting("percentile", "kind of bootstrap interval", choices=("percentile", "bca"))
    seed: int = setting(0, "of sign assignments and resamples")


@group
class ExportSettings:
    """Which checkpoint is exported, and how."""

    model_dir: str = setting(help="run folder of train", path=True)
    output_dir: str = setting(help="folder to write; new or empty", path=True)
    step: int | str | None = setting(None, "checkpoint; None: the newest; 'best': by KEEP_BEST", at_least=0)
    export_dtype: str = setting(
        "float32", "of the written weights", choices=("float32", "bfloat16", "float16")
    )
    format: str = setting(
        "merged", "a whole model, or the adapter of a LoRA run alone", choices=("merged", "peft")
    )


@group
class InspectSettings:
    """Which store is shown, and how much of it."""

    store_dir: str = setting(help="a finished store (prepare writes it)", path=True)
    output: str = setting("page.html", "HTML file to write", path=True)
    tasks: tuple[str, ...] = setting((), "task names; (): all tasks of the store")
    tokenizer: str | None = setting(None, "of the store, if it is not where the store was made", path=True)
    raw_dir: str | None = setting(
        None, "folder of the official files; None: the packaged synthetic sample", path=True
    )
    examples: int = setting(400, "the most examples on the page", at_least=1)
    max_bytes: int = setting(4_000_000, "the most room they take", at_least=1)
    max_length: int | None = setting(
        None, "positions of a packed row; None: the longest sequence of the store", at_least=1
    )
    seed: int = setting(0, "of the epoch drawn and packed, and of the sample of examples")
    render: bool = setting(True, "render stored examples again, to show their parts")


@group
class SweepSettings:
    """Which experiments are run, and how."""

    experiments: str = setting(help="list of experiments (YAML), found as gin files are", path=True)
    sweep_dir: str = setting(help="folder of the runs; a sweep that is in it is continued", path=True)
    seeds: tuple[int, ...] | int | None = setting(None, "(0, 1, 2); None: those of the list")
    only: str | None = setting(None, "experiments, or runs such as main:0, separated by semicolons")
    jobs: int = setting(1, "runs at a time", at_least=1)
    launch: str | None = setting(
        None, "command that starts a job per run: 'sbatch --wrap={command}'; None: runs are done here"
    )
    relaunch: bool = setting(False, "launch runs that were launched and are not finished")
    dry_run: bool = setting(False, "print every command and run none")
    collect_only: bool = setting(False, "only make the tables of what is finished")
