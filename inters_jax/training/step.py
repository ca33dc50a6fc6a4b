"""One optimiser step as a pure jitted function over (state, batch).

The decoder is a Flax NNX module. It is split once into its structure and a nested dict of parameters, so only
arrays cross the jit boundary (`nnx.jit` costs 2 ms a step, this costs nothing). The state is donated: the new
parameters reuse the memory of the old ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from inters_jax import mesh as meshes
from inters_jax.models.lora import trainable
from inters_jax.training import loss as losses
from inters_jax.training.optimizers import count_steps
from inters_jax.training.ranking_step import DOCUMENT_KEYS, Ranking

Parameters = dict[str, Any]
Batch = Mapping[str, jax.Array]

BATCH_KEYS = (
    "decoder_input_tokens",
    "decoder_target_tokens",
    "decoder_loss_weights",
    "decoder_segment_ids",
    "decoder_positions",
    "decoder_loss_positions",
)


class TrainState(NamedTuple):
    """Everything a run carries from step to step; with the seed of the loader it determines the run.

    Trees of this structure also hold shardings or shapes: hence Any.
    """

    step: Any  # int32 [], steps done
    params: Parameters  # nested dict of float32 arrays
    opt_state: Any


class StepMetrics(NamedTuple):
    """The results of a step: arrays still on the devices (or their shardings)."""

    loss: Any  # float32 [], mean over the target tokens of the global batch; without the ranking loss
    grad_norm: Any  # float32 [], before clipping
    target_tokens: Any  # float32 [], sum of the loss weights
    row_losses: Any  # float32 [rows], summed loss of every row; shows which row is not finite
    token_losses: Any = None  # float32 [rows, K], weighted loss at every loss position
    ranking: Any = (
        None  # float32 [2], mean and number of the ranking loss's terms; None: there is no such loss
    )


class Losses(NamedTuple):
    """What `loss_and_gradients` computes."""

    total: Any  # float32 [], what the gradients are of
    gradients: Parameters
    token_losses: Any  # float32 [rows, K], weighted loss at every loss position
    ranking_rows: Any = None  # float32 [rows], sums of the ranking loss's terms; None: there is no such loss


def batch_keys(*, documents: bool) -> tuple[str, ...]:
    """The arrays of a batch that a step reads, with those of a ranking loss or without."""
    return BATCH_KEYS + DOCUMENT_KEYS if documents else BATCH_KEYS


@dataclasses.dataclass(frozen=True)
class Structure:
    """A decoder without its parameters; `bind` puts them back."""

    graphdef: Any
    template: Any  # nnx.State of Param: paths, shapes and metadata of the parameters

    @classmethod
    def split(cls, model: nnx.Module) -> tuple[Structure, Parameters]:
        """Split a decoder, whose state is parameters only, into its structure and a nested dict of them."""
        graphdef, params = nnx.split(model, nnx.Param)
        template = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
        return cls(graphdef, template), pure(params)

    def bind(self, params: Parameters) -> Any:
        """The decoder with these parameters (arrays or tracers)."""
        state = jax.tree.map(lambda leaf: leaf, self.template)  # a copy: replace_by_pure_dict writes in place
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(self.graphdef, state)

    def abstract(self) -> Parameters:
        """Shapes and dtypes of the parameters."""
        return pure(self.template)


def pure(state: nnx.State) -> dict[str, Any]:
    """A state as nested dicts of bare values: arrays, shapes, or axis names."""
    return nnx.to_pure_dict(state)


def parameters_of(model: nnx.Module) -> Parameters:
    """The parameters of a decoder as nested dicts of arrays."""
    return pure(nnx.state(model, nnx.Param))


def path_name(path: tuple[Any, ...]) -> str:
    """``layers/attention/query`` for a path of `jax.tree_util.tree_flatten_with_path`."""
    return "/".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)


def state_shardings(
    mesh: Mesh,
    logical_axes: Any,
    params: Parameters,
    optimizer: Any,
    rules: meshes.AxisRules = meshes.STANDARD_RULES,
) -> TrainState:
    """Shardings of a `TrainState`: moments lie beside their parameters, counters everywhere.

    Args:
        mesh: the mesh.
        logical_axes: tree like `params`, tuples of axis names at the leaves.
        params: the parameters or their shapes.
        optimizer: the optax transformation.
        rules: how logical axes map to the mesh.
    """
    shardings = meshes.parameter_shardings(mesh, logical_axes, params, rules)
    flat = jax.tree_util.tree_flatten_with_path(shardings)[0]
    by_name = {path_name(path): sharding for path, sharding in flat}
    shape_of = {path_name(path): leaf.shape for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]}

    def place(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        # The optimiser keeps trees like the parameters below names of its own: 1/0/mu/layers/query.
        parts = path_name(path).split("/")
        for start in range(len(parts)):
            name = "/".join(parts[start:])
            if name in by_name and shape_of[name] == leaf.shape:
                return by_name[name]
        return meshes.replicated(mesh)

    abstract = jax.eval_shape(optimizer.init, params)
    opt_state = jax.tree_util.tree_map_with_path(place, abstract)
    return TrainState(meshes.replicated(mesh), shardings, opt_state)


def abstract_state(params: Parameters, optimizer: Any, shardings: TrainState) -> TrainState:
    """Shapes, dtypes and shardings of a state; checkpoints are restored into it."""
    shapes = TrainState(jax.ShapeDtypeStruct((), jnp.int32), params, jax.eval_shape(optimizer.init, params))
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        shardings,
    )


def init_state(params: Parameters, optimizer: Any, shardings: TrainState) -> TrainState:
    """Step 0: parameters (float32, moved to their devices) and fresh moments, created on their devices."""

    def moved(leaf: Any, sharding: NamedSharding) -> jax.Array:
        return jax.device_put(leaf, sharding).astype(jnp.float32)

    placed = jax.tree.map(moved, params, shardings.params)
    opt_state = jax.jit(optimizer.init, out_shardings=shardings.opt_state)(placed)
    step = jax.device_put(jnp.zeros((), jnp.int32), shardings.step)
    return TrainState(step, placed, opt_state)


def split_microbatches(batch: Batch, count: int) -> dict[str, jax.Array]:
    """[rows, ...] -> [count, rows / count, ...]; row r goes to microbatch r % count.

    With every count-th row in one microbatch, each device keeps its own rows: nothing moves.
    """
    return {
        name: jnp.swapaxes(array.reshape(array.shape[0] // count, count, *array.shape[1:]), 0, 1)
        for name, array in batch.items()
    }


def batch_loss(
    structure: Structure,
    params: Parameters,
    batch: Batch,
    mesh: Mesh,
    vocabulary: int,
    max_logits: int,
    ranking: Ranking | None = None,
) -> tuple[jax.Array, jax.Array | None]:
    """Weighted losses at the loss positions, float32 [rows, K], and ranking losses of every row, [rows]."""
    model = structure.bind(params)
    hidden = model.hidden(
        batch["decoder_input_tokens"], batch["decoder_segment_ids"], batch["decoder_positions"]
    )
    hidden = jax.lax.with_sharding_constraint(
        hidden, NamedSharding(mesh, PartitionSpec(meshes.ROW_AXES, "sequence", None))
    )
    token_losses, _ = losses.weighted_losses(
        hidden,
        model.logits,
        batch["decoder_target_tokens"],
        batch["decoder_loss_weights"],
        batch["decoder_loss_positions"],
        vocabulary=vocabulary,
        row_shards=meshes.row_shards(mesh),
        max_logits=max_logits,
    )
    return token_losses, None if ranking is None else ranking.row_sums(model, hidden, batch)


def target_count(batch: Batch) -> jax.Array:
    """Sum of the loss weights at the loss positions of the whole batch, at least 1 (a batch may be empty)."""
    weights, valid = losses.gather_positions(batch["decoder_loss_weights"], batch["decoder_loss_positions"])
    return jnp.maximum(jnp.sum(jnp.where(valid, weights, 0.0)), 1.0)


def loss_and_gradients(
    structure: Structure,
    params: Parameters,
    batch: Batch,
    *,
    mesh: Mesh,
    vocabulary: int,
    microbatches: int = 1,
    max_logits: int = losses.MAX_LOGITS,
    frozen: Parameters | None = None,
    key: jax.Array | None = None,
    ranking: Ranking | None = None,
) -> Losses:
    """Mean loss over the global number of target tokens, its gradients, and the losses by position and row.

    With `ranking`, its weighted mean over the global number of its terms is added. Gradients of microbatches
    are summed, and divided by the numbers of the whole batch, so the result does not depend on how many there
    are. `frozen` holds the parameters without gradients; `key` is the PRNG key of dropout.
    """
    total = target_count(batch)
    terms = jnp.ones(()) if ranking is None else jnp.maximum(ranking.terms(batch), 1.0)

    def scaled(
        params: Parameters, part: Batch, number: Any
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array | None]]:
        if frozen is not None:
            params = trainable.join(params, frozen)
        if key is not None:
            noise = trainable.noise(structure.abstract(), jax.random.fold_in(key, number))
            params = trainable.join(params, noise)
        found = batch_loss(structure, params, part, mesh, vocabulary, max_logits, ranking)
        token_losses, ranking_rows = found
        loss = jnp.sum(jnp.sum(token_losses, axis=1)) / total
        if ranking is not None and ranking_rows is not None:
            loss += ranking.weight * jnp.sum(ranking_rows) / terms
        return loss, found

    value_and_grad = jax.value_and_grad(scaled, has_aux=True)
    if microbatches == 1:
        (loss, found), gradients = value_and_grad(params, batch, 0)
        return Losses(loss, gradients, *found)

    def add(
        carry: tuple[jax.Array, Parameters], numbered: tuple[jax.Array, Batch]
    ) -> tuple[tuple[jax.Array, Parameters], tuple[jax.Array, jax.Array | None]]:
        number, part = numbered
        part = {
            name: jax.lax.with_sharding_constraint(array, meshes.batch_sharding(mesh, name))
            for name, array in part.items()
        }
        (loss, found), gradients = value_and_grad(params, part, number)
        return (carry[0] + loss, jax.tree.map(jnp.add, carry[1], gradients)), found

    start = (jnp.zeros((), jnp.float32), jax.tree.map(jnp.zeros_like, params))
    parts = (jnp.arange(microbatches), split_microbatches(batch, microbatches))
    (loss, gradients), by_part = jax.lax.scan(add, start, parts)
    found = jax.tree.map(
        lambda part: jnp.swapaxes(part, 0, 1).reshape(-1, *part.shape[2:]), by_part
    )  # row r was in microbatch r % count
    return Losses(loss, gradients, *found)


def make_train_step(
    structure: Structure,
    optimizer: Any,
    mesh: Mesh,
    shardings: TrainState,
    *,
    vocabulary: int,
    microbatches: int = 1,
    max_logits: int = losses.MAX_LOGITS,
    frozen: Any = None,
    noise_seed: int | None = None,
    ranking: Ranking | None = None,
) -> Callable[..., tuple[TrainState, StepMetrics]]:
    """The jitted `step(state, batch)`; the given state is consumed.

    When the loss or a gradient is not finite, parameters and moments stay unchanged, but the step counts: the
    run proceeds to the next batch, and the learning rate to that of the next step, so that the schedule ends
    at its floor. `reader.Reader` decides how often that may happen.

    Every number of loss positions is a program of its own; the loader offers few such numbers.

    With `frozen`, the shardings of parameters that are not trained, it is `step(state, batch, parameters)`.
    Dropout depends on `noise_seed` and the number of the step alone. With `ranking`, batches have
    `DOCUMENT_KEYS` too.
    """

    def train_step(
        state: TrainState, batch: Batch, parameters: Parameters | None = None
    ) -> tuple[TrainState, StepMetrics]:
        total, gradients, token_losses, ranking_rows = loss_and_gradients(
            structure,
            state.params,
            batch,
            mesh=mesh,
            vocabulary=vocabulary,
            microbatches=microbatches,
            max_logits=max_logits,
            frozen=parameters,
            key=None if noise_seed is None else jax.random.fold_in(jax.random.key(noise_seed), state.step),
            ranking=ranking,
        )
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        norm = optax.global_norm(gradients)
        # A non-finite step changes nothing but the step number and with it the learning rate.
        finite = jnp.isfinite(total) & jnp.isfinite(norm)
        params, opt_state = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old), (params, opt_state), (state.params, state.opt_state)
        )
        opt_state = count_steps(opt_state, state.step + 1)
        row_losses = jnp.sum(token_losses, axis=1)
        metrics = StepMetrics(total, norm, target_count(batch), row_losses, token_losses)
        if ranking is not None:
            terms = ranking.terms(batch)
            metrics = metrics._replace(
                loss=jnp.sum(row_losses) / metrics.target_tokens,
                row_losses=row_losses + ranking.weight * ranking_rows,
                ranking=jnp.stack([jnp.sum(ranking_rows) / jnp.maximum(terms, 1.0), terms]),
            )
        return TrainState(state.step + 1, params, opt_state), metrics

    everywhere = meshes.replicated(mesh)
    return jax.jit(
        train_step,
        in_shardings=(
            shardings,
            {name: meshes.batch_sharding(mesh, name) for name in batch_keys(documents=ranking is not None)},
            *(() if frozen is None else (frozen,)),
        ),
        out_shardings=(shardings, StepMetrics(*[everywhere] * len(StepMetrics._fields))),
        donate_argnums=0,
    )
