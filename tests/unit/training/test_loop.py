"""The training loop: means, divergence, and bit-exact repetition and resuming."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tsme.settings import override
from tsme.training.distributed import Worker, unwrap_model
from tsme.training.loop import Diverged, fit

STAGES = ("dsgan", "reid")


class FakeTask:
    """Steps return the given losses; `log` lists the loop's calls."""

    stage = "fake"
    epochs = 3
    seed = 5
    lr_key: str | None = "fake.optimizer.lr"

    def __init__(self, batches: dict[int, list[dict[str, float]]]) -> None:
        self.batches, self.log, self.draws = batches, [], []

    def step_batches(self, epoch):
        self.log.append(f"batches {epoch}")
        self.draws.append(float(torch.rand(())))
        return iter(self.batches[epoch])

    def step(self, batch):
        self.log.append("step")
        return {name: torch.tensor(value) for name, value in batch.items()}

    def end_epoch(self):
        self.log.append("end")
        return {"lr": 0.5}

    def preview(self):
        return None

    def state(self):
        self.log.append("state")
        return {"epochs": self.log.count("end")}

    def load_state(self, state):
        raise AssertionError("the caller of fit restores the state")


BATCHES = {
    1: [{"one": 1.0, "total": 4.0}, {"one": 2.0, "total": 5.0}, {"one": 6.0, "total": 0.0}],
    2: [{"one": 0.25, "total": -1.0}],
    3: [{"one": 1.0, "total": 1.0}, {"one": 0.0, "total": 2.0}],
}


def test_losses_are_means_over_the_steps_of_an_epoch():
    results = list(fit(FakeTask(BATCHES), Worker()))
    expected = [{"one": 3, "total": 3}, {"one": 0.25, "total": -1}, {"one": 0.5, "total": 1.5}]
    assert [r.losses for r in results] == [pytest.approx(e) for e in expected]
    assert [(r.stage, r.epoch, r.epochs) for r in results] == [("fake", k, 3) for k in (1, 2, 3)]
    assert all(r.metrics == {"lr": 0.5} and r.seconds >= 0 for r in results)


def test_a_checkpoint_is_taken_after_the_schedules_have_stepped():
    results = list(fit(FakeTask(BATCHES), Worker()))
    expected = [{"stage": "fake", "epoch": k, "task": {"epochs": k}} for k in (1, 2, 3)]
    assert [r.checkpoint for r in results] == expected


def test_an_epoch_is_complete_before_it_is_yielded():
    task = FakeTask(BATCHES)
    stream = fit(task, Worker())
    assert task.log == []
    next(stream)
    assert task.log == ["batches 1", "step", "step", "step", "end", "state"]


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_epochs_already_done_are_not_repeated(done):
    task = FakeTask(BATCHES)
    assert [r.epoch for r in fit(task, Worker(), done=done)] == list(range(done + 1, 4))
    whole = FakeTask(BATCHES)
    list(fit(whole, Worker()))
    assert task.draws == whole.draws[done:]  # each epoch seeds the global generator
    assert len(set(whole.draws)) == 3


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["one", "total"])
def test_a_loss_that_is_not_finite_is_an_error_naming_term_and_epoch(value, name):
    broken = BATCHES | {2: [BATCHES[2][0], BATCHES[2][0] | {name: value}]}
    task, seen = FakeTask(broken), []
    with pytest.raises(Diverged, match=rf"fake: the loss {name} is .*epoch 2.*fake\.optimizer\.lr"):
        seen.extend(fit(task, Worker()))
    assert len(seen) == 1
    assert task.log[-1] == "step"  # no schedule step, no checkpoint


def test_the_error_names_no_key_if_the_task_has_none():
    task = FakeTask({1: [{"total": math.nan}]})
    task.lr_key = None
    with pytest.raises(Diverged, match=r"lower the learning rate$"):
        list(fit(task, Worker()))


@pytest.mark.parametrize("stage", ["dsgan", "reid"])
def test_bfloat16_changes_losses_little_and_no_weight_type(tiny, make_task, stage):
    half = override(tiny, {f"{stage}.precision": "bfloat16"})
    tasks = [make_task(stage, config) for config in (tiny, half)]
    losses = [task.step(next(iter(task.step_batches(1)))) for task in tasks]
    for name, full in losses[0].items():
        assert losses[1][name].dtype == torch.float32
        assert float(losses[1][name]) == pytest.approx(float(full), rel=0.1, abs=0.02)
        assert float(losses[1][name]) != float(full)
    for key, value in flat(tasks[1].state()).items():
        assert not value.is_floating_point() or value.dtype == torch.float32, key


def flat(tree: Any, prefix: str = "") -> dict[str, Tensor]:
    """Every tensor in a task's state, by path."""
    if isinstance(tree, Tensor):
        return {prefix: tree}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return {k: v for name, inner in items for k, v in flat(inner, f"{prefix}.{name}").items()}


@pytest.mark.parametrize("stage", STAGES)
def test_a_real_training_that_diverges_is_an_error(make_task, tiny, stage):
    task = make_task(stage, override(tiny, {f"{stage}.optimizer.lr": 1e30}))
    with pytest.raises(Diverged, match=f"{stage}: the loss"):
        list(fit(task, Worker()))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("stop", [1, 2])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(make_task, run, weights, stage, stop):
    whole = make_task(stage)
    expected, _ = run(whole)
    _, files = run(make_task(stage), stop=stop)
    checkpoint = torch.load(io.BytesIO(files[-1]), weights_only=True)
    assert (checkpoint["stage"], checkpoint["epoch"]) == (stage, stop)
    torch.manual_seed(12345)  # another process
    resumed = make_task(stage)
    resumed.load_state(checkpoint["task"])
    got, _ = run(resumed, done=stop)
    assert [r.losses for r in got] == [r.losses for r in expected[stop:]]
    assert [r.metrics for r in got] == [r.metrics for r in expected[stop:]]
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name


@pytest.mark.parametrize("stage", STAGES)
def test_a_checkpoint_holds_the_optimisers_momenta(make_task, run, stage):
    """Resuming without them gives other losses, so the test above would notice."""
    expected, files = run(make_task(stage))
    state = torch.load(io.BytesIO(files[0]), weights_only=True)["task"]
    forgetful = make_task(stage)
    kept = {k: v for k, v in forgetful.state().items() if "optimizer" in k}
    forgetful.load_state(state | kept)
    got, _ = run(forgetful, done=1)
    assert got[-1].losses != expected[-1].losses


@pytest.mark.parametrize("stage", STAGES)
def test_losses_depend_on_the_seed_alone(make_task, run, weights, tiny, stage):
    first, again, other = (
        make_task(stage),
        make_task(stage),
        make_task(stage, override(tiny, {"seed": 4})),
    )
    losses = []
    for k, task in enumerate((first, again, other)):
        torch.manual_seed(k)
        losses.append([r.losses for r in run(task)[0]])
    assert losses[0] == losses[1] != losses[2]
    one, two, three = weights(first), weights(again), weights(other)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not any(torch.equal(one[n], three[n]) for n in one if n.endswith("conv1.weight"))


def test_a_single_worker_wraps_nothing():
    network, worker = nn.Linear(2, 2), Worker()
    assert worker.is_main and not Worker(rank=1, world_size=2).is_main
    assert worker.wrap(network) is network and unwrap_model(network) is network
    assert worker.mean(torch.tensor([1.0, 3.0])).tolist() == [1, 3]
    worker.barrier()
