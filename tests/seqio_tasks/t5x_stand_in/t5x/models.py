"""The decoder-only model."""

from __future__ import annotations

from typing import Any


class DecoderOnlyModel:
    def __init__(
        self,
        module: Any,
        vocabulary: Any,
        optimizer_def: Any,
        decode_fn: Any = None,
        inputs_bidirectional_attention: bool = False,
        feature_converter_cls: Any = None,
        label_smoothing: float = 0.0,
        z_loss: float = 0.0,
        loss_normalizing_factor: float | None = None,
    ) -> None:
        self.given = dict(locals())
