"""The configurations that an ablation compares."""

from __future__ import annotations

from typing import NamedTuple

from tsme.config import Config
from tsme.presets import grayscale_stream, strong
from tsme.settings import override


class Variant(NamedTuple):
    """A configuration of an ablation, and the name of the one it is compared with."""

    name: str
    config: Config
    over: str | None


def ablation(config: Config) -> list[Variant]:
    """Variants that add one part of the method after the other to a baseline.

    The baseline is one stream per modality with grayscale visible images. Grayscale copies in place of
    translations come before DSGAN's, which shows the effect of stage 1. Then the same with the stronger
    recipe: its own baseline, and PwIF and IAI added to it. If `config` has the stronger recipe already,
    there is only the first group.
    """
    translated = {"reid.translation": "dsgan", "reid.iai": False}
    copies = {"reid.translation": "grayscale", "reid.iai": False}
    variants = [
        Variant("baseline", grayscale_stream(config), None),
        Variant("grayscale copies", override(config, copies), "baseline"),
        Variant("PwIF", override(config, translated), "grayscale copies"),
        Variant("PwIF and IAI", override(config, translated | {"reid.iai": True}), "PwIF"),
    ]
    full = variants[-1].config
    if full.reid.share != "none":  # the stronger recipe, whatever its rates
        return variants
    return [
        *variants,
        Variant("strong baseline", grayscale_stream(strong(full)), "baseline"),
        Variant("strong PwIF", override(strong(full), {"reid.iai": False}), "strong baseline"),
        Variant("strong", strong(full), "strong PwIF"),
    ]
