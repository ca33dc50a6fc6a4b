"""One model over the devices of several hosts: the first host decides, and all of them compute.

A program over the devices of several hosts runs only if every host starts it, in the same order. So the
first host alone has data, prompts, journal and results, and tells the others each call of its Scorers and
Generators:

    first host                                         every other host
    lead.scorer(loaded, batch_tokens=512)      -->     makes the same Scorer, with its part of the parameters
    scorer.label_logits(prompts, labels)       -->     calls it with the same arguments; the answer is dropped
    lead.end(value)                            -->     `Follower.follow` returns the value

The batches of a call depend on nothing but its arguments and the settings of its Scorer or Generator, so all
hosts run the same programs on the same arrays. No other host reads questions, a journal or a clock: it cannot
decide anything else. Messages are JSON and go through the coordinator (`hosts.publish`), one per call of many
batches.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax

from inters_jax import hosts
from inters_jax.inference.generate import Generator
from inters_jax.inference.sampling import Sampling
from inters_jax.inference.score import Scorer
from seqio_tasks.base import UserError

T = TypeVar("T")
_CALLS = ("loglikelihood", "label_logits", "generate", "permutations", "choose")


class Answerers:
    """Makes the Scorer and the Generator of a model; they take the arguments of these classes."""

    def scorer(self, loaded: Any, **settings: Any) -> Scorer:
        return Scorer(loaded, **settings)

    def generator(self, loaded: Any, **settings: Any) -> Generator:
        return Generator(loaded, **settings)


class Lead(Answerers):
    """Makes them for the first host of several; the others (`Follower`) do whatever they do.

    Args:
      name: of the work; the same on all hosts, and of no other work of the run.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._told = self._made = 0

    def agree(self, settings: Mapping[str, Any]) -> None:
        """See `Follower.agree`."""
        self._tell({"settings": settings})

    def scorer(self, loaded: Any, **settings: Any) -> Scorer:
        return self._led(super().scorer(loaded, **settings), loaded, settings)

    def generator(self, loaded: Any, **settings: Any) -> Generator:
        return self._led(super().generator(loaded, **settings), loaded, settings)

    def end(self, value: Any = None) -> None:
        """Let the other hosts go, with a value that JSON can hold."""
        self._tell({"end": value})

    def _led(self, made: Any, loaded: Any, settings: Mapping[str, Any]) -> Any:
        self._tell({"make": type(made).__name__, "model": loaded.description, "with": settings})
        self._made += 1
        return _Led(made, functools.partial(self._call, self._made - 1))

    def _call(self, number: int, name: str, method: Callable[..., Any], *args: Any, **more: Any) -> Any:
        arguments = dict(inspect.signature(method).bind(*args, **more).arguments)
        progress = arguments.pop("progress", None)
        # What a call refuses, it refuses on every host, before any has begun to compute. After another error
        # the hosts would no longer be at the same call.
        with hosts.one_fate(but=ValueError):
            said = self._tell({"call": name, "of": number, "arguments": arguments})
            return method(**said["arguments"], progress=progress)

    def _tell(self, message: Mapping[str, Any]) -> Any:
        """Tell the others, wait until they know, and return the message as they read it."""
        text = json.dumps(message, default=_plain, separators=(",", ":"))
        key = f"{self._name}/{self._told}"
        self._told += 1
        hosts.publish(key, text)
        for host in range(1, jax.process_count()):
            hosts.wait_for(f"{key}/read/{host}")
        hosts.withdraw(key)
        return json.loads(text)


class Follower:
    """A host that computes what the first one asks.

    Args:
      name: as of its `Lead`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._heard = 0
        self._parts: list[Any] = []

    def agree(self, settings: Mapping[str, Any]) -> None:
        """Wait for the first host, and compare the settings of both.

        Raises:
          UserError: they differ, by name.
        """
        first = self._hear()["settings"]
        for name, value in settings.items():
            if first[name] != value:
                raise UserError(
                    f"{name}={value!r} on host {jax.process_index()}, but {first[name]!r} on the first one; "
                    "start the same command on every host"
                )

    def follow(self, loaded: Any) -> Any:
        """Do what the first host does until it ends.

        Args:
          loaded: the LoadedModel; at a later call with the parameters that the Scorers and Generators made so
            far go on with.

        Returns:
          The value of `Lead.end`.

        Raises:
          UserError: the first host has opened another model.
        """
        for part in self._parts:
            part.use(loaded.model)
        while "end" not in (message := self._hear()):
            if "make" in message:
                self._make(loaded, message)
                continue
            with contextlib.suppress(ValueError):  # the first host refuses it as well, and says so
                getattr(self._parts[message["of"]], message["call"])(**message["arguments"])
        return message["end"]

    def _make(self, loaded: Any, message: Mapping[str, Any]) -> None:
        if message["model"] != loaded.description:
            raise UserError(
                f"host {jax.process_index()} has opened {loaded.description}, the first one "
                f"{message['model']}; MODEL_DIR and STEP must name the same files on every host"
            )
        settings = dict(message["with"])
        if settings.get("sampling") is not None:
            settings["sampling"] = Sampling(**settings["sampling"])
        kind = {"Scorer": Scorer, "Generator": Generator}[message["make"]]
        self._parts.append(kind(loaded, **settings))

    def _hear(self) -> Any:
        key = f"{self._name}/{self._heard}"
        self._heard += 1
        text = hosts.wait_for(key)
        hosts.publish(f"{key}/read/{jax.process_index()}", "read")
        return json.loads(text)


def role(name: str) -> Lead | Follower | None:
    """What this host is in a work that all hosts of the run do together; None: it is the only one."""
    if jax.process_count() == 1:
        return None
    return Follower(name) if jax.process_index() > 0 else Lead(name)


def together(
    name: str,
    across_hosts: bool,
    load: Callable[[Lead | Follower], Any],
    work: Callable[[Lead | None], T],
) -> T | None:
    """Do a work with one model: of this process, or of all hosts of the run.

    Args:
      name: of the work, as of a `Lead`.
      across_hosts: whether the hosts of the run hold the model together.
      load: opens the model on a host that only computes.
      work: called on the first host, or on every one that holds a model of its own.

    Returns:
      What `work` returns; None on a host that only computes.
    """
    others = role(name) if across_hosts else None
    if isinstance(others, Follower):
        others.follow(load(others))
        return None
    done = work(others)
    if others is not None:
        others.end()
    return done


class _Led:
    """A Scorer or Generator of the first host; every call of `_CALLS` goes to all hosts."""

    def __init__(self, made: Any, call: Callable[..., Any]) -> None:
        self._made, self._call = made, call

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._made, name)
        return functools.partial(self._call, name, found) if name in _CALLS else found


def _plain(value: Any) -> Any:
    """What JSON has no form for: NumPy's numbers and arrays, and the settings of sampling."""
    return dataclasses.asdict(value) if isinstance(value, Sampling) else value.tolist()
