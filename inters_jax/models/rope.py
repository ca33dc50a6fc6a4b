"""Positions: the published variants of rotary frequencies, and the slopes of ALiBi.

Shapes: B rows, L positions, K head size, R the rotated part of a head (K unless rotation is partial).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from inters_jax.models.config import DecoderConfig, RopeScaling

Angles = tuple[jax.Array, jax.Array]


def rope_frequencies(
    size: int, theta: float, scaling: RopeScaling | None, *, max_position: int = 0, long: bool = False
) -> np.ndarray:
    """Rotary frequencies in radians per position, float32 [size / 2].

    Args:
      size: values of a head that are rotated.
      theta: base of the frequencies.
      scaling: None for none.
      max_position: of the model, for scalings without a factor.
      long: the frequencies of sequences beyond the original length, where they differ ("longrope").

    >>> rope_frequencies(4, 10000.0, None).tolist() == [1.0, np.float32(0.01)]
    True
    >>> rope_frequencies(4, 10000.0, RopeScaling("linear", 2.0)).tolist() == [0.5, np.float32(0.005)]
    True
    """
    frequencies = theta ** -(np.arange(0, size, 2, dtype=np.float64) / size)
    if scaling is None:
        return frequencies.astype(np.float32)
    factor = _factor(scaling, max_position)
    if scaling.kind == "linear":
        frequencies = frequencies / factor
    elif scaling.kind == "longrope":
        frequencies = frequencies / np.asarray(scaling.long_factors if long else scaling.short_factors)
    else:
        keep = _kept(scaling, size, theta, frequencies)
        frequencies = frequencies * (keep + (1.0 - keep) / factor)
    return frequencies.astype(np.float32)


def _kept(scaling: RopeScaling, size: int, theta: float, frequencies: np.ndarray) -> np.ndarray:
    """For llama3 and yarn: how much of each frequency is kept, from 0 (divided by the factor) to 1."""
    if scaling.kind == "llama3":
        turns = scaling.original_max_position * frequencies / (2 * np.pi)  # over the trained length
        low, high = scaling.low_freq_factor, scaling.high_freq_factor
        return np.clip((turns - low) / (high - low), 0.0, 1.0)

    def dimension(turns: float) -> float:
        """The pair of a head that makes this many turns over the trained length."""
        return size * math.log(scaling.original_max_position / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = dimension(scaling.beta_fast), dimension(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    return 1.0 - np.clip((np.arange(size // 2) - low) / max(high - low, 1e-3), 0.0, 1.0)


def rope_amplitude(scaling: RopeScaling | None, max_position: int) -> float:
    """The factor of cosine and sine."""
    if scaling is None or scaling.kind not in ("yarn", "longrope"):
        return 1.0
    if scaling.attention_factor is not None:
        return scaling.attention_factor
    factor = _factor(scaling, max_position)
    if factor <= 1.0:
        return 1.0
    if scaling.kind == "yarn":
        return 0.1 * math.log(factor) + 1.0
    return math.sqrt(1.0 + math.log(factor) / math.log(scaling.original_max_position))


def _factor(scaling: RopeScaling, max_position: int) -> float:
    return max_position / scaling.original_max_position if scaling.factor is None else scaling.factor


def rope_angles(positions: jax.Array, frequencies: np.ndarray | jax.Array, amplitude: float = 1.0) -> Angles:
    """Cosines and sines, float32 [B, L, 1, R / 2]. positions: int [B, L]; frequencies: [..., R / 2]."""
    angles = positions.astype(jnp.float32)[..., None, None] * frequencies
    if amplitude == 1.0:
        return jnp.cos(angles), jnp.sin(angles)
    return jnp.cos(angles) * amplitude, jnp.sin(angles) * amplitude


def rotate(x: jax.Array, angles: Angles) -> jax.Array:
    """Rotate each pair (x[i], x[i + R/2]) by its angle in float32. x: [B, L, heads, K]."""
    cos, sin = angles
    half = cos.shape[-1]
    wide = x.astype(jnp.float32)
    first, second = wide[..., :half], wide[..., half : 2 * half]
    parts = [first * cos - second * sin, second * cos + first * sin]
    if x.shape[-1] > 2 * half:
        parts.append(wide[..., 2 * half :])
    return jnp.concatenate(parts, axis=-1).astype(x.dtype)


def layer_angles(
    config: DecoderConfig, positions: jax.Array, segment_ids: jax.Array | None
) -> tuple[Angles, Angles] | None:
    """The angles of layers without a window and of those with one; None for ALiBi.

    Args:
      config: of the decoder.
      positions: int [B, L].
      segment_ids: int [B, L], or None where a row is one sequence. Only "longrope" uses them: its frequencies
        depend on the length of a sequence.
    """
    if config.alibi:
        return None
    size, scaling, limit = config.rotated, config.rope_scaling, config.max_position
    frequencies = rope_frequencies(size, config.rope_theta, scaling, max_position=limit)
    amplitude = rope_amplitude(scaling, limit)
    if scaling is not None and scaling.kind == "longrope":
        long = rope_frequencies(size, config.rope_theta, scaling, max_position=limit, long=True)
        beyond = _longest(positions, segment_ids) >= scaling.original_max_position
        everywhere = rope_angles(positions, jnp.where(beyond[..., None, None], long, frequencies), amplitude)
    else:
        everywhere = rope_angles(positions, frequencies, amplitude)
    if config.local_rope_theta is None:
        return everywhere, everywhere
    return everywhere, rope_angles(positions, rope_frequencies(size, config.local_rope_theta, None))


def _longest(positions: jax.Array, segment_ids: jax.Array | None) -> jax.Array:
    """The last position of the segment of each position; broadcasts to int [B, L].

    A prompt whose generation exceeds the original length keeps its keys in the cache.
    """
    if segment_ids is None:
        return positions.max(axis=1, keepdims=True)
    rows = jnp.arange(positions.shape[0])[:, None]
    last = jnp.zeros((positions.shape[0], positions.shape[1] + 1), positions.dtype)
    return last.at[rows, segment_ids].max(positions)[rows, segment_ids]


def alibi_slopes(heads: int) -> np.ndarray:
    """The ALiBi slope of each head, float32 [heads]: a geometric series.

    If `heads` is not a power of two, the remaining heads come from the series of the next power.

    >>> alibi_slopes(4).tolist(), alibi_slopes(3).tolist()
    ([0.25, 0.0625, 0.015625, 0.00390625], [0.0625, 0.00390625, 0.25])
    """
    power = 2 ** math.floor(math.log2(heads))
    series = lambda n: [2.0 ** (-8.0 * i / n) for i in range(1, n + 1)]  # noqa: E731
    return np.array([*series(power), *series(2 * power)[::2][: heads - power]], np.float32)
