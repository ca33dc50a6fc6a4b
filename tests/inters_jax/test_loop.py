"""The loop: records, checkpoints, signals, and a loss that is not finite."""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest
from training_stand_ins import TINY, make_store

from inters_jax import mesh as meshes
from inters_jax.data.loader import PackedBatches
from inters_jax.models.decoder import abstract_model, logical_axes, random_parameters
from inters_jax.run_folder import checkpoint_steps
from inters_jax.settings.training import OptimizerSettings
from inters_jax.training import step as steps
from inters_jax.training.checkpoints import Checkpoints
from inters_jax.training.hooks import FirstStep, Hook, Report
from inters_jax.training.loop import run_training
from inters_jax.training.metrics import MetricWriter, Window, read_metrics
from inters_jax.training.optimizer import build_optimizer
from inters_jax.training.progress import Progress, seconds_since_process_start
from inters_jax.training.reader import Reader
from inters_jax.training.saving import Save
from inters_jax.training.signals import StopSignals
from seqio_tasks.base import UserError


class Disturbed(PackedBatches):
    """Batches that call `disturb(step, batch)` before they are handed out."""

    def disturb(self, step, batch):
        pass

    def iterate(self, start_step=0, **options):
        for step, batch in enumerate(super().iterate(start_step, prefetch=0), start_step):
            self.disturb(step, batch)
            yield batch


@pytest.fixture(scope="module")
def machinery(tmp_path_factory):
    store = make_store(tmp_path_factory.mktemp("data") / "store")
    mesh = meshes.make_mesh()
    structure = steps.Structure(*abstract_model(TINY))
    axes = steps.pure(logical_axes(structure.template))
    optimizer, schedule = build_optimizer(OptimizerSettings(learning_rate=0.01), 10, axes)
    shardings = steps.state_shardings(mesh, axes, structure.abstract(), optimizer)
    step = steps.make_train_step(structure, optimizer, mesh, shardings, vocabulary=TINY.vocab_size)

    def run(folder: Path, disturb=None, log_every=3, total=10, hooks=(), best=None, **options):
        batches = Disturbed(store, batch_rows=4, max_length=24, seed=0, steps=total)
        if disturb:
            batches.disturb = disturb
        state = steps.init_state(random_parameters(TINY, 0, shardings.params), optimizer, shardings)
        checkpoints = Checkpoints(folder, {}, keep=9, keep_best=best)
        writer = MetricWriter(folder, tensorboard=True)
        stream = io.StringIO()
        try:
            progress = Progress(total, stream=stream)
            outcome = run_training(
                state, train_step=step, batches=batches, mesh=mesh, total_steps=total,
                reader=Reader(batches, folder, schedule=schedule, announce=progress.line, **options),
                hooks=[
                    FirstStep(progress.line),
                    *hooks,
                    Report(log_every, progress, writer),
                    Save(4, checkpoints),
                ],
            )  # fmt: skip
        finally:
            writer.close()
            checkpoints.close()
        return outcome, stream.getvalue(), batches, schedule

    return run


def test_a_run_records_every_window_and_saves_on_the_way(machinery, tmp_path):
    outcome, text, batches, schedule = machinery(tmp_path)
    assert (outcome.step, outcome.stopped_by, int(outcome.state.step)) == (10, None, 10)
    assert checkpoint_steps(tmp_path) == [4, 8, 10]
    records = read_metrics(tmp_path)
    assert [record["step"] for record in records] == [3, 6, 9, 10]
    assert records[-1]["loss"] < records[0]["loss"]
    assert "seconds_to_first_step" in records[0] and "seconds_to_first_step" not in records[1]
    for record, start in zip(records, (0, 3, 6, 9), strict=True):
        statistics = [batches.statistics(step) for step in range(start, record["step"])]
        assert record["examples"] == sum(one["examples"] for one in statistics)
        assert record["density"] == pytest.approx(np.mean([one["density"] for one in statistics]))
        assert record["learning_rate"] == pytest.approx(float(schedule(record["step"] - 1)))
        assert sum(record["task_tokens"].values()) == pytest.approx(1)
    assert "first step finished" in text and "step 10/10" in text and "ETA" in text
    assert text.count("step 1/10  loss ") == 1 and "step 2/10" not in text
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_a_recorded_loss_is_the_mean_over_the_target_tokens_of_the_window(machinery, tmp_path):
    machinery(tmp_path / "one", log_every=1)
    _, _, batches, _ = machinery(tmp_path / "five", log_every=5)
    single = [record["loss"] for record in read_metrics(tmp_path / "one")]
    targets = [batches.statistics(step)["target_tokens"] for step in range(10)]
    expected = [np.average(single[:5], weights=targets[:5]), np.average(single[5:], weights=targets[5:])]
    np.testing.assert_allclose([r["loss"] for r in read_metrics(tmp_path / "five")], expected, rtol=1e-6)


def test_a_loss_that_is_not_finite_stops_with_the_examples_of_the_row(machinery, tmp_path):
    def disturb(step, batch):
        if step == 6:
            batch["decoder_input_tokens"][2] = 10_000  # outside the vocabulary: the embedding is not a number

    with pytest.raises(UserError) as stopped:
        machinery(tmp_path, disturb)
    message = str(stopped.value)
    report = json.loads((tmp_path / "non_finite_step_7.json").read_text())
    assert message.startswith("step 7: loss nan") and "rows 2 are not finite" in message
    assert report["rows"] == [2] and len(report["example_ids"]) == 4
    assert report["example_ids"][2][0] in message and report["example_ids"][0][0] not in message
    assert checkpoint_steps(tmp_path) == [4]  # nothing was saved after the bad step


def test_nothing_is_saved_of_a_bad_step_that_is_a_checkpoint_step(machinery, tmp_path):
    def disturb(step, batch):
        if step == 3:
            batch["decoder_input_tokens"][:] = 10_000

    with pytest.raises(UserError, match="step 4: loss nan"):
        machinery(tmp_path, disturb)
    assert checkpoint_steps(tmp_path) == []


def test_a_run_with_slow_steps_shows_a_line_every_half_minute():
    stream, now, far = io.StringIO(), [0.0], [None]
    report = Report(100, Progress(10, stream=stream), None, clock=lambda: now[0])
    reader = SimpleNamespace(so_far=lambda: far[0])
    shown = []
    for now[0], far[0] in ((0, None), (50, (1, 2.5, None)), (79, (3, 2.0, 9.0)), (81, (4, 1.5, 10.0))):
        report.before_step(1, reader)
        shown.append(stream.getvalue())
    assert shown[0] == "" and shown[1] == shown[2] == "step 1/10  loss 2.5000\n"
    assert shown[3] == shown[1] + "step 4/10  loss 1.5000  10 s/step  ETA 0:01:00\n"


class Recorded(Hook):
    """Records its calls; stops the run at `stop`."""

    def __init__(self, every=None, stop=None, record=False):
        self.every, self.stop, self.record, self.events = every, stop, record, []

    def before_step(self, step, reader):
        self.events.append(("before", step))

    def dispatched(self, step):
        self.events.append(("dispatched", step))

    def needs_record(self, end):
        return self.record

    def after_step(self, end):
        self.events.append(("after", end.step, end.first, end.last, end.record is not None))
        assert end.reader.read() is None and not end.reader._queued and int(end.state.step) == end.step
        if end.step == self.stop:
            end.stopped_by = "ENOUGH"

    def finish(self):
        self.events.append(("finish",))


def test_hooks_are_called_at_their_interval_and_at_the_end(machinery, tmp_path):
    plain, every, records = Recorded(), Recorded(every=4), Recorded(every=5, record=True)
    machinery(tmp_path, hooks=[plain, every, records])
    steps_ = [(kind, step) for step in range(1, 11) for kind in ("before", "dispatched")]
    assert plain.events == [*steps_, ("finish",)]
    after = [event for event in every.events if event[0] == "after"]
    assert after == [
        ("after", 4, False, False, False), ("after", 8, False, False, False), ("after", 10, False, True, True)
    ]  # fmt: skip
    after = [event for event in records.events if event[0] == "after"]
    assert after == [("after", 5, False, False, True), ("after", 10, False, True, True)]
    # The record that one hook needs is reported as well, and belongs to the steps since the one before.
    assert [record["step"] for record in read_metrics(tmp_path)] == [3, 5, 6, 9, 10]


def test_a_hook_can_stop_the_run_which_is_then_saved(machinery, tmp_path):
    stopping = Recorded(every=2, stop=6, record=True)
    outcome, _, _, _ = machinery(tmp_path, hooks=[stopping], log_every=50)
    assert (outcome.step, outcome.stopped_by) == (6, "ENOUGH")
    assert checkpoint_steps(tmp_path) == [4, 6] and stopping.events[-1] == ("finish",)
    assert [record["step"] for record in read_metrics(tmp_path)] == [2, 4, 6]
    assert outcome.record["loss"] == read_metrics(tmp_path)[-1]["loss"]


def test_finish_is_not_called_after_an_error(machinery, tmp_path):
    hook = Recorded()
    with pytest.raises(UserError, match="step 3: loss nan"):
        machinery(tmp_path, nan_rows_at(2), hooks=[hook])
    assert ("finish",) not in hook.events


def test_a_metric_that_never_appears_ends_the_run_at_the_first_record(machinery, tmp_path):
    with pytest.raises(UserError, match=r"no metric 'lost'; did you mean loss\?.*grad_norm, .*loss, "):
        machinery(tmp_path, best="min:lost")
    assert [record["step"] for record in read_metrics(tmp_path)] == [3]
    machinery(tmp_path / "nan", nan_rows_at(0, 1, 2), skip_non_finite=9, best="min:loss")  # nan is a value


def nan_rows_at(*numbers):
    def disturb(step, batch):
        if step in numbers:
            batch["decoder_input_tokens"][1] = 10_000  # outside the vocabulary: not a number

    return disturb


def test_non_finite_steps_are_skipped_logged_and_counted(machinery, tmp_path):
    outcome, text, _, _ = machinery(tmp_path, nan_rows_at(2, 3, 7), skip_non_finite=3)
    assert outcome.step == 10 and int(outcome.state.step) == 10
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(outcome.state.params))
    records = read_metrics(tmp_path)
    assert [record["skipped_steps"] for record in records] == [1, 1, 1, 0]
    assert all(np.isfinite(record["loss"]) for record in records)
    assert text.count("skipped step") == 3 and "skipped step 8: loss nan" in text
    assert sorted(path.name for path in tmp_path.glob("non_finite_*")) == [
        "non_finite_step_3.json", "non_finite_step_4.json", "non_finite_step_8.json"]  # fmt: skip
    assert checkpoint_steps(tmp_path) == [4, 8, 10]  # step 4 was skipped: its state is that of step 2


def test_after_skipped_steps_the_rate_is_the_recorded_one_and_reaches_its_floor(machinery, tmp_path):
    outcome, _, _, schedule = machinery(tmp_path, nan_rows_at(2, 3, 7), skip_non_finite=3)

    def scheduled(node):
        return isinstance(node, optax.ScaleByScheduleState)

    states = jax.tree.leaves(outcome.state.opt_state, is_leaf=scheduled)
    assert [int(state.count) for state in states if scheduled(state)] == [10]  # as without skipped steps
    adam = outcome.state.opt_state[1][0]
    assert int(adam.count) == 7  # moments were updated by the other steps alone
    assert read_metrics(tmp_path)[-1]["learning_rate"] == pytest.approx(float(schedule(9)))


def test_too_many_consecutive_ones_end_the_run(machinery, tmp_path):
    with pytest.raises(UserError, match="3 consecutive steps were not finite; the last: step 7: loss nan"):
        machinery(tmp_path, nan_rows_at(1, 4, 5, 6), skip_non_finite=3)
    assert json.loads((tmp_path / "non_finite_step_7.json").read_text())["rows"] == [1]


def test_a_record_of_skipped_steps_alone_has_no_loss(machinery, tmp_path):
    machinery(tmp_path, nan_rows_at(3, 4, 5), skip_non_finite=9)
    record = read_metrics(tmp_path)[1]
    assert (record["step"], record["loss"], record["skipped_steps"]) == (6, "nan", 3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends_the_run(machinery, tmp_path, number):
    def disturb(step, batch):
        if step == 5:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    outcome, _, _, _ = machinery(tmp_path, disturb)
    assert outcome.stopped_by == signal.Signals(number).name and outcome.step == 6
    assert checkpoint_steps(tmp_path) == [4, 6]
    assert [record["step"] for record in read_metrics(tmp_path)] == [3, 6]
    assert signal.getsignal(number) is before


def test_a_second_interrupt_does_not_wait():
    with pytest.raises(KeyboardInterrupt), StopSignals():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_rates_leave_out_what_came_before_the_clock_was_restarted():
    now = iter([0.0, 100.0, 104.0, 110.0])
    window = Window(clock=lambda: next(now))
    one = {"examples": 5, "real_tokens": 40, "target_tokens": 10, "density": 0.5}
    window.add(one)
    window.restart_clock()
    window.add(one)
    window.add(one)
    record = window.close()
    assert record["seconds_per_step"] == 2.0 and record["tokens_per_second"] == 20.0
    assert record["target_tokens_per_second"] == 5.0 and record["examples"] == 15
    window.add(one)
    assert window.close()["seconds_per_step"] == 6.0


def test_records_of_a_run_that_was_cut_off_are_replaced(tmp_path):
    writer = MetricWriter(tmp_path, tensorboard=False)
    for step in (2, 4, 6):
        writer.write(step, {"loss": float(step)})
    writer.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "lo')  # killed while writing
    writer = MetricWriter(tmp_path, resume_step=4, tensorboard=False)
    writer.write(6, {"loss": float("inf")})
    writer.close()
    assert read_metrics(tmp_path) == [
        {"step": 2, "loss": 2.0}, {"step": 4, "loss": 4.0}, {"step": 6, "loss": "inf"}]  # fmt: skip


def test_the_process_knows_its_age():
    first = seconds_since_process_start()
    assert 0 < first < 24 * 3600
    assert seconds_since_process_start() >= first


def test_the_bar_appears_on_a_terminal_only():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    log, screen = io.StringIO(), Terminal()
    for stream in (log, screen):
        progress = Progress(4, stream=stream)
        progress.step()
        progress.line("hello")
        progress.close()
    assert log.getvalue() == "hello\n"
    assert "hello" in screen.getvalue() and "1/4" in screen.getvalue()


def test_lines_appear_on_the_first_host_only():
    stream = io.StringIO()
    progress = Progress(4, stream=stream, visible=False)
    progress.line("hello")
    assert stream.getvalue() == "" and jax.process_index() == 0
