"""Stage 1: what a step differentiates, freezes and logs, and the generators it leaves."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tsme.config import Config
from tsme.models.translate import translate
from tsme.settings import override
from tsme.training import dsgan
from tsme.training.distributed import Worker
from tsme.training.dsgan import DsganTask
from tsme.training.loop import Diverged, fit

CPU = torch.device("cpu")


def mirrored(images: Tensor) -> Tensor:
    """The images made symmetric, so that a random flip changes nothing."""
    return torch.cat([images[..., :8], images[..., :8].flip(3)], dim=3)


@pytest.fixture
def task(tiny: Config, noise) -> DsganTask:
    visible = mirrored(noise(12, 1))[:, :1].repeat(1, 3, 1, 1)
    infrared = mirrored(noise(10, 2))[:, :1].repeat(1, 3, 1, 1)
    return DsganTask(tiny, visible, infrared, Worker())


def batch_of(task: DsganTask):
    """The first batch and its images in [-1, 1]."""
    batch = next(iter(task.step_batches(1)))
    visible, infrared = task.visible[batch[0]], task.infrared[batch[1]]
    return batch, visible.float() / 127.5 - 1, infrared.float() / 127.5 - 1


def formulas(task: DsganTask, visible: Tensor, infrared: Tensor, cycle: float, identity: float):
    """Losses of both sides of a first step, from copies of the networks."""
    g, d = copy.deepcopy(task.generators), copy.deepcopy(task.discriminators)
    fakes = g.visible_to_infrared(visible), g.infrared_to_visible(infrared)
    back = g.infrared_to_visible(fakes[0]), g.visible_to_infrared(fakes[1])
    same = g.visible_to_infrared(infrared), g.infrared_to_visible(visible)
    terms = {
        "adversarial": ((d.visible(fakes[1]) - 1) ** 2).mean() + ((d.infrared(fakes[0]) - 1) ** 2).mean(),
        "cycle": (back[0] - visible).abs().mean() + (back[1] - infrared).abs().mean(),
        "identity": (same[0] - infrared).abs().mean() + (same[1] - visible).abs().mean(),
    }
    terms["total"] = terms["adversarial"] + cycle * terms["cycle"] + identity * terms["identity"]
    real = ((d.visible(visible) - 1) ** 2).mean() + ((d.infrared(infrared) - 1) ** 2).mean()
    fake = (d.visible(fakes[1].detach()) ** 2).mean() + (d.infrared(fakes[0].detach()) ** 2).mean()
    terms["discriminator"] = (real + fake) / 2
    gradients = [
        torch.autograd.grad(terms[name], list(network.parameters()), retain_graph=True)
        for name, network in (("total", g), ("discriminator", d))
    ]
    return {name: float(term.detach()) for name, term in terms.items()}, gradients


def test_a_step_differentiates_and_logs_the_same_losses(tiny, task):
    settings = {"dsgan.loss.cycle": 3.0, "dsgan.loss.identity": 0.7}
    task.settings = override(tiny, settings).dsgan
    batch, visible, infrared = batch_of(task)
    expected, gradients = formulas(task, visible, infrared, 3.0, 0.7)
    logged = task.step(batch)
    assert {k: float(v) for k, v in logged.items()} == pytest.approx(expected, rel=1e-4)
    assert not any(term.requires_grad for term in logged.values())
    for network, wanted in zip((task.generators, task.discriminators), gradients, strict=True):
        for parameter, gradient in zip(network.parameters(), wanted, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=2e-3, atol=2e-5)


def test_each_side_is_frozen_while_the_other_learns(task, monkeypatch):
    generator_step, discriminator_step = (optimizer.step for optimizer in task.optimizers)
    seen = {}

    def generators_step():
        discriminators = list(task.discriminators.parameters())
        assert not any(p.requires_grad for p in discriminators)
        assert all(p.grad is None for p in discriminators)
        seen["weights"] = [p.detach().clone() for p in discriminators]
        seen["gradients"] = [p.grad.clone() for p in task.generators.parameters()]
        generator_step()
        seen["generators"] = [p.detach().clone() for p in task.generators.parameters()]

    def discriminators_step():
        assert all(p.requires_grad for p in task.discriminators.parameters())
        for p, before in zip(task.discriminators.parameters(), seen["weights"], strict=True):
            assert torch.equal(p, before)
        for p, before in zip(task.generators.parameters(), seen["gradients"], strict=True):
            assert torch.equal(p.grad, before)
        discriminator_step()
        seen["done"] = True

    monkeypatch.setattr(task.optimizers[0], "step", generators_step)
    monkeypatch.setattr(task.optimizers[1], "step", discriminators_step)
    task.step(batch_of(task)[0])
    assert seen["done"]
    for p, before in zip(task.generators.parameters(), seen["generators"], strict=True):
        assert torch.equal(p, before)


def test_both_optimisers_are_the_configured_adam(tiny, make_dsgan):
    settings = {"lr": 3e-4, "beta1": 0.6, "beta2": 0.9}
    task = make_dsgan(override(tiny, {f"dsgan.optimizer.{k}": v for k, v in settings.items()}))
    networks = (task.generators, task.discriminators)
    for optimizer, network in zip(task.optimizers, networks, strict=True):
        (group,) = optimizer.param_groups
        assert (group["lr"], group["betas"]) == (3e-4, (0.6, 0.9))
        assert [id(p) for p in group["params"]] == [id(p) for p in network.parameters()]


@pytest.mark.parametrize("epochs", [2, 3, 4, 7, 10])
def test_learning_rate_falls_linearly_over_the_second_half(tiny, make_dsgan, epochs):
    """CycleGAN's rule: constant for the first half, then in equal steps to 0 just after the end.

    Of 4 epochs: 1, 1, 2/3, 1/3.
    """
    task = make_dsgan(override(tiny, {"dsgan.epochs": epochs, "dsgan.optimizer.lr": 1.0}))
    for optimizer in task.optimizers:  # the schedule warns of a step without one of the optimiser's
        optimizer.step()
    rates = []
    for _ in range(epochs):
        current = {group["lr"] for optimizer in task.optimizers for group in optimizer.param_groups}
        rates.append(task.end_epoch()["lr"])
        assert current == {rates[-1]}
    half = epochs // 2
    falling = epochs - half
    expected = [1.0] * half + [1 - k / (falling + 1) for k in range(1, falling + 1)]
    assert rates == pytest.approx(expected)


def test_discriminators_see_the_pools_images(task, monkeypatch):
    seen, judged = [], []

    def exchange(images, _):
        seen.append(images.detach())
        return torch.zeros_like(seen[0])

    monkeypatch.setattr(task.pools[0], "exchange", exchange)
    task.discriminators.register_forward_pre_hook(lambda _, inputs: judged.append(inputs))
    batch, visible, infrared = batch_of(task)
    task.step(batch)
    ((real_visible, fake_visible, real_infrared, fake_infrared),) = judged
    torch.testing.assert_close(real_visible, visible)
    torch.testing.assert_close(real_infrared, infrared)
    assert seen[0].any() and not fake_visible.any()  # what the first pool gave back
    assert fake_infrared.any() and not fake_infrared.requires_grad


def test_images_are_mirrored_at_random(tiny, noise):
    task = DsganTask(tiny, noise(12, 1), noise(10, 2), Worker())
    seen: list[Tensor] = []
    task.generators.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    rows = []
    for batch in task.step_batches(1):
        rows += batch[0].tolist()
        task.step(batch)
    flips = 0
    for row, image in zip(rows, torch.cat(seen), strict=True):
        original = task.visible[row].float() / 127.5 - 1
        flipped = torch.equal(image, original.flip(2))
        assert flipped or torch.equal(image, original)
        flips += flipped
    assert 0 < flips < 12


def measured_naively(network: nn.Module, images: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Mean and variance of what every batch norm sees of all images at once, in training mode."""
    network, seen = copy.deepcopy(network).train(), []

    def look(_, inputs):
        values = inputs[0].double().transpose(0, 1).flatten(1)
        seen.append((values.mean(1).float(), values.var(1, unbiased=True).float()))

    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.register_forward_pre_hook(look)
    with torch.no_grad():
        network(images.float() / 127.5 - 1)
    return seen


@pytest.mark.parametrize("direction", ["visible_to_infrared", "infrared_to_visible"])
def test_finished_translators_have_the_statistics_of_their_own_training_images(task, direction):
    for batch in task.step_batches(1):
        task.step(batch)
    images = task.visible if direction == "visible_to_infrared" else task.infrared
    expected = measured_naively(getattr(task.generators, direction), images)
    network = getattr(task.generators_for_use(), direction)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    # Modules are registered in the order they are run in, but for the projections.
    measured = sorted(float(n.running_mean.sum()) for n in norms)
    assert measured == pytest.approx(
        sorted(float(mean.sum()) for mean, _ in expected), rel=1e-3, abs=1e-4
    )
    torch.testing.assert_close(norms[0].running_mean, expected[0][0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norms[0].running_var, expected[0][1], rtol=1e-4, atol=1e-5)
    spreads = sorted(float(n.running_var.sum()) for n in norms)
    assert spreads == pytest.approx(sorted(float(var.sum()) for _, var in expected), rel=1e-3, abs=1e-4)


def test_every_training_image_counts_alike_in_the_statistics(tiny, noise):
    """Also where their number is no multiple of what is passed through the network at once."""
    visible = noise(65, 1)
    visible[64] = 255
    task = DsganTask(tiny, visible, noise(10, 2), Worker())
    mean, _ = measured_naively(task.generators.visible_to_infrared, visible)[0]
    network = task.generators_for_use().visible_to_infrared
    torch.testing.assert_close(network.encoder.bn1.running_mean, mean, rtol=1e-2, atol=1e-3)


def test_finished_translators_are_frozen_and_ignore_neighbours(task, noise):
    generators = task.generators_for_use()
    assert not any(module.training for module in generators.modules())
    assert not any(parameter.requires_grad for parameter in generators.parameters())
    images = noise(4, 9)
    together = translate(generators, images, "infrared", CPU)
    for row in range(4):
        alone = translate(generators, images[row : row + 1], "infrared", CPU)
        assert (alone[0].int() - together[row].int()).abs().max() <= 1


def test_finishing_twice_changes_nothing(task):
    first = {k: v.clone() for k, v in task.generators_for_use().state_dict().items()}
    second = task.generators_for_use().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_preview_shows_inputs_and_leaves_the_networks_alone(task):
    before = copy.deepcopy(task.state()["generators"])
    picture = task.preview()
    # Four rows; for either modality an image, its translation and the way back.
    assert (picture.dtype, picture.shape) == (torch.uint8, (3, 4 * 32, 6 * 16))
    assert torch.equal(picture[:, :32, :16], task.visible[0])
    assert torch.equal(picture[:, -32:, 48:64], task.infrared[-1])
    assert task.generators.training
    assert all(torch.equal(before[k], v) for k, v in task.generators.state_dict().items())


def test_a_collapsed_generator_stops_the_stage(task):
    with torch.no_grad():
        task.generators.visible_to_infrared.to_image.weight.zero_()
    for optimizer in task.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = 0.0
    with pytest.raises(
        Diverged, match=r"after epoch 1 the generator to infrared .* dsgan\.optimizer\.lr"
    ):
        list(fit(task, Worker()))


def test_every_worker_takes_back_its_own_pools(tiny, task, noise, monkeypatch):
    for _ in fit(task, Worker()):
        pass
    state = task.state()
    (pools,) = state["pools"]
    state["pools"].append([[-image for image in pool] for pool in pools])
    monkeypatch.setattr(Worker, "wrap", lambda worker, network: network)
    second = DsganTask(tiny, noise(12, 1), noise(10, 2), Worker(rank=1, world_size=2))
    second.load_state(state)
    assert len(second.pools[0].images) > 1
    for pool, images in zip(second.pools, pools, strict=True):
        assert all(torch.equal(x, -y) for x, y in zip(pool.images, images, strict=True))


def test_a_preview_shows_the_translations_of_the_frozen_generators(task):
    (*_, last) = fit(task, Worker())
    generators = task.generators_for_use()
    for left, images, modality in ((16, task.visible, "visible"), (64, task.infrared, "infrared")):
        first = translate(generators, images, modality, CPU)[0]
        assert (last.preview[:, :32, left : left + 16].int() - first.int()).abs().max() <= 1


def test_a_preview_of_many_images_measures_statistics_on_some_of_them(monkeypatch):
    monkeypatch.setattr(dsgan, "PREVIEW_STATISTICS", 4)
    counts = [len(dsgan.evenly_spaced(torch.zeros(n))) for n in (1, 4, 5, 8, 9, 100)]
    assert counts == [1, 4, 3, 4, 3, 4]
