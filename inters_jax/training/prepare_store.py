"""The token store of a run: checked, and written by another process when it is missing.

Preparing needs SeqIO and with it TensorFlow; training must not load either, so `python -m
inters_jax.prepare` runs as a child process. It gets values only, never the gin files of this run, which may
name what only training knows. It returns within a second when the store is there and current. Of several
hosts the first one prepares; the others wait for it.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import jax

from inters_jax import hosts, paths
from inters_jax.data.token_store import MANIFEST, TokenStore
from seqio_tasks.base import UserError

# What the first host publishes as "store": the fingerprint of the store, or "failed".
_STORE, _FAILED = "store", "failed"


class Store(Protocol):
    """A token store that will be there."""

    def wait(self) -> TokenStore: ...

    def stop(self) -> None: ...


class Preparation:
    """A running `prepare`; the caller loads its model meanwhile.

    Args:
        store_dir: the folder that is written.
        process: the running command.
    """

    def __init__(self, store_dir: str | Path, process: subprocess.Popen[bytes]) -> None:
        self.store_dir = Path(store_dir)
        self._process = process

    def wait(self) -> TokenStore:
        """The finished store.

        Raises:
            UserError: `prepare` failed.
        """
        code = self._process.wait()
        if code != 0:
            hosts.publish(_STORE, _FAILED)
            raise UserError(
                f"no usable token store at {self.store_dir}: prepare ended with exit code {code}, "
                "its message is above"
            )
        store = TokenStore.open(self.store_dir)
        paths.push(self.store_dir)
        hosts.publish(_STORE, store.fingerprint)
        return store

    def stop(self) -> None:
        """End the process if it still runs; the next start resumes it."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


class PreparedElsewhere:
    """The store that the first host prepares; this host waits for it.

    Args:
        store_dir: the folder that the first host writes.
    """

    def __init__(self, store_dir: str | Path) -> None:
        self.store_dir = Path(store_dir)

    def wait(self) -> TokenStore:
        """The finished store, which must be the one of the first host.

        Raises:
            UserError: it failed there, or this host sees no store or another one.
        """
        published = hosts.wait_for(_STORE)
        if published == _FAILED:
            raise UserError(f"the first host could not prepare the token store {self.store_dir}")
        paths.pull(self.store_dir)
        if not (self.store_dir / MANIFEST).is_file():
            raise UserError(
                f"{self.store_dir}: the first host has prepared it, this host does not see it; "
                "STORE_DIR (and MODEL_DIR) must be on a file system that all hosts share"
            )
        store = TokenStore.open(self.store_dir)
        if store.fingerprint != published:
            raise UserError(
                f"{self.store_dir}: this host sees another token store than the first host; "
                "remove its copy, or name a folder that all hosts share (STORE_DIR)"
            )
        return store

    def stop(self) -> None:
        """Nothing runs on this host."""


def prepare_command(settings: Mapping[str, Any]) -> list[str]:
    """The command line of `prepare` for resolved values.

    Args:
        settings: names as typed on the command line (`STORE_DIR`), and their values:
            strings, numbers, None, paths, and lists, tuples and dicts of these.

    Raises:
        TypeError: a value that cannot be written on a command line.

    >>> prepare_command({"STORE_DIR": "runs/a/store", "SEED": 0, "RAW_DIR": None})[1:]
    ['-m', 'inters_jax.prepare', "--gin.STORE_DIR='runs/a/store'", '--gin.SEED=0', '--gin.RAW_DIR=None']
    """
    return [
        sys.executable,
        "-m",
        "inters_jax.prepare",
        *(f"--gin.{name}={_literal(name, value)}" for name, value in settings.items()),
    ]


def _literal(name: str, value: Any) -> str:
    """A value as Python, hence gin, reads it back."""
    text = repr(os.fspath(value) if isinstance(value, os.PathLike) else value)
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise TypeError(f"{name}={text} is no plain value: prepare cannot be given it") from None
    return text


def start_preparing(settings: Mapping[str, Any]) -> Store:
    """Start `prepare` with the values in `settings`, on the first host.

    Args:
        settings: every setting of `prepare`, as for `prepare_command`; STORE_DIR is the folder.
    """
    if jax.process_index() > 0:
        return PreparedElsewhere(settings["STORE_DIR"])
    process = subprocess.Popen(prepare_command(settings), stdin=subprocess.DEVNULL)
    return Preparation(settings["STORE_DIR"], process)
