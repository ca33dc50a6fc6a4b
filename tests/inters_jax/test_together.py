"""One model of several hosts: they make the same calls, and a call that is refused keeps them in step.

Two threads stand for two hosts; a dictionary stands for the coordinator.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest
from model_stand_ins import tiny_loaded

from inters_jax import hosts
from inters_jax.inference.generate import Generator
from inters_jax.inference.model import open_model
from inters_jax.inference.sampling import Sampling
from inters_jax.inference.score import Scorer
from inters_jax.inference.together import Answerers, Follower, Lead, role
from inters_jax.settings.judging import InferenceSettings
from inters_jax.shards import Shard
from inters_jax.shared_work import share_of_process
from seqio_tasks.base import UserError

PROMPTS = [[5, 6, 7], [5, 6, 8, 9], [11]]
LABELS = [np.int32(3), np.int32(4)]


class Coordinator:
    """What two hosts publish to each other."""

    def __init__(self):
        self.values, self.changed = {}, threading.Condition()

    def publish(self, key, value):
        with self.changed:
            assert key not in self.values, f"{key} was published before"
            self.values[key] = value
            self.changed.notify_all()

    def wait_for(self, key):
        with self.changed:
            assert self.changed.wait_for(lambda: key in self.values, timeout=30), f"nobody published {key}"
            return self.values[key]

    def withdraw(self, key):
        with self.changed:
            for name in [name for name in self.values if name == key or name.startswith(f"{key}/")]:
                del self.values[name]


@pytest.fixture
def coordinator(monkeypatch):
    """Two hosts: the test's own thread is the first, every other thread the second."""
    made, first = Coordinator(), threading.get_ident()
    for name in ("publish", "wait_for", "withdraw"):
        monkeypatch.setattr(hosts, name, getattr(made, name))
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: int(threading.get_ident() != first))
    return made


@pytest.fixture(scope="module")
def loaded():
    return tiny_loaded(max_position=64)


@pytest.fixture
def calls(monkeypatch):
    """(host, method, arguments) of every call of a Scorer or Generator."""
    made = []

    def spy(kind, name):
        method = getattr(kind, name)

        @functools.wraps(method)
        def call(self, *args, progress=None, **more):
            made.append((jax.process_index(), name, json.dumps([args, more], default=int)))
            return method(self, *args, progress=progress, **more)

        monkeypatch.setattr(kind, name, call)

    for kind, name in ((Scorer, "label_logits"), (Scorer, "loglikelihood"), (Generator, "generate")):
        spy(kind, name)
    return made


def test_the_other_host_makes_the_calls_of_the_first(coordinator, calls, loaded):
    sampling = Sampling(temperature=0.7, seed=2)

    def work(answerers):
        seen = []
        scorer = answerers.scorer(loaded, batch_tokens=256)
        generator = answerers.generator(loaded, max_new_tokens=2, batch_tokens=256, sampling=sampling)
        logits = scorer.label_logits(PROMPTS, LABELS, progress=seen.append)
        with pytest.raises(UserError, match="prompt 0 is empty"):
            generator.generate([[]])
        generated = generator.generate(PROMPTS, progress=seen.append)
        return logits.tolist(), generated, sum(seen), scorer.compilations

    with ThreadPoolExecutor(1) as pool:
        lead, other = Lead("work"), Follower("work")
        followed = pool.submit(other.follow, loaded)
        found = work(lead)
        lead.end({"figure": 0.1})
        assert followed.result(timeout=60) == {"figure": 0.1}
        both = {host: [call[1:] for call in calls if call[0] == host] for host in (0, 1)}
        assert both[0] == both[1] and len(both[0]) == 3
        assert other._parts[1].sampling == sampling
        assert other._parts[1].counts.generated_tokens == sum(map(len, found[1])) > 0
        assert coordinator.values == {}  # nothing is left in the coordinator's memory
        assert found == work(Answerers()) and found[2] == 2 * len(PROMPTS)
        # Another time with other parameters, as in a run that is trained.
        again = pool.submit(other.follow, tiny_loaded(max_position=64))
        lead.end()
        assert again.result(timeout=60) is None


def test_hosts_with_other_settings_or_another_model_are_refused(coordinator, loaded):
    settings = {"MESH": "tensor=-1", "DTYPE": "float32", "STEP": None}
    with ThreadPoolExecutor(1) as pool:
        model = InferenceSettings(model_dir="none", mesh="tensor=2")
        refused = pool.submit(open_model, model, Follower("model"))
        Lead("model").agree(settings)
        with pytest.raises(UserError, match="MESH='tensor=2' on host 1, but 'tensor=-1' on the first one"):
            refused.result(timeout=60)
        other = dataclasses.replace(loaded, description="run, step 4")
        refused = pool.submit(Follower("step").follow, other)
        Lead("step").scorer(loaded)
        with pytest.raises(UserError, match="host 1 has opened run, step 4, the first one random weights"):
            refused.result(timeout=60)


def test_the_first_host_has_all_questions_of_a_model_that_all_hold(coordinator, monkeypatch):
    monkeypatch.setattr(hosts, "join_hosts", lambda: 2)
    assert share_of_process(None) == Shard(1, 2)
    assert share_of_process(None, across_hosts=True, mesh="tensor=-1") is None
    with pytest.raises(UserError, match="set it, for example MESH='tensor=-1'"):
        share_of_process(None, across_hosts=True)
    with pytest.raises(UserError, match="leave it out: this run has 2 hosts"):
        share_of_process("1/2", across_hosts=True, mesh="tensor=-1")
    with pytest.raises(UserError, match=r"ACROSS_HOSTS=True makes it one of all \d+"):
        open_model(InferenceSettings(model_dir="none", mesh="tensor=64"))
    assert isinstance(role("work"), Lead)


def test_a_value_of_the_first_host_is_told_to_all(coordinator):
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(hosts.from_first, "figures", lambda: pytest.fail("made twice"))
        assert hosts.from_first("figures", lambda: [0.1, None]) == told.result(timeout=60) == [0.1, None]
