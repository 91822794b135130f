"""Presets: what the stronger recipe and an ablation change, and nothing else."""

from __future__ import annotations

import pytest

from tsme.presets import PRESETS, grayscale_stream, preset, strong
from tsme.settings import override
from tsme.variants import ablation


@pytest.mark.parametrize("name", ["regdb", "sysu", "llcm"])
def test_strong_presets_differ_from_the_papers_in_what_they_name(name):
    paper, better = preset(name), PRESETS[f"{name}_strong"]()
    assert better.reid.share == "stem" and better.reid.shared_norms and better.reid.grayscale_visible
    assert better.reid.channel_exchange > 0 and better.reid.erasing > 0
    assert better.reid.pooling_power == (10 if name == "regdb" else 3)
    assert better.reid.loss.centre_triplet > 0 and better.reid.loss.hetero_centre == 0
    assert better.reid.loss.label_smoothing == 0.1 and better.reid.optimizer.warmup == 10
    assert better.evaluation.flip and better.evaluation.rerank
    assert (better.image, better.dataset) == (paper.image, paper.dataset)
    assert (better.dsgan.epochs, better.dsgan.loss.identity) == (paper.dsgan.epochs // 3, 0)
    assert better.dsgan.residual and better.dsgan.share and better.reid.precision == "bfloat16"
    optimizer = better.reid.optimizer
    assert (optimizer.lr, optimizer.backbone_factor, optimizer.milestones) == (0.1, 0.1, (20, 50))
    assert (better.reid.identities, better.reid.images, better.reid.epochs) == (8, 4, 80)
    assert better.reid.backbone == paper.reid.backbone


@pytest.mark.parametrize("name", ["regdb", "sysu", "llcm"])
def test_single_presets_are_the_stronger_recipe_without_stage_one(name):
    config = PRESETS[f"{name}_single"]()
    assert (config.reid.translation, config.reid.iai, config.reid.grayscale_visible) == (
        "none",
        False,
        True,
    )
    layers = {"reid.last_layer": 3 if name == "regdb" else 4}
    assert config == override(grayscale_stream(PRESETS[f"{name}_strong"]()), layers)


def test_an_ablation_adds_one_part_at_a_time_to_either_recipe(tiny):
    names = ["baseline", "grayscale copies", "PwIF", "PwIF and IAI"]
    names += ["strong baseline", "strong PwIF", "strong"]
    over = [None, "baseline", "grayscale copies", "PwIF", "baseline", "strong baseline", "strong PwIF"]
    kinds = ["none", "grayscale", "dsgan", "dsgan", "none", "dsgan", "dsgan"]
    parts = list(zip(kinds, [False, False, False, True, False, False, True], strict=True))
    for config in (tiny, override(tiny, {"reid.iai": False})):
        variants = ablation(config)
        assert [variant.name for variant in variants] == names
        assert [variant.over for variant in variants] == over
        assert [(v.config.reid.translation, v.config.reid.iai) for v in variants] == parts
        plain = {v.config.model_copy(update={"reid": tiny.reid}) for v in variants[:4]}
        assert plain == {tiny}, "nothing else differs"
        assert [v.config.reid.grayscale_visible for v in variants] == [True, *[False] * 3, *[True] * 3]
        strong_parts = {"reid.translation": "dsgan", "reid.iai": True}
        assert {override(v.config, strong_parts) for v in variants[4:]} == {strong(tiny)}
    assert [variant.name for variant in ablation(strong(tiny))] == names[:4]
