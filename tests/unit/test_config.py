"""Overrides, checks and digests of the configuration."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from tsme.config import BackboneConfig, Config, ImageConfig, ResourcesConfig
from tsme.errors import UserError
from tsme.models.dsgan import Generator
from tsme.presets import PRESETS, preset
from tsme.settings import override, parse_settings


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every dotted key and its value."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        inner = leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        found |= inner
    return found


CHANGED: dict[str, Any] = {
    "seed": 7,
    "image.height": 64,
    "dsgan.backbone.weights": "none",
    "dsgan.loss.cycle": 1.5,
    "dsgan.optimizer.lr": 0.003,
    "reid.optimizer.milestones": [3, 5],
    "reid.loss.hetero_centre": 0,
    "reid.backbone.architecture": "resnet18",
    "resources.gpus": None,
    "sweep.concurrent": 2,
}


@pytest.mark.parametrize("key", CHANGED)
def test_override_changes_its_key_alone(key):
    before, after = Config(), override(Config(), {key: CHANGED[key]})
    expected = leaves(before.model_dump(mode="json")) | {key: CHANGED[key]}
    assert leaves(after.model_dump(mode="json")) == expected
    assert before == Config()


def test_override_takes_several_keys_that_are_valid_only_together():
    values = {"reid.backbone.width": 8, "reid.backbone.weights": "none"}
    backbone = override(Config(), values).reid.backbone
    assert (backbone.width, backbone.weights) == (8, "none")


@pytest.mark.parametrize(
    ("key", "mentioned"),
    [
        ("reid.optimizer.rate", ["reid.optimizer", "lr", "milestones"]),
        ("reed.epochs", ["top", "reid", "dsgan"]),
        ("epochs", ["top", "reid", "seed"]),
        ("reid.epochs.first", ["reid", "epochs"]),
        ("reid.loss.hetero.centre", ["reid.loss", "hetero_centre"]),
    ],
)
def test_unknown_key_is_named_with_the_alternatives(key, mentioned):
    with pytest.raises(UserError) as caught:
        override(Config(), {key: 1})
    message = str(caught.value)
    assert key in message and "\n" not in message
    assert all(word in message for word in mentioned)


@pytest.mark.parametrize("key", ["reid", "reid.optimizer"])
def test_a_section_cannot_be_set(key):
    with pytest.raises(UserError, match=f"{key}: a section") as caught:
        override(Config(), {key: {"lr": 1}})
    assert ("milestones" if key == "reid.optimizer" else "optimizer") in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("reid.epochs", 0),
        ("reid.epochs", "many"),
        ("reid.epochs", 2.5),
        ("reid.identities", 1),
        ("reid.loss.fused", -0.1),
        ("reid.loss.margin", float("nan")),
        ("reid.optimizer.lr", 0),
        ("reid.optimizer.lr", float("inf")),
        ("reid.optimizer.momentum", 1.0),
        ("reid.optimizer.momentum", 0.0),  # Nesterov's needs some
        ("reid.optimizer.milestones", 20),
        ("reid.optimizer.milestones", [20, 0]),
        ("reid.channel_exchange", 1.5),
        ("reid.dropout", 1.0),
        ("dsgan.optimizer.beta1", 1.0),
        ("dsgan.image_pool", -1),
        ("image.height", 100),
        ("image.width", 8),
        ("validation.fraction", 0.0),
        ("validation.fraction", 1),
        ("sweep.reduction", 1),
        ("resources.gpus", -1),
        ("resources.gpus", 2),
        ("resources.workers", 0),
        ("dataset", "market"),
        ("evaluation.draws", [0, 10]),
        ("evaluation.modes", []),
        ("evaluation.shots", ["few"]),
        ("seed", -1),
        ("reid.backbone.architecture", "vgg16"),
    ],
)
def test_bad_value_is_named_with_its_key(key, value):
    with pytest.raises(UserError) as caught:
        override(Config(), {"seed": 0, key: value})
    message = str(caught.value)
    assert f"{key}={value}: " in message and "\n" not in message


@pytest.mark.parametrize(("architecture", "width"), [("resnet10", 64), ("resnet50", 32), ("resnet18", 8)])
def test_imagenet_weights_exist_for_published_networks_only(architecture, width):
    with pytest.raises(ValidationError, match=f"{architecture} of width {width}"):
        BackboneConfig(architecture=architecture, width=width, weights="imagenet")
    assert BackboneConfig(architecture=architecture, width=width, weights="none").width == width


@pytest.mark.parametrize("key", ["reid.backbone.width", "dsgan.backbone.width"])
def test_a_check_of_a_section_names_the_key_that_was_set(key):
    with pytest.raises(UserError, match=f"{key}=16: no ImageNet weights.*weights=none"):
        override(Config(), {key: 16})


@pytest.mark.parametrize("architecture", ["resnet10", "resnet50"])
@pytest.mark.parametrize("width", [1, 2, 4, 6, 8, 12])
def test_a_width_is_refused_or_works_in_the_translators(architecture, width):
    """A generator's narrowest bottleneck has an eighth (resnet50: half) of the backbone's width."""
    values = {
        "dsgan.backbone.architecture": architecture,
        "dsgan.backbone.width": width,
        "dsgan.backbone.weights": "none",
    }
    try:
        config = override(Config(), values)
    except UserError as error:
        assert "dsgan.backbone" in str(error)
        return
    assert Generator(config.dsgan)(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 32, 32)


def test_settings_are_json_where_they_parse():
    texts = ["a.b=0.5", "c=[1, 2]", "d=none", "e=null", 'f="5"', "g=1e-3", "h=x=y", "i=true", "j="]
    assert parse_settings(texts) == {
        "a.b": 0.5,
        "c": [1, 2],
        "d": "none",
        "e": None,
        "f": "5",
        "g": 1e-3,
        "h": "x=y",
        "i": True,
        "j": "",
    }


@pytest.mark.parametrize("text", ["reid.epochs", "=3", ""])
def test_a_setting_without_key_or_equals_sign_is_refused(text):
    with pytest.raises(UserError, match="KEY=VALUE"):
        parse_settings([text])


def test_a_list_given_as_text_reaches_the_configuration():
    config = override(Config(), parse_settings(["reid.optimizer.milestones=[4,8]"]))
    assert config.reid.optimizer.milestones == (4, 8)


def test_the_configuration_cannot_be_changed_in_place():
    config = Config()
    with pytest.raises(ValidationError):
        config.seed = 1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        config.reid.optimizer.lr = 1.0  # type: ignore[misc]


def test_an_unknown_key_is_no_constructor_argument():
    with pytest.raises(ValidationError, match="heigth"):
        ImageConfig(heigth=64)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_complete_and_valid(name):
    config = preset(name)
    assert Config.model_validate(config.model_dump()) == config
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_an_unknown_preset_is_named_with_the_known_ones():
    with pytest.raises(UserError, match=r"regbd.*demo.*regdb"):
        preset("regbd")


def test_regdb_is_the_published_recipe():
    config = preset("regdb")
    assert (config.image.height, config.image.width) == (288, 144)
    assert (config.reid.identities, config.reid.images, config.reid.embedding) == (4, 6, 512)
    assert config.reid.backbone == BackboneConfig(architecture="resnet50", width=64, weights="imagenet")
    assert (config.reid.loss.hetero_centre, config.reid.loss.margin) == (0.5, 0.0)
    assert (config.reid.loss.fused, config.reid.loss.real, config.reid.loss.translated) == (1, 1, 1)
    sgd, adam = config.reid.optimizer, config.dsgan.optimizer
    assert (sgd.lr, sgd.backbone_factor, sgd.momentum, sgd.weight_decay) == (0.01, 0.1, 0.9, 5e-4)
    assert (sgd.milestones, sgd.decay, config.reid.channel_exchange) == ((20, 40, 60), 0.1, 0)
    assert (adam.lr, adam.beta1, adam.beta2, config.dsgan.image_pool) == (2e-4, 0.5, 0.999, 50)
    assert (config.dsgan.loss.cycle, config.dsgan.loss.identity) == (10, 5)


SECTIONS = ("dataset", "seed", "image", "dsgan", "reid", "validation")


def test_digest_changes_with_every_key_of_its_sections():
    start = Config()
    changes = {key: value for key, value in CHANGED.items() if key.split(".")[0] in SECTIONS}
    digests = {override(start, {key: value}).digest(*SECTIONS) for key, value in changes.items()}
    assert len(digests | {start.digest(*SECTIONS)}) == len(changes) + 1


def test_a_share_of_a_gpu_is_for_one_worker():
    assert override(Config(), {"resources.gpus": 0.5}).resources.gpus == 0.5
    with pytest.raises(UserError, match=r"0\.5 for each of 2 workers: only a single worker can share"):
        override(Config(), {"resources.gpus": 0.5, "resources.workers": 2})


def test_digest_ignores_other_sections_and_resources():
    start = Config()
    for key in ("reid.epochs", "sweep.grace_epochs", "resources.cpus", "resources.workers"):
        assert override(start, {key: 33}).digest("seed", "dsgan") == start.digest("seed", "dsgan")
    busy = Config(resources=ResourcesConfig(workers=2, gpus=1))
    assert busy.digest(*SECTIONS) == start.digest(*SECTIONS)


def test_digest_depends_on_inputs_and_is_ten_hex_digits():
    config = Config()
    digests = [config.digest("seed", trial=t, people=p) for t, p in [(1, [1, 2]), (2, [1, 2]), (1, [2])]]
    assert len(set(digests)) == 3
    assert all(len(d) == 10 and int(d, 16) >= 0 for d in digests)
    assert config.digest("seed", trial=1, people=[1, 2]) == digests[0]


@pytest.mark.parametrize(("epochs", "accepted"), [(9, False), (10, False), (11, True)])
def test_a_warmup_must_end_before_training_does(epochs, accepted):
    strong, settings = preset("regdb_strong"), {"reid.epochs": epochs}
    assert strong.reid.optimizer.warmup == 10
    if accepted:
        assert override(strong, settings).reid.epochs == epochs
    else:
        with pytest.raises(
            UserError, match=rf"reid.epochs={epochs}: reid.optimizer.warmup: 10 of {epochs}"
        ):
            override(strong, settings)
