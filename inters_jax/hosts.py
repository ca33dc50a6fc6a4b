"""The processes of a run: how they find each other, exchange values, and end together.

Every host runs the same command. Under GKE, SLURM and Open MPI no setting is needed. On a bare Cloud TPU VM,
whose environment has no such variables, INTERS_HOSTS=cluster makes JAX ask the metadata server (scripts/tpu
sets it). Elsewhere COORDINATOR_ADDRESS, NUM_PROCESSES and PROCESS_ID are settings of the command or
environment variables (JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID).

A run of several hosts is one program: no host can proceed without the others. So what ends one host ends all
of them, at once and with a reason, and the same command resumes from the newest checkpoint, on any number of
hosts.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from jax._src import distributed  # the key-value store of a run has no public name

from seqio_tasks.base import UserError
from seqio_tasks.expected_errors import TRACEBACK, expected

# Exit codes: of a host that failed, and of one that lost another host.
FAILED, LOST_A_HOST = 1, 75

AGAIN = "Start the same command again, on any number of hosts: it resumes from what is saved"

# Longest single request to the coordinator; between two of them signals are handled.
_REQUEST_MS = 1000

_LOST = re.compile(
    r"gloo|connection (reset|closed|refused)|socket closed|broken pipe|heartbeat|coordination service"
    r"|another task died|UNAVAILABLE|DEADLINE_EXCEEDED|peer|preempted|slice health|megascale",
    re.IGNORECASE,
)


def join_hosts(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    heartbeat_timeout: int = 100,
    start_timeout: int = 300,
) -> int:
    """Join the other processes of the run, if there are any; later calls do nothing.

    Args:
        coordinator_address: host:port of process 0; None: from the environment.
        num_processes: number of processes that run this command; None: from the environment.
        process_id: the number of this process, from 0; None: from the environment.
        heartbeat_timeout: seconds without a heartbeat after which a host counts as lost.
        start_timeout: seconds to wait for all hosts to appear.

    Returns:
        The number of processes.

    Raises:
        UserError: the settings contradict each other, or a host did not appear.
    """
    if jax.distributed.is_initialized():
        return jax.process_count()
    found = _settings(coordinator_address, num_processes, process_id, os.environ)
    if found is None and not _managed(os.environ):
        return 1
    try:
        jax.distributed.initialize(
            **(found or {}),
            initialization_timeout=start_timeout,
            heartbeat_timeout_seconds=heartbeat_timeout,
            shutdown_timeout_seconds=max(heartbeat_timeout, 10),
        )
    except Exception as error:
        address = (found or {}).get("coordinator_address")
        where = f" at {address}" if address else ""
        raise UserError(
            f"the hosts of the run did not find each other{where} within {start_timeout} s: "
            f"{_first_line(error)}; start the same command on every host, with its own PROCESS_ID and one "
            "COORDINATOR_ADDRESS"
        ) from error
    return jax.process_count()


def _settings(
    address: str | None, count: int | None, index: int | None, environment: Mapping[str, str]
) -> dict[str, Any] | None:
    """Explicit arguments of `jax.distributed.initialize`; None: there are none, or there is one process.

    >>> _settings("a:1", None, None, {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"})
    {'num_processes': 2, 'process_id': 1, 'coordinator_address': 'a:1'}
    """
    given = {
        "COORDINATOR_ADDRESS": environment.get("JAX_COORDINATOR_ADDRESS") if address is None else address,
        "NUM_PROCESSES": environment.get("JAX_NUM_PROCESSES") if count is None else count,
        "PROCESS_ID": environment.get("JAX_PROCESS_ID") if index is None else index,
    }
    missing = [name for name, value in given.items() if value in (None, "")]
    if len(missing) == len(given) or str(given["NUM_PROCESSES"]) == "1":
        return None
    if missing and not _managed(environment):  # a cluster knows the rest
        raise UserError(
            f"{' and '.join(missing)} not set, but not all three are missing: set COORDINATOR_ADDRESS, "
            "NUM_PROCESSES and PROCESS_ID (or JAX_COORDINATOR_ADDRESS, ... in the environment), or none"
        )
    settings: dict[str, Any] = {}
    for name in ("NUM_PROCESSES", "PROCESS_ID"):
        if name not in missing:
            try:
                settings[name.lower()] = int(str(given[name]))
            except ValueError:
                raise UserError(f"{name}={given[name]!r} is not a whole number") from None
    if "COORDINATOR_ADDRESS" not in missing:
        if ":" not in str(given["COORDINATOR_ADDRESS"]):
            raise UserError(
                f"COORDINATOR_ADDRESS={given['COORDINATOR_ADDRESS']!r} has no port; write HOST:PORT"
            )
        settings["coordinator_address"] = str(given["COORDINATOR_ADDRESS"])
    if not missing and not 0 <= settings["process_id"] < settings["num_processes"]:
        raise UserError(
            f"PROCESS_ID={settings['process_id']} is not one of {settings['num_processes']} processes; "
            "they are numbered from 0"
        )
    return settings


def _managed(environment: Mapping[str, str]) -> bool:
    """Whether a cluster started several processes, which JAX finds out about by itself.

    >>> [_managed(e) for e in ({}, {"SLURM_STEP_NUM_TASKS": "4"}, {"OMPI_COMM_WORLD_SIZE": "1"})]
    [False, True, False]
    >>> [_managed({"TPU_WORKER_HOSTNAMES": names}) for names in ("10.0.0.1,10.0.0.2", "localhost")]
    [True, False]
    """
    return (
        "," in environment.get("TPU_WORKER_HOSTNAMES", "")
        or _number(environment.get("MEGASCALE_NUM_SLICES")) > 1
        or _number(environment.get("SLURM_STEP_NUM_TASKS")) > 1
        or _number(environment.get("OMPI_COMM_WORLD_SIZE")) > 1
        or environment.get("INTERS_HOSTS") == "cluster"
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 1


def publish(key: str, value: str) -> None:
    """Publish a value to the other hosts; no-op on one."""
    if (client := distributed.global_state.client) is not None:
        client.key_value_set(f"inters/{key}", value)


def wait_for(key: str) -> str:
    """Wait for the value that another host publishes as `key`.

    If a host dies meanwhile, this process ends too (`join_hosts`, heartbeat_timeout).
    """
    client = distributed.global_state.client
    if client is None:
        raise UserError(f"there is no other host to wait for: nobody publishes {key!r}")
    while True:
        try:
            return str(client.blocking_key_value_get(f"inters/{key}", _REQUEST_MS))
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise


def withdraw(key: str) -> None:
    """Take a published value back, with those whose key begins with `key`/; no-op on one host."""
    if (client := distributed.global_state.client) is not None:
        client.key_value_delete(f"inters/{key}")


def from_first(key: str, make: Callable[[], Any]) -> Any:
    """A value that the first host makes, and that is the same on every host.

    Args:
        key: of this value alone.
        make: returns something that JSON can hold; called on the first host.
    """
    if jax.process_count() == 1:
        return make()
    if jax.process_index() > 0:
        return json.loads(wait_for(key))
    value = make()
    publish(key, json.dumps(value))
    return value


@contextlib.contextmanager
def one_fate(but: type[Exception] | tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Inside the block an error of this host ends all hosts: the process prints the reason and exits at once.

    An ordinary exit would wait for hosts that wait for this one. With one process errors pass unchanged.

    Args:
        but: errors that pass unchanged with several processes, too.
    """
    try:
        yield
    except but:
        raise
    except BaseException as error:
        if not jax.distributed.is_initialized() or jax.process_count() == 1:
            raise
        if isinstance(error, SystemExit) and error.code in (0, None):
            raise
        lost = lost_a_host(error)
        who = f"host {jax.process_index()} of {jax.process_count()}"
        if lost:
            why = f"another host of this run ended or cannot be reached ({_first_line(error)})"
            text = f"{who} stops: {why}. {AGAIN}"
        elif isinstance(error, SystemExit):
            text = f"{who} stops, and the run with it: {error.code}. {AGAIN}"
        elif (reason := expected(error)) is not None and not os.environ.get(TRACEBACK):
            text = f"{who} stops, and the run with it: {reason}"
        else:
            text = f"{''.join(traceback.format_exception(error))}{who} failed and ends the run. {AGAIN}"
        print(text, file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(LOST_A_HOST if lost else FAILED)


def lost_a_host(error: BaseException) -> bool:
    """Whether an error (or its cause) comes from another host that ended or cannot be reached."""
    while error is not None:
        if isinstance(error, jax.errors.JaxRuntimeError) and _LOST.search(str(error)):
            return True
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return False


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
