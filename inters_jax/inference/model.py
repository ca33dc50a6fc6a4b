"""The model of a command that answers: opened as its settings say."""

from __future__ import annotations

import jax

from inters_jax.mesh import make_mesh
from inters_jax.models.loading import LoadedModel, load_model
from inters_jax.models.precision import resolve
from inters_jax.settings.judging import InferenceSettings

DEFAULT_LENGTH = 2048  # tokens of a prompt where MAX_LENGTH is None, as in training


def open_model(settings: InferenceSettings) -> LoadedModel:
    """The model in its compute type, on the first device of this host or on a mesh of its devices."""
    mesh = None if settings.mesh is None else make_mesh(settings.mesh, jax.local_devices())
    return load_model(
        settings.model_dir,
        dtype=resolve(settings.dtype),
        step=settings.step,
        mesh=mesh,
        tokenizer=settings.tokenizer,
    )
