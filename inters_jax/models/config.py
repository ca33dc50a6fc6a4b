"""What a decoder looks like: the one description shared by training, inference and both weight formats.

`DecoderConfig` holds plain hashable values, so that it can be a static part of a compiled program. Which keys
of a Hugging Face `config.json` fill it is said in `families.py`, one row per family.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gin

from seqio_tasks.base import UserError

ACTIVATIONS = ("silu", "gelu_tanh", "gelu")
NORMS = ("rms", "rms_late", "rms_plus_one", "layer")
NORM_PLACES = ("before", "after", "both")
RESIDUALS = ("sequential", "parallel", "parallel_shared")
ROPE_KINDS = ("linear", "llama3", "yarn", "longrope")


class ModelError(UserError):
    """A model that cannot be read, built or written; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """How rotary frequencies are stretched beyond the trained length (computed in `rope.py`).

    "linear" divides every frequency by `factor`. "llama3" divides only frequencies whose wavelength exceeds
    `original_max_position / low_freq_factor`, keeps those below `original_max_position / high_freq_factor`,
    and interpolates between. "yarn" does so between the dimensions that turn `beta_slow` and `beta_fast`
    times over the original length, and scales cosine and sine. "longrope" divides frequency i by
    `short_factors[i]`, or by `long_factors[i]` in sequences longer than the original length, and scales
    cosine and sine.

    factor: None (yarn and longrope only) means max_position / original_max_position. attention_factor: of
    cosine and sine; None means what the kind prescribes.
    """

    kind: str
    factor: float | None = None
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position: int = 8192
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True  # yarn: the two dimensions are rounded outwards
    attention_factor: float | None = None
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ROPE_KINDS:
            raise ModelError(
                f"rope scaling {self.kind!r} is not supported; known kinds: {', '.join(ROPE_KINDS)}"
            )
        if self.factor is None and self.kind in ("linear", "llama3"):
            raise ModelError(f"rope scaling {self.kind!r} without a factor")
        for name in ("short_factors", "long_factors"):
            object.__setattr__(self, name, tuple(getattr(self, name)))


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """Shape and arithmetic of one decoder.

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
    alibi: bool = False  # distances as a bias of the scores, instead of rotary positions
    rotary_dim: int = 0  # the first values of a head that are rotated; 0: all
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling | None = None
    sliding_window: int | None = None  # a position sees itself and the sliding_window - 1 before it
    sliding_layers: tuple[bool, ...] = ()  # which layers have the window; (): all
    local_rope_theta: float | None = None  # of the layers with a window, without scaling; None: as the others
    attention_scalar: float | None = None  # scores are divided by its root; None: head_dim
    attention_softcap: float | None = None
    logit_softcap: float | None = None
    norm: str = "rms"
    norm_eps: float = 1e-5
    norm_place: str = "before"  # before each half of a block, after it (on what is added), or both
    residual: str = (
        "sequential"  # parallel: both halves read the block's input, through two norms or one shared
    )
    qk_norm: bool = False  # normalise queries and keys per head, before the rotation
    qk_norm_whole: bool = False  # ... over all heads together
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
    stop_ids: tuple[int, ...] = ()  # every id that ends a generation; () means eos_id alone
    pad_id: int | None = None

    def __post_init__(self) -> None:
        def fill(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        if not self.num_kv_heads:
            fill("num_kv_heads", self.num_heads)
        if not self.head_dim:
            if self.hidden_size % self.num_heads:
                raise ModelError(
                    f"hidden_size {self.hidden_size} is no multiple of num_heads {self.num_heads};"
                    " give head_dim"
                )
            fill("head_dim", self.hidden_size // self.num_heads)
        if isinstance(self.rope_scaling, Mapping):
            fill("rope_scaling", RopeScaling(**self.rope_scaling))
        if self.rotary_dim == self.head_dim:
            fill("rotary_dim", 0)
        self._settle_windows(fill)
        fill("stop_ids", tuple(self.stop_ids) or (() if self.eos_id is None else (self.eos_id,)))
        self._check()

    def _settle_windows(self, fill: Callable[[str, Any], None]) -> None:
        """One way to say each pattern: nothing per layer where all layers are alike."""
        layers = tuple(bool(slides) for slides in self.sliding_layers)
        if layers and len(layers) != self.num_layers:
            raise ModelError(f"sliding_layers names {len(layers)} layers of {self.num_layers}")
        if layers and self.sliding_window is None and any(layers):
            raise ModelError("sliding_layers without a sliding_window")
        if layers and not any(layers):
            fill("sliding_window", None)
        fill("sliding_layers", layers if any(layers) and not all(layers) else ())
        if self.sliding_window is None:
            fill("local_rope_theta", None)

    def _check(self) -> None:
        for name in ("vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_heads", "head_dim"):
            if getattr(self, name) < 1:
                raise ModelError(f"{name} must be positive, not {getattr(self, name)}")
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
        """How many values of a head are rotated."""
        return self.rotary_dim or self.head_dim

    @property
    def block_norms(self) -> tuple[str, ...]:
        """The norms of a block on the residual width: attention_norm, attention_post_norm, ...

        >>> DecoderConfig(norm_place="after").block_norms
        ('attention_post_norm', 'mlp_post_norm')
        """
        if self.residual == "parallel_shared":
            return ("attention_norm",)
        endings = {"before": ("norm",), "after": ("post_norm",), "both": ("norm", "post_norm")}
        return tuple(f"{half}_{end}" for half in ("attention", "mlp") for end in endings[self.norm_place])

    @property
    def parameter_count(self) -> int:
        """Number of trained values, tied weights counted once."""
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

    @classmethod
    def from_hf(cls, source: Mapping[str, Any] | str | Path) -> DecoderConfig:
        """Reads a Hugging Face description: a dict, a `config.json`, or the folder that holds one."""
        from inters_jax.models.hf import config_json

        if isinstance(source, Mapping):
            return config_json.config_from_hf(source, "config")
        path = Path(source)
        path = path / "config.json" if path.is_dir() else path
        if not path.is_file():
            raise ModelError(f"{path}: no such file; a model folder holds a config.json")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ModelError(f"{path}:{error.lineno}: not JSON ({error.msg})") from error
        return config_json.config_from_hf(content, str(path))

    def to_hf(self) -> dict[str, Any]:
        """The `config.json` that Hugging Face libraries read."""
        from inters_jax.models.hf import config_json

        return config_json.config_to_hf(self)


@gin.configurable("DecoderConfig", module="inters_jax")
def decoder_config(**fields: Any) -> DecoderConfig:
    """`DecoderConfig` for gin files: `MODEL = @DecoderConfig()` and `DecoderConfig.num_layers = 4`."""
    known = [field.name for field in dataclasses.fields(DecoderConfig)]
    for name in fields:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
            raise ModelError(f"DecoderConfig has no field {name!r}; {hint}")
    return DecoderConfig(**fields)
