"""Settings of a training run; `plan` and `prepare` read some of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inters_jax.settings.fields import SettingError, group, setting

_DECODER_CONFIG = {"DecoderConfig": "inters_jax.models.config"}
_LORA = {"LoRA": "inters_jax.models.lora.layers"}
_OPTIMIZERS = {
    **dict.fromkeys(("AdamW", "Lion", "Adafactor", "Muon"), "inters_jax.training.optimizers"),
    "Optax": "inters_jax.training.optax_optimizer",
}
_RANKING_LOSSES = dict.fromkeys(
    ("Pointwise", "RankNet", "ListNet", "ListwiseSoftmax", "LambdaLoss", "Distillation"),
    "inters_jax.training.ranking_losses",
)
_SPLASH = {"SplashBlocks": "inters_jax.models.splash"}

DATASETS = "files that declare data of your own (docs/own_data.md); (): those of INTERS_DATASETS"
COMPUTE_TYPES = ("auto", "float32", "bfloat16", "float16", "bfloat16_products")


@group
class RunSettings:
    """Where a run is kept, how long it is, and what it reports."""

    model_dir: str = setting("run folder; a run that is in it is continued", path=True)
    init: str = setting(
        "'random' takes only the shape of MODEL", default="pretrained", choices=("pretrained", "random")
    )
    epochs: int | None = setting("length of the run, unless TRAIN_STEPS is given", default=3, at_least=1)
    train_steps: int | None = setting("length of the run in optimiser steps", default=None, at_least=1)
    prepare_only: bool = setting(
        "stop when the token store is there; train on another machine", default=False
    )
    skip_non_finite: int = setting(
        "abort after this many consecutive non-finite steps; 0 aborts on the first", default=5, at_least=0
    )
    verify_store: bool = setting(
        "check every token of the store; False: only when it is new on this machine", default=False
    )
    log_every: int = setting("steps between log records", default=10, at_least=1)
    tensorboard: bool = setting("write TensorBoard events", default=True)
    wandb: str | None = setting(
        "Weights & Biases project; WANDB_MODE=offline keeps its files local", default=None
    )
    profile_steps: str | int | None = setting(
        "'10:13' traces steps 10, 11 and 12 into profile/", default=None
    )

    def __post_init__(self) -> None:
        if self.train_steps is None and self.epochs is None:
            raise SettingError("EPOCHS", "neither TRAIN_STEPS nor EPOCHS says how long the run is")


@group
class ModelSettings:
    """Which model is trained, and which part of it."""

    model: str | Any = setting(
        "Hugging Face folder, ORG/NAME or ORG/NAME@REVISION of the hub, run folder, or bare shape",
        path=True,
        objects=_DECODER_CONFIG,
    )
    lora: Any | None = setting(
        "low-rank updates of a frozen base (lora.gin); None trains every parameter",
        default=None,
        objects=_LORA,
    )


@group
class DataSettings:
    """Which examples a run sees, and how their prompts are written."""

    mixture_or_task_name: str = setting("SeqIO task or mixture", default="inters")
    raw_dir: str | None = setting(
        "folder of the official files; None: the packaged synthetic sample", default=None, path=True
    )
    tokenizer: str | None = setting(
        "tokenizer.json, folder or hub name; None: the model's, else the sample's", default=None, path=True
    )
    store_dir: str | None = setting("token store; None: store/ in the run folder", default=None, path=True)
    split: str = setting("split of the tasks", default="train")
    seed: int = setting("draws templates, demonstrations, data order and random initial weights", default=0)
    passes: int = setting(
        "epochs in which a row that comes round has fresh templates and demonstrations", default=1, at_least=1
    )
    max_shots: int = setting("training prompts carry 0 to this many demonstrations", default=5, at_least=0)
    max_cut: float = setting(
        "the largest share of its documents that an example may lose, else it is dropped (not *_documents)",
        default=0.25,
        at_least=0.0,
        at_most=1.0,
    )
    epoch_examples: int | None = setting(
        "examples of an epoch; None: those of the mixture (200,000 of inters with all data)",
        default=None,
        at_least=1,
        at_most=100_000_000,
    )
    chat_template: str | None = setting(
        "None: plain prompts; 'tokenizer': the tokenizer's chat template; or a file", default=None, path=True
    )
    modules: tuple[str, ...] = setting("modules that register the tasks", default=("seqio_tasks",))
    datasets: tuple[str, ...] = setting(DATASETS, default=(), path=True)
    templates: tuple[str, ...] = setting(
        "template files of your own; (): those of INTERS_TEMPLATES", default=(), path=True
    )
    cache_dirs: tuple[str, ...] = setting(
        "folders of seqio_cache_tasks to read tasks from", default=(), path=True
    )
    group_size: int = setting(
        "documents of a query that a *_documents task asks about together, for a ranking loss",
        default=4,
        at_least=2,
    )
    teacher: tuple[str, ...] = setting(
        "scores of these documents by another ranker: TREC run or JSON lines (docs/ranking_losses.md)",
        default=(),
        path=True,
    )
    workers: int = setting(
        "processes that prepare a missing store, each a task at a time; it is the same for any number",
        default=1,
        at_least=1,
    )
    check_sources: bool = setting(
        "False accepts a store although code, templates or raw files have changed since", default=True
    )


@group
class LengthSettings:
    """How long a sequence may be."""

    max_length: int = setting(
        "tokens of the longest sequence, BOS and EOS included; positions of a packed row",
        default=2048,
        at_least=1,
    )


@group
class StepSettings:
    """How a training step is computed."""

    batch_size: int = setting("packed rows per optimiser step, over all devices", default=8, at_least=1)
    microbatches: int = setting(
        "parts of a batch, to save memory; the result is the same", default=1, at_least=1
    )
    dtype: str = setting(
        "compute type; parameters and moments are float32; 'auto': the fastest here (models/precision.py)",
        default="auto",
        choices=COMPUTE_TYPES,
    )
    remat: str = setting(
        "what the backward pass keeps: 'none' recomputes nothing, 'full' everything, 'offload*' use the host",
        default="full",
        choices=("none", "dots", "attention", "full", "offload", "offload_dots"),
    )
    attention: str = setting(
        "'auto' by hardware; 'splash' on TPU, 'cudnn' on GPU",
        default="auto",
        choices=("auto", "xla", "splash", "cudnn", "reference"),
    )
    splash_blocks: Any | None = setting(
        "block sizes of splash attention", default=None, objects=_SPLASH, default_object="@SplashBlocks()"
    )
    mesh: str = setting("devices by axis, such as 'fsdp=4,tensor=2'; -1: all that remain", default="fsdp=-1")
    axis_rules: Mapping[str, Any] | None = setting(
        "changes to mesh.RULES, which place parameters, such as {'mlp': None}", default=None
    )
    activation_axis_rules: Mapping[str, Any] | None = setting("the same for activations", default=None)
    max_logits: int = setting(
        "logits that may exist at once on a device; more are computed in chunks", default=1 << 26, at_least=1
    )


@group
class OptimizerSettings:
    """The optimiser, its learning rate and what all optimisers share.

    The update of a step is ``-rate * (direction + weight_decay * parameter)``, where the direction is the
    optimiser's own and the gradients it sees have been clipped by their global norm.
    """

    optimizer: Any | None = setting(
        "Lion wants a smaller rate", default=None, objects=_OPTIMIZERS, default_object="@AdamW()"
    )
    learning_rate: float = setting("peak", default=1e-5, above=0)
    weight_decay: float = setting("times the rate", default=0.1, at_least=0)
    decay_norms: bool = setting("False spares norms and biases", default=True)
    clip: float | None = setting(
        "largest global norm of the gradients; None: no clipping", default=1.0, above=0
    )
    schedule: str = setting("after the warm-up", default="cosine", choices=("cosine", "linear", "constant"))
    warmup: float = setting(
        "share of the steps below 1, a number of steps from 1 on", default=0.03, at_least=0
    )
    floor: float = setting("last learning rate as a share of the peak", default=0.1, at_least=0, at_most=1)
    moment_dtype: str = setting(
        "of the optimiser's moments; bfloat16 halves them", default="float32", choices=("float32", "bfloat16")
    )

    def __post_init__(self) -> None:
        if self.warmup > 1 and self.warmup != int(self.warmup):
            raise SettingError(
                "WARMUP", f"WARMUP={self.warmup:g}: from 1 on it is a number of steps, which is whole"
            )


@group
class RankingLossSettings:
    """A loss over the documents of a query, beside the language-model loss."""

    loss: Any | None = setting(
        "loss over the documents of *_documents tasks; None: the mixture has no such task",
        default=None,
        objects=_RANKING_LOSSES,
    )
    loss_weight: float = setting("of the ranking loss; the language-model loss has 1", default=1.0, above=0)


@group
class RetentionSettings:
    """When checkpoints are written and which of them stay."""

    checkpoint_every: int = setting("steps between checkpoints", default=500, at_least=1)
    keep_checkpoints: int = setting("how many of the newest stay", default=2, at_least=1)
    keep_every: int | None = setting(
        "keep checkpoints of multiples of this many steps", default=None, at_least=1
    )
    keep_best: str | None = setting("'min:loss' or 'max:METRIC': the best checkpoint stays", default=None)


@group
class InRunEvaluationSettings:
    """Evaluation during a run."""

    eval_every: int | None = setting(
        "steps between evaluations; None: no evaluation", default=None, at_least=1
    )
    eval_tasks: str | None = setting(
        "tasks or mixtures, separated by commas; None: MIXTURE_OR_TASK_NAME", default=None
    )
    eval_split: str = setting("split to evaluate on", default="validation")
    eval_examples: int | None = setting("questions per task; None: all", default=100, at_least=1)
    eval_max_new_tokens: int = setting("longest generated answer, in tokens", default=64, at_least=1)
    early_stop: int | None = setting(
        "stop after this many evaluations without improvement", default=None, at_least=1
    )


@group
class HostSettings:
    """The processes of a run of many hosts; None leaves a value to the cluster or the environment."""

    coordinator_address: str | None = setting("host:port of process 0", default=None)
    num_processes: int | None = setting("number of processes that run this command", default=None, at_least=1)
    process_id: int | None = setting("index of this process", default=None, at_least=0)
    heartbeat_timeout: int = setting(
        "seconds after which a silent host counts as lost", default=100, at_least=1
    )
    start_timeout: int = setting("seconds within which all hosts must appear", default=300, at_least=1)


@group
class StoreSettings:
    """What `prepare` does with a store that exists."""

    rebuild: bool = setting("replace a store that was made with other settings", default=False)


@group
class PlanSettings:
    """What `plan` compiles for."""

    topology: str = setting(
        "'v5e-8', 'v4-32', 'v5p-8', 'v6e-8', 'h100-8', ...; 'local': what is here", default="local"
    )
    loss_positions: int | None = setting(
        "slots for target tokens of a row; None: MAX_LENGTH / 4", default=None, at_least=1
    )
    compiler_options: Mapping[str, Any] | None = setting(
        "XLA flags as {'name': 'value'}; train takes them from LIBTPU_INIT_ARGS", default=None
    )
    device_memory: float | None = setting("GiB per device; None: the table of devices", default=None, above=0)
    method: str = setting(
        "'auto': whatever the topology allows", default="auto", choices=("auto", "compile", "estimate")
    )
    tries: int = setting("changes that may be compiled when the step does not fit", default=3, at_least=0)
    output_dir: str | None = setting("folder for plan.json and plan.md", default=None, path=True)
