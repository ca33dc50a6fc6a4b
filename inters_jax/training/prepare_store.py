"""The token store of a run: checked, and written by another process when it is missing.

Preparing needs SeqIO and with it TensorFlow; training must not load either, so `python -m
inters_jax.prepare` runs as a process of its own, with the gin arguments of this one. It returns within a
second when the store is there and current. Of several hosts the first prepares; the others wait for its word.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax

from inters_jax import hosts, paths
from inters_jax.config import gin_arguments
from inters_jax.data.token_store import MANIFEST, TokenStore
from seqio_tasks.base import UserError

# What the first host tells the others under this name: the fingerprint of the store, or that there is none.
_WORD, _FAILED = "store", "failed"


class Store(Protocol):
    """A token store that will be there."""

    def wait(self) -> TokenStore: ...

    def stop(self) -> None: ...


class Preparation:
    """A running `prepare`; the caller goes on loading its model meanwhile."""

    def __init__(self, store_dir: str | Path, process: subprocess.Popen[bytes]) -> None:
        self.store_dir = Path(store_dir)
        self._process = process

    def wait(self) -> TokenStore:
        """The finished store."""
        code = self._process.wait()
        if code != 0:
            hosts.publish(_WORD, _FAILED)
            raise UserError(
                f"no usable token store at {self.store_dir}: prepare ended with exit code {code}, "
                "its message is above"
            )
        store = TokenStore.open(self.store_dir)
        paths.push(self.store_dir)
        hosts.publish(_WORD, store.fingerprint)
        return store

    def stop(self) -> None:
        """End the process if it still runs; it goes on where it was the next time."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


class PreparedElsewhere:
    """The store that the first host prepares; this one waits for it."""

    def __init__(self, store_dir: str | Path) -> None:
        self.store_dir = Path(store_dir)

    def wait(self) -> TokenStore:
        """The finished store, which must be the one of the first host."""
        word = hosts.wait_for(_WORD)
        if word == _FAILED:
            raise UserError(f"the first host could not prepare the token store {self.store_dir}")
        paths.pull(self.store_dir)
        if not (self.store_dir / MANIFEST).is_file():
            raise UserError(
                f"{self.store_dir}: the first host has prepared it, this host does not see it; "
                "STORE_DIR (and MODEL_DIR) must lie on a file system that all hosts share"
            )
        store = TokenStore.open(self.store_dir)
        if store.fingerprint != word:
            raise UserError(
                f"{self.store_dir}: this host sees another token store than the first host; "
                "remove its copy, or name a folder that all hosts share (STORE_DIR)"
            )
        return store

    def stop(self) -> None:
        """Nothing runs here."""


def prepare_command(settings: Mapping[str, Any], arguments: Sequence[str]) -> list[str]:
    """The command line of `prepare`: the gin arguments of this run, then the values this run resolved.

    >>> prepare_command({"STORE_DIR": "runs/a/store", "SEED": 0}, ["--gin_file=tiny.gin"])[1:]
    ['-m', 'inters_jax.prepare', '--gin_file=tiny.gin', "--gin.STORE_DIR='runs/a/store'", '--gin.SEED=0']
    """
    overrides = [f"--gin.{name}={value!r}" for name, value in settings.items()]
    return [sys.executable, "-m", "inters_jax.prepare", *arguments, *overrides]


def start_preparing(settings: Mapping[str, Any], *, rebuild: bool = False) -> Store:
    """Start `prepare` for the macros in `settings`, on the first host.

    Args:
        settings: macros and their values; STORE_DIR names the folder.
        rebuild: replace a store that was made otherwise, which `prepare` refuses by itself.
    """
    if jax.process_index() > 0:
        return PreparedElsewhere(settings["STORE_DIR"])
    arguments = [*gin_arguments(), *(["--gin.prepare.rebuild=True"] if rebuild else [])]
    process = subprocess.Popen(prepare_command(settings, arguments), stdin=subprocess.DEVNULL)
    return Preparation(settings["STORE_DIR"], process)
