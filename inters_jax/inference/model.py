"""The model of a command that answers: opened as its settings say."""

from __future__ import annotations

import jax
from jax.sharding import Mesh

from inters_jax.inference.together import Follower, Lead
from inters_jax.mesh import MeshError, make_mesh
from inters_jax.models.loading import LoadedModel, load_model
from inters_jax.models.precision import resolve
from inters_jax.settings.judging import InferenceSettings

DEFAULT_LENGTH = 2048  # tokens of a prompt where MAX_LENGTH is None, as in training


def open_model(settings: InferenceSettings, others: Lead | Follower | None = None) -> LoadedModel:
    """The model in its compute type, on the first device of this host or on a mesh.

    Args:
      settings: which model, and how it runs.
      others: where the mesh is of the devices of all hosts, which open the model at the same time; None: it
        is of those of this host.

    Raises:
      UserError: another host was started with other settings of the model.
      MeshError: the mesh does not fit the devices.
    """
    if others is not None:
        others.agree({"MESH": settings.mesh, "DTYPE": settings.dtype, "STEP": settings.step})
    return load_model(
        settings.model_dir,
        dtype=resolve(settings.dtype),
        step=settings.step,
        mesh=None if settings.mesh is None else _mesh(settings.mesh, across_hosts=others is not None),
        tokenizer=settings.tokenizer,
    )


def _mesh(description: str, across_hosts: bool) -> Mesh:
    if across_hosts:
        return make_mesh(description)
    try:
        return make_mesh(description, jax.local_devices())
    except MeshError as error:
        if jax.process_count() == 1:
            raise
        raise MeshError(
            f"{error}. MESH is of the devices of one host; ACROSS_HOSTS=True makes it one of all "
            f"{jax.device_count()}"
        ) from None
