"""Any optimiser of optax by its name.

--gin.OPTIMIZER=@Optax() --gin.Optax.name=adabelief --gin.Optax.arguments="{'b2': 0.99}"
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

import gin
import jax
import jax.numpy as jnp
import optax

from inters_jax.training.optimizers import Optimizer, stored_as
from inters_jax.training.schedule import Schedule
from seqio_tasks.base import UserError, nearest

# Optimisers of optax that would train, but not as intended.
_REFUSED = {
    "muon": "it would take stacked norms for matrices; use OPTIMIZER=@Muon(), which knows the layers",
    "schedule_free": "its parameters have to be averaged before they can be used, which no command does",
}
# Arguments that OptimizerSettings has for all optimisers.
_SHARED = {"learning_rate": "LEARNING_RATE", "weight_decay": "WEIGHT_DECAY"}
_MASKS = ("mask", "weight_decay_mask")
_DECAYS = ("b1", "b2", "b3", "beta", "decay", "momentum", "rho")


@functools.cache
def available() -> dict[str, Callable[..., Any]]:
    """Name -> function, of every optimiser of `optax` and `optax.contrib`: all that take a learning rate."""
    return {
        name: function
        for module in (optax.contrib, optax)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if not name.startswith(("_", "scale_by_"))
        and "learning_rate" in inspect.signature(function).parameters
    }


@gin.register(module="inters_jax")
@dataclasses.dataclass(frozen=True)
class Optax(Optimizer):
    """An optimiser of optax or optax.contrib with the learning rate and decay of the run.

    Weight decay is the optimiser's own where it has such an argument; elsewhere decoupled decay is added, as
    in AdamW. To optax the layers of a stack are one array: what an optimiser computes per array (a norm, a
    trust ratio) it computes per stack.

    name: such as "adabelief" (`optax.adabelief`) or "ademamix" (`optax.contrib.ademamix`).
    arguments: further arguments of that function; plain values, since checkpoints record them.
    """

    name: str
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.arguments, Mapping):
            raise UserError(f"Optax.arguments is {self.arguments!r:.80}, expected {{'name': value}}")
        for start, reason in _REFUSED.items():
            if self.name.startswith(start):
                raise UserError(f"{self.kind} cannot be used: {reason}")
        known = available()
        if self.name not in known:
            raise UserError(f"optax has no optimiser {self.name!r}{nearest(self.name, known)}")
        for name in self.arguments:
            if name in _SHARED:
                raise UserError(f"{self.kind}: {name} is set for all optimisers with {_SHARED[name]}")
            if name not in self._parameters:
                raise UserError(
                    f"{self.kind} has no argument {name!r}{nearest(name, self._parameters)}; it has "
                    f"{', '.join(self._parameters)}"
                )
        try:
            json.dumps(dict(self.arguments))
        except TypeError as error:
            raise UserError(f"{self.kind}: arguments must be plain values ({error})") from error

    @property
    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(available()[self.name]).parameters

    @property
    def kind(self) -> str:
        """``optax.NAME``."""
        return f"optax.{self.name}"

    @property
    def moments(self) -> float:
        """Values of the state for each value of a large matrix."""
        optimizer = self._make(lambda step: 0.0, 0.0, None)
        state = jax.eval_shape(optimizer.init, {"w": jax.ShapeDtypeStruct((256, 256), jnp.float32)})
        floats = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        return round(sum(leaf.size for leaf in floats) / 256**2, 2)

    def transformation(
        self, schedule: Schedule, *, weight_decay: float, mask: Any, moment_dtype: str, logical_axes: Any
    ) -> optax.GradientTransformation:
        """The optimiser, with decoupled weight decay where it has none of its own."""
        defaults = {name: parameter.default for name, parameter in self._parameters.items()}
        decays = {**defaults, **self.arguments}
        numbers = {name: decays[name] for name in _DECAYS if isinstance(decays.get(name), float)}
        self._check_rounding(moment_dtype, **numbers)
        optimizer = stored_as(self._make(schedule, weight_decay, mask), moment_dtype)
        if "weight_decay" in self._parameters or not weight_decay:
            return optimizer
        decay = optax.chain(
            optax.add_decayed_weights(weight_decay, mask), optax.scale_by_learning_rate(schedule)
        )

        def update(gradients: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
            updates, first = optimizer.update(gradients, state[0], params)
            nothing = jax.tree.map(jnp.zeros_like, updates)
            decayed, second = decay.update(nothing, state[1], params)
            return jax.tree.map(jnp.add, updates, decayed), (first, second)

        return optax.GradientTransformation(
            lambda params: (optimizer.init(params), decay.init(params)), update
        )

    def _make(self, schedule: Schedule, weight_decay: float, mask: Any) -> optax.GradientTransformation:
        """The optax optimiser, checked on small shapes."""
        given = {"learning_rate": schedule, **self.arguments}
        own_decay = "weight_decay" in self._parameters
        if own_decay:
            given["weight_decay"] = weight_decay
        # A mask is a tree like the parameters of the run, so the check does without.
        self._check(lambda: available()[self.name](**given))
        if own_decay and weight_decay and mask is not None:
            masks = [name for name in _MASKS if name in self._parameters]
            if not masks:
                raise UserError(
                    f"{self.kind} decays all parameters alike: it cannot spare norms (decay_norms=False)"
                )
            given[masks[0]] = mask
        optimizer: optax.GradientTransformation = available()[self.name](**given)
        return optimizer

    def _check(self, make: Callable[[], optax.GradientTransformation]) -> None:
        """Refuse optimisers that need more than gradients and parameters, or keep no plain arrays."""
        probe = {
            "stack": jax.ShapeDtypeStruct((2, 4, 4), jnp.float32),
            "norm": jax.ShapeDtypeStruct((4,), jnp.float32),
        }
        try:
            optimizer = make()
            state = jax.eval_shape(optimizer.init, probe)
            updates, after = jax.eval_shape(optimizer.update, probe, state, probe)
        except Exception as error:  # whatever an optimiser raises that expects other arguments
            reason = (str(error).strip().splitlines() or [""])[0]
            raise UserError(
                f"{self.kind} cannot be used with a schedule, gradients and parameters alone:"
                f" {type(error).__name__}: {reason[:300]}"
            ) from error

        def shapes(tree: Any) -> Any:
            return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)

        keys = any(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in jax.tree.leaves(state))
        if shapes(updates) != shapes(probe) or shapes(after) != shapes(state) or keys:
            raise UserError(
                f"{self.kind} cannot be used: its updates or its state are not arrays of fixed shape"
            )
