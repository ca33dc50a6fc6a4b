"""Who joins whom: flags, environment, clusters, and what is refused."""

from __future__ import annotations

import gin
import jax
import pytest

from inters_jax import hosts
from inters_jax.command_line import parse_arguments
from inters_jax.config import load
from inters_jax.gin_files import search_paths
from seqio_tasks.base import UserError

COMPLETE = {"JAX_COORDINATOR_ADDRESS": "host:1", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "3"}
VARIABLES = (*COMPLETE, "TPU_WORKER_HOSTNAMES", "MEGASCALE_NUM_SLICES", "SLURM_STEP_NUM_TASKS",
             "OMPI_COMM_WORLD_SIZE")  # fmt: skip


@pytest.fixture
def joined(monkeypatch):
    """What `jax.distributed.initialize` is called with."""
    calls = []
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(jax.distributed, "initialize", lambda **settings: calls.append(settings))
    with gin.unlock_config():
        gin.clear_config()
    yield calls
    with gin.unlock_config():
        gin.clear_config()


def test_one_process_joins_nobody(joined, monkeypatch):
    assert hosts.join_hosts() == 1
    assert hosts.join_hosts(num_processes=1, process_id=0, coordinator_address="a:1") == 1
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "localhost")
    assert hosts.join_hosts() == 1 and joined == []


def test_the_environment_says_who_this_is(joined, monkeypatch):
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)
    hosts.join_hosts(heartbeat_timeout=20)
    assert joined == [
        {"coordinator_address": "host:1", "num_processes": 4, "process_id": 3, "initialization_timeout": 300,
         "heartbeat_timeout_seconds": 20, "shutdown_timeout_seconds": 20}
    ]  # fmt: skip


def test_flags_win_over_the_environment(joined, monkeypatch):
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)
    line = parse_arguments(["--gin.MODEL=x", "--gin.MODEL_DIR=y", "--gin.PROCESS_ID=1",
                            "--gin.COORDINATOR_ADDRESS=other:2", "--gin.HEARTBEAT_TIMEOUT=7"])  # fmt: skip
    *_, settings = load("train", line.files, line.overrides, search_paths())
    hosts.join_hosts(**vars(settings))
    (call,) = joined
    assert (call["coordinator_address"], call["num_processes"], call["process_id"]) == ("other:2", 4, 1)
    assert call["heartbeat_timeout_seconds"] == 7


@pytest.mark.parametrize(
    "cluster",
    [
        {"TPU_WORKER_HOSTNAMES": "10.0.0.1,10.0.0.2"},
        {"MEGASCALE_NUM_SLICES": "2"},
        {"SLURM_STEP_NUM_TASKS": "8"},
        {"OMPI_COMM_WORLD_SIZE": "2"},
    ],
)
def test_a_cluster_is_left_to_jax(joined, monkeypatch, cluster):
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)
    hosts.join_hosts()
    (call,) = joined
    assert not {"coordinator_address", "num_processes", "process_id"} & set(call)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"process_id": 1}, "COORDINATOR_ADDRESS and NUM_PROCESSES not set"),
        ({"coordinator_address": "a:1", "num_processes": 2, "process_id": 2}, "not one of 2 processes"),
        ({"coordinator_address": "a", "num_processes": 2, "process_id": 1}, "has no port"),
        ({"coordinator_address": "a:1", "num_processes": "two", "process_id": 1}, "not a whole number"),
    ],
)
def test_contradictions_are_refused(joined, settings, message):
    with pytest.raises(UserError, match=message):
        hosts.join_hosts(**settings)


def test_hosts_that_do_not_appear_are_named(joined, monkeypatch):
    def fail(**settings):
        raise RuntimeError("DEADLINE_EXCEEDED: no answer")

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    with pytest.raises(UserError, match=r"at a:1 within 300 s: DEADLINE_EXCEEDED.*PROCESS_ID"):
        hosts.join_hosts(coordinator_address="a:1", num_processes=2, process_id=1)


def test_a_lost_partner_is_distinguished_from_a_fault_of_our_own():
    gloo = jax.errors.JaxRuntimeError("Gloo all-reduce failed: Connection reset by peer")
    wrapped = ValueError("a checkpoint could not be written")
    wrapped.__cause__ = gloo
    assert hosts.lost_a_host(gloo) and hosts.lost_a_host(wrapped)
    assert not hosts.lost_a_host(jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"))
    assert not hosts.lost_a_host(ValueError("peer"))


def test_alone_an_error_passes_as_it_is():
    with pytest.raises(ValueError, match="mine"), hosts.one_fate():
        raise ValueError("mine")
