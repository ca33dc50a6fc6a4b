"""How much of the devices a run uses: operations that the model needs, over what the devices could do.

Model FLOPs are those of the useful tokens alone: a padded position, and whatever the backward pass computes
again, is work for the machine and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from inters_jax.models.config import DecoderConfig
from inters_jax.planning import devices

MEASURED_SIZE = 1024


class Utilisation:
    """Model FLOPs of a step, and the peak of the devices they are compared with.

    Args:
        config: shape of the decoder.
        used: the devices of the mesh.
        trained_values: values that are trained beside a frozen base (LoRA); None: the whole model is trained.
    """

    def __init__(
        self, config: DecoderConfig, used: Sequence[jax.Device], trained_values: int | None = None
    ) -> None:
        self._devices = used
        self._peak: float | None = None
        width = config.vocab_size * config.hidden_size
        blocks = config.parameter_count - width * (1 if config.tie_embeddings else 2)
        # Forward 2 operations a value and token, backward 4; through a frozen base only 2 go back.
        frozen = trained_values is not None
        self._token = (4.0 if frozen else 6.0) * blocks + 6.0 * (trained_values or 0)
        self._target = (4.0 if frozen else 6.0) * width
        self._pair = 3 * 4.0 * config.num_layers * config.num_heads * config.head_dim

    def flops(self, statistics: Mapping[str, Any]) -> float:
        """Of a step, by the statistics of its batch; attention counts every pair of the causal triangles."""
        return float(
            self._token * statistics["real_tokens"]
            + self._target * statistics["target_tokens"]
            + self._pair * statistics.get("token_pairs", 0)
        )

    @property
    def peak(self) -> float | None:
        """Operations a second of all devices; None where nobody published them.

        Of CPUs it is measured once, when it is first asked for: simulated devices share the same cores.
        """
        if self._peak is None:
            first = self._devices[0]
            if first.platform == "cpu":
                self._peak = measured_peak() * jax.process_count()
            else:
                known = devices.of_kind(first.device_kind)
                self._peak = known.peak_flops * len(self._devices) if known else 0.0
        return self._peak or None


def measured_peak(size: int = MEASURED_SIZE, repeats: int = 4) -> float:
    """Operations a second of the best of a few float32 matrix products; a tenth of a second on a laptop."""
    product = jax.jit(jnp.matmul)
    matrix = jax.device_put(jnp.ones((size, size), jnp.float32), jax.local_devices()[0])
    product(matrix, matrix).block_until_ready()
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        product(matrix, matrix).block_until_ready()
        best = min(best, time.perf_counter() - started)
    return 2.0 * size**3 / best
