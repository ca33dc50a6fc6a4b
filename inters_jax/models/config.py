"""The configuration of a decoder, shared by training, inference and both weight formats.

`DecoderConfig` holds plain hashable values, so it can be a static part of a compiled program.
`inters_jax.models.hf.config_json` converts it from and to a Hugging Face `config.json`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import gin

from inters_jax.field_types import check_field_types
from seqio_tasks.base import UserError

ACTIVATIONS = ("silu", "gelu_tanh", "gelu")
NORMS = ("rms", "rms_late", "rms_plus_one", "layer")
NORM_PLACES = ("before", "after", "both")
RESIDUALS = ("sequential", "parallel", "parallel_shared")
ROPE_KINDS = ("linear", "llama3", "yarn", "longrope")


MOST_LAYERS = 10_000  # more are a mistake, and would take hours to describe


class ModelError(UserError):
    """A model cannot be read, built or written; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """How rotary frequencies are scaled for sequences beyond the trained length (computed in `rope.py`).

    "linear" divides every frequency by `factor`. "llama3" divides only frequencies whose wavelength exceeds
    `original_max_position / low_freq_factor`, keeps those below `original_max_position / high_freq_factor`,
    and interpolates in between. "yarn" does the same between the dimensions that rotate `beta_slow` and
    `beta_fast` times over the original length, and scales cosine and sine. "longrope" divides frequency i by
    `short_factors[i]`, or by `long_factors[i]` in sequences longer than the original length, and scales
    cosine and sine.

    Args:
      kind: one of `ROPE_KINDS`.
      factor: None (yarn and longrope only) means max_position / original_max_position.
      truncate: whether yarn rounds its two boundary dimensions outwards.
      attention_factor: multiplies cosine and sine; None for the default of the kind.
    """

    kind: str
    factor: float | None = None
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position: int = 8192
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    attention_factor: float | None = None
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_field_types(self, ModelError)
        if self.kind not in ROPE_KINDS:
            raise ModelError(
                f"rope scaling {self.kind!r} is not supported; known kinds: {', '.join(ROPE_KINDS)}"
            )
        if self.factor is None and self.kind in ("linear", "llama3"):
            raise ModelError(f"rope scaling {self.kind!r} without a factor")
        for name in ("short_factors", "long_factors"):
            object.__setattr__(self, name, tuple(getattr(self, name)))


@gin.register(module="inters_jax")
@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """The shape and arithmetic of a decoder.

    >>> config = DecoderConfig(vocab_size=100, hidden_size=32, intermediate_size=64, num_heads=4)
    >>> config.num_kv_heads, config.head_dim
    (4, 8)
    """

    family: str = "llama"
    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_layers: int = 32
    num_heads: int = 32
    num_kv_heads: int = 0  # 0: one per query head
    head_dim: int = 0  # 0: hidden_size / num_heads
    max_position: int = 4096
    alibi: bool = False  # a linear bias on the scores instead of rotary positions
    rotary_dim: int = 0  # how many leading values of a head are rotated; 0: all
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling | None = None
    sliding_window: int | None = None  # a position attends to itself and the sliding_window - 1 before it
    sliding_layers: tuple[bool, ...] = ()  # which layers have the window; (): all
    local_rope_theta: float | None = None  # for layers with a window, without scaling; None: rope_theta
    attention_scalar: float | None = None  # scores are divided by its square root; None: head_dim
    attention_softcap: float | None = None
    logit_softcap: float | None = None
    norm: str = "rms"
    norm_eps: float = 1e-5
    norm_place: str = "before"  # before each half of a block, after it (on the residual update), or both
    # parallel: both halves read the block's input, each through its own norm; parallel_shared: through one.
    residual: str = "sequential"
    qk_norm: bool = False  # normalise queries and keys per head, before the rotation
    qk_norm_whole: bool = False  # ... over all heads at once
    activation: str = "silu"
    gated_mlp: bool = True
    attention_bias: bool = False  # on query, key and value
    attention_output_bias: bool = False
    mlp_bias: bool = False
    head_bias: bool = False
    tie_embeddings: bool = False
    scale_embeddings: bool = False  # multiply embeddings by sqrt(hidden_size)
    init_std: float = 0.02
    bos_id: int | None = 1
    eos_id: int | None = 2
    stop_ids: tuple[int, ...] = ()  # every id that ends a generation; (): eos_id only
    pad_id: int | None = None

    def __post_init__(self) -> None:
        def fill(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        self._check_values()
        if not self.num_kv_heads:
            fill("num_kv_heads", self.num_heads)
        if not self.head_dim:
            if self.hidden_size % self.num_heads:
                raise ModelError(
                    f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads};"
                    " set head_dim"
                )
            fill("head_dim", self.hidden_size // self.num_heads)
        if isinstance(self.rope_scaling, Mapping):
            fill("rope_scaling", RopeScaling(**self.rope_scaling))
        if self.rotary_dim == self.head_dim:
            fill("rotary_dim", 0)
        self._normalise_windows(fill)
        fill("stop_ids", tuple(self.stop_ids) or (() if self.eos_id is None else (self.eos_id,)))
        self._check()

    def check_length(self, max_length: int) -> None:
        """Refuse sequences that are longer than the model can be.

        Raises:
          ModelError: says how long they may be.
        """
        if max_length > self.max_position:
            raise ModelError(
                f"MAX_LENGTH={max_length}: MODEL has {self.max_position} positions only, and generation and "
                f"reranking stop there; set MAX_LENGTH={self.max_position} or less (of a bare shape, raise "
                "DecoderConfig.max_position)"
            )

    def _normalise_windows(self, fill: Callable[[str, Any], None]) -> None:
        """Give each window pattern one representation: no per-layer list where all layers are alike."""
        layers = tuple(bool(slides) for slides in self.sliding_layers)
        if layers and len(layers) != self.num_layers:
            raise ModelError(f"sliding_layers has {len(layers)} entries for {self.num_layers} layers")
        if layers and self.sliding_window is None and any(layers):
            raise ModelError("sliding_layers without a sliding_window")
        if layers and not any(layers):
            fill("sliding_window", None)
        fill("sliding_layers", layers if any(layers) and not all(layers) else ())
        if self.sliding_window is None:
            fill("local_rope_theta", None)

    def _check_values(self) -> None:
        """What has to hold before anything is derived from the fields."""
        check_field_types(self, ModelError)
        self._check_positive("vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_heads")
        if self.num_layers > MOST_LAYERS:
            raise ModelError(f"num_layers is {self.num_layers}; models have at most {MOST_LAYERS:,}")

    def _check_positive(self, *names: str) -> None:
        for name in names:
            if getattr(self, name) < 1:
                raise ModelError(f"{name} must be positive, not {getattr(self, name)}")

    def _check(self) -> None:
        self._check_positive("num_kv_heads", "head_dim", "max_position")
        if self.num_heads % self.num_kv_heads:
            raise ModelError(
                f"num_heads {self.num_heads} must be a multiple of num_kv_heads {self.num_kv_heads}"
            )
        if not self.alibi and (self.rotated % 2 or not 0 < self.rotated <= self.head_dim):
            raise ModelError(
                f"rotary_dim {self.rotated} must be even and at most head_dim {self.head_dim}"
                " for rotary positions"
            )
        for name, known in (
            ("norm", NORMS),
            ("activation", ACTIVATIONS),
            ("norm_place", NORM_PLACES),
            ("residual", RESIDUALS),
        ):
            if getattr(self, name) not in known:
                raise ModelError(
                    f"{name} {getattr(self, name)!r} is not supported; known: {', '.join(known)}"
                )
        if self.sliding_window is not None and self.sliding_window < 1:
            raise ModelError(f"sliding_window must be positive or None, not {self.sliding_window}")

    @property
    def rotated(self) -> int:
        """The number of values of a head that are rotated."""
        return self.rotary_dim or self.head_dim

    @property
    def block_norms(self) -> tuple[str, ...]:
        """The names of a block's norms over the hidden size: attention_norm, attention_post_norm, ...

        >>> DecoderConfig(norm_place="after").block_norms
        ('attention_post_norm', 'mlp_post_norm')
        """
        if self.residual == "parallel_shared":
            return ("attention_norm",)
        endings = {"before": ("norm",), "after": ("post_norm",), "both": ("norm", "post_norm")}
        return tuple(f"{half}_{end}" for half in ("attention", "mlp") for end in endings[self.norm_place])

    @property
    def parameter_count(self) -> int:
        """The number of parameters; tied weights count once."""
        d, f, h, g, k = (
            self.hidden_size, self.intermediate_size, self.num_heads, self.num_kv_heads, self.head_dim,
        )  # fmt: skip
        attention = d * k * (2 * h + 2 * g)
        attention += k * ((h + g) if self.qk_norm_whole else 2) * self.qk_norm
        attention += k * (h + 2 * g) * self.attention_bias + d * self.attention_output_bias
        into = 2 if self.gated_mlp else 1
        mlp = (into + 1) * d * f + (into * f + d) * self.mlp_bias
        norm = d * (2 if self.norm == "layer" else 1)
        embeddings = self.vocab_size * (d * (1 if self.tie_embeddings else 2) + self.head_bias)
        return embeddings + self.num_layers * (attention + mlp + len(self.block_norms) * norm) + norm
