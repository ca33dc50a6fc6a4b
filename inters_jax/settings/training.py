"""Settings of a training run; `plan` and `prepare` read some of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inters_jax.settings.fields import SettingError, group, setting

_DECODER_CONFIG = {"DecoderConfig": "inters_jax.models.config"}
_LORA = {"LoRA": "inters_jax.models.lora.layers"}
_OPTIMIZERS = {
    "AdamW": "inters_jax.training.optimizer",
    "Lion": "inters_jax.training.optimizer",
    "Adafactor": "inters_jax.training.matrix_optimizers",
    "Muon": "inters_jax.training.matrix_optimizers",
    "Optax": "inters_jax.training.optimizer",
}
_SPLASH = {"SplashBlocks": "inters_jax.models.splash"}

DTYPES = ("float32", "bfloat16", "float16")


@group
class RunSettings:
    """Where a run is kept, how long it is, and what it reports."""

    model_dir: str = setting(help="run folder; a run that is in it is continued", path=True)
    init: str = setting(
        "pretrained", "'random' takes only the shape of MODEL", choices=("pretrained", "random")
    )
    epochs: int | None = setting(3, "length of the run, unless TRAIN_STEPS is given", at_least=1)
    train_steps: int | None = setting(None, "length of the run in optimiser steps", at_least=1)
    skip_non_finite: int = setting(
        5, "abort after this many consecutive non-finite steps; 0 aborts on the first", at_least=0
    )
    log_every: int = setting(10, "steps between log records", at_least=1)
    tensorboard: bool = setting(True, "write TensorBoard events")
    wandb: str | None = setting(None, "Weights & Biases project; WANDB_MODE=offline keeps its files local")
    profile_steps: str | int | None = setting(None, "'10:13' traces steps 10, 11 and 12 into profile/")

    def __post_init__(self) -> None:
        if self.train_steps is None and self.epochs is None:
            raise SettingError("EPOCHS", "neither TRAIN_STEPS nor EPOCHS says how long the run is")


@group
class ModelSettings:
    """Which model is trained, and which part of it."""

    model: str | Any = setting(
        help="Hugging Face folder or hub name, run folder, or bare shape", path=True, objects=_DECODER_CONFIG
    )
    lora: Any | None = setting(
        None, "low-rank updates of a frozen base (lora.gin); None trains every parameter", objects=_LORA
    )


@group
class DataSettings:
    """Which examples a run sees, and how their prompts are written."""

    mixture_or_task_name: str = setting("inters", "SeqIO task or mixture")
    raw_dir: str | None = setting(
        None, "folder of the official files; None: the packaged synthetic sample", path=True
    )
    tokenizer: str | None = setting(
        None, "tokenizer.json, folder or hub name; None: the model's, else the sample's", path=True
    )
    store_dir: str | None = setting(None, "token store; None: store/ in the run folder", path=True)
    split: str = setting("train", "split of the tasks")
    seed: int = setting(0, "draws templates, demonstrations, data order and random initial weights")
    passes: int = setting(1, "renderings of every example, each with fresh templates", at_least=1)
    max_shots: int = setting(5, "training prompts carry 0 to this many demonstrations", at_least=0)
    epoch_examples: int | None = setting(
        None, "examples of an epoch; None: the sum of the mixture's rates", at_least=1
    )
    chat_template: str | None = setting(
        None, "None: plain prompts; 'tokenizer': the tokenizer's chat template; or a file", path=True
    )
    modules: tuple[str, ...] = setting(("seqio_tasks",), "modules that register the tasks")
    templates: tuple[str, ...] = setting(
        (), "template files of your own; (): those of INTERS_TEMPLATES", path=True
    )
    cache_dirs: tuple[str, ...] = setting((), "folders of seqio_cache_tasks to read tasks from", path=True)
    check_sources: bool = setting(
        True, "False accepts a store although code, templates or raw files have changed since"
    )


@group
class LengthSettings:
    """How long a sequence may be."""

    max_length: int = setting(
        2048, "tokens of the longest sequence, BOS and EOS included; positions of a packed row", at_least=1
    )


@group
class StepSettings:
    """How a training step is computed."""

    batch_size: int = setting(8, "packed rows per optimiser step, over all devices", at_least=1)
    microbatches: int = setting(1, "parts of a batch, to save memory; the result is the same", at_least=1)
    dtype: str = setting("bfloat16", "compute type; parameters and moments are float32", choices=DTYPES)
    remat: str = setting(
        "full",
        "what the backward pass keeps: 'none' recomputes nothing, 'full' everything, 'offload*' use the host",
        choices=("none", "dots", "attention", "full", "offload", "offload_dots"),
    )
    attention: str = setting(
        "auto",
        "'auto' by hardware; 'splash' on TPU, 'cudnn' on GPU",
        choices=("auto", "xla", "splash", "cudnn", "reference"),
    )
    splash_blocks: Any | None = setting(
        None, "block sizes of splash attention", objects=_SPLASH, default_object="@SplashBlocks()"
    )
    mesh: str = setting("fsdp=-1", "devices by axis, such as 'fsdp=4,tensor=2'; -1: all that remain")
    axis_rules: Mapping[str, Any] | None = setting(
        None, "changes to mesh.RULES, which place parameters, such as {'mlp': None}"
    )
    activation_axis_rules: Mapping[str, Any] | None = setting(None, "the same for activations")
    max_logits: int = setting(
        1 << 26, "logits that may exist at once on a device; more are computed in chunks", at_least=1
    )


@group
class OptimizerSettings:
    """The optimiser, its learning rate and what all optimisers share.

    The update of a step is ``-rate * (direction + weight_decay * parameter)``, where the direction is the
    optimiser's own and the gradients it sees have been clipped by their global norm.
    """

    optimizer: Any | None = setting(
        None, "Lion wants a smaller rate", objects=_OPTIMIZERS, default_object="@AdamW()"
    )
    learning_rate: float = setting(1e-5, "peak", at_least=0)
    weight_decay: float = setting(0.1, "times the rate", at_least=0)
    decay_norms: bool = setting(True, "False spares norms and biases")
    clip: float | None = setting(1.0, "largest global norm of the gradients; None: no clipping", above=0)
    schedule: str = setting("cosine", "after the warm-up", choices=("cosine", "linear", "constant"))
    warmup: float = setting(0.03, "share of the steps below 1, a number of steps from 1 on", at_least=0)
    floor: float = setting(0.1, "last learning rate as a share of the peak", at_least=0, at_most=1)
    moment_dtype: str = setting(
        "float32", "of the optimiser's moments; bfloat16 halves them", choices=("float32", "bfloat16")
    )


@group
class RetentionSettings:
    """When checkpoints are written and which of them stay."""

    checkpoint_every: int = setting(500, "steps between checkpoints", at_least=1)
    keep_checkpoints: int = setting(2, "how many of the newest stay", at_least=1)
    keep_every: int | None = setting(None, "keep checkpoints of multiples of this many steps", at_least=1)
    keep_best: str | None = setting(None, "'min:loss' or 'max:METRIC': the best checkpoint stays")


@group
class InRunEvaluationSettings:
    """Evaluation during a run."""

    eval_every: int | None = setting(None, "steps between evaluations; None: no evaluation", at_least=1)
    eval_tasks: str | None = setting(
        None, "tasks or mixtures, separated by commas; None: MIXTURE_OR_TASK_NAME"
    )
    eval_split: str = setting("validation", "split to evaluate on")
    eval_examples: int | None = setting(100, "questions per task; None: all", at_least=1)
    eval_max_new_tokens: int = setting(64, "longest generated answer, in tokens", at_least=1)
    early_stop: int | None = setting(None, "stop after this many evaluations without improvement", at_least=1)


@group
class HostSettings:
    """The processes of a run of many hosts; None leaves a value to the cluster or the environment."""

    coordinator_address: str | None = setting(None, "host:port of process 0")
    num_processes: int | None = setting(None, "number of processes that run this command", at_least=1)
    process_id: int | None = setting(None, "index of this process", at_least=0)
    heartbeat_timeout: int = setting(100, "seconds after which a silent host counts as lost", at_least=1)
    start_timeout: int = setting(300, "seconds within which all hosts must appear", at_least=1)


@group
class StoreSettings:
    """What `prepare` does with a store that exists."""

    rebuild: bool = setting(False, "replace a store that was made with other settings")


@group
class PlanSettings:
    """What `plan` compiles for."""

    topology: str = setting(
        "local", "'v5e-8', 'v4-32', 'v5p-8', 'v6e-8', 'h100-8', ...; 'local': what is here"
    )
    loss_positions: int | None = setting(
        None, "slots for target tokens of a row; None: MAX_LENGTH / 4", at_least=1
    )
    compiler_options: Mapping[str, Any] | None = setting(
        None, "XLA flags as {'name': 'value'}; train takes them from LIBTPU_INIT_ARGS"
    )
    device_memory: float | None = setting(None, "GiB per device; None: the table of devices", above=0)
    method: str = setting(
        "auto", "'auto': whatever the topology allows", choices=("auto", "compile", "estimate")
    )
    tries: int = setting(3, "changes that may be compiled when the step does not fit", at_least=0)
    output_dir: str | None = setting(None, "folder for plan.json and plan.md", path=True)
