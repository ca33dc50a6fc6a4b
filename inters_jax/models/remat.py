"""Rematerialisation: what the forward pass of a block saves for the backward pass, which recomputes the rest.

    name           saved for each block                           where
    none           everything that the backward pass reads        device
    dots           results of matrix products                     device
    attention      its input and the result of attention          device
    full           its input                                      device
    offload        its input                                      host
    offload_dots   results of matrix products                     host (the input: device)

Transfers to the host overlap with the computation of other blocks. They need a backend with pinned host
memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh

from inters_jax.models.config import ModelError

REMAT = ("none", "full", "dots", "attention", "offload", "offload_dots")
OFFLOADING = ("offload", "offload_dots")
HOST = "pinned_host"
INPUT, ATTENDED = "block_input", "attended"


def named(value: jax.Array, name: str) -> jax.Array:
    """Name a value [B, L, ...] for remat policies: `INPUT` or `ATTENDED`.

    It is saved as [B, L, D], because TPU memory is tiled by 128, which small heads would not fill.
    """
    kept: jax.Array = checkpoint_name(value.reshape(*value.shape[:2], -1), name)
    return kept.reshape(value.shape)


def check(remat: str, mesh: Mesh | None = None) -> None:
    """Refuse an unknown name, and offloading on devices without host memory.

    Raises:
      ModelError: names what to use instead.
    """
    if remat not in REMAT:
        raise ModelError(f"remat {remat!r} is not known; choose one of {', '.join(REMAT)}")
    if remat not in OFFLOADING:
        return
    device = jax.local_devices()[0] if mesh is None else mesh.devices.flat[0]
    try:
        kinds = {memory.kind for memory in device.addressable_memories()}
    except Exception:  # a device that is only described (AOT compilation): its compiler reports it
        return
    if HOST not in kinds:
        raise ModelError(
            f"remat {remat!r} saves activations in host memory, but {device.device_kind} has only "
            f"{', '.join(sorted(kinds))}; use REMAT='full' or 'attention'"
        )


def wrap(step: Callable[..., Any], remat: str) -> Callable[..., Any]:
    """Apply a remat policy by name to the step of a scan over blocks."""
    policies = jax.checkpoint_policies
    if remat == "none":
        return step
    policy = {
        "full": None,
        "dots": policies.dots_with_no_batch_dims_saveable,
        "attention": policies.save_only_these_names(ATTENDED),
        "offload": policies.save_and_offload_only_these_names(
            names_which_can_be_saved=[],
            names_which_can_be_offloaded=[INPUT],
            offload_src="device",
            offload_dst=HOST,
        ),
        "offload_dots": policies.offload_dot_with_no_batch_dims("device", HOST),
    }[remat]
    wrapped: Callable[..., Any] = jax.checkpoint(step, policy=policy, prevent_cse=False)
    return wrapped
