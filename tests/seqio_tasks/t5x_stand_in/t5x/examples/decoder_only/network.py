"""The network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass
class TransformerConfig:
    vocab_size: int
    dtype: Any
    emb_dim: int
    num_heads: int
    num_layers: int
    head_dim: int
    mlp_dim: int
    mlp_activations: Sequence[str]
    dropout_rate: float
    logits_via_embedding: bool = False


@dataclasses.dataclass
class DecoderWrapper:
    config: TransformerConfig
