"""Model-FLOPs utilisation (MFU): operations that the model needs, over the peak of the devices.

Only real tokens count: neither padding nor what the backward pass recomputes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from inters_jax.models.config import DecoderConfig
from inters_jax.models.precision import product_rate
from inters_jax.planning import devices


class Utilisation:
    """Model FLOPs of a step, and the peak of the devices they are compared with.

    Args:
        config: shape of the decoder.
        used: the devices of the mesh.
        trained_values: number of values trained beside a frozen base (LoRA); None: all are trained.
        compute_type: of the products, whose peak is measured on CPUs.
    """

    def __init__(
        self,
        config: DecoderConfig,
        used: Sequence[jax.Device],
        trained_values: int | None = None,
        compute_type: str = "float32",
    ) -> None:
        self._devices, self._compute_type = used, compute_type
        self._peak: float | None = None
        width = config.vocab_size * config.hidden_size
        blocks = config.parameter_count - width * (1 if config.tie_embeddings else 2)
        # Operations per value and token: 2 forward, 4 backward; only 2 backward through a frozen base.
        frozen = trained_values is not None
        self._token = (4.0 if frozen else 6.0) * blocks + 6.0 * (trained_values or 0)
        self._target = (4.0 if frozen else 6.0) * width
        self._pair = 3 * 4.0 * config.num_layers * config.num_heads * config.head_dim

    def flops(self, statistics: Mapping[str, Any]) -> float:
        """Model FLOPs of a step by the statistics of its batch; attention counts all causal pairs."""
        return float(
            self._token * statistics["real_tokens"]
            + self._target * statistics["target_tokens"]
            + self._pair * statistics.get("token_pairs", 0)
        )

    @property
    def peak(self) -> float | None:
        """Peak FLOP/s of all devices; None where it is not published.

        On CPUs it is measured on first access, once for all devices: simulated devices share the cores.
        """
        if self._peak is None:
            first = self._devices[0]
            if first.platform == "cpu":
                self._peak = product_rate(self._compute_type) * jax.process_count()
            else:
                known = devices.of_kind(first.device_kind)
                self._peak = known.peak_flops * len(self._devices) if known else 0.0
        return self._peak or None
