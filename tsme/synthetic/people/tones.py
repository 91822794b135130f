"""Independent tones: colour, temperature and reflectance of each part are unrelated."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping

import numpy as np

from tsme.synthetic.people.person import Tone

# For each part, the neighbouring parts that should differ from it in brightness or temperature.
CONTRASTING_PARTS: Mapping[str, tuple[str, ...]] = {
    "upper": (),
    "upper_accent": ("upper",),
    "outer": ("upper",),
    "outer_accent": ("outer",),
    "lower": (),
    "lower_accent": ("lower",),
    "bag": ("upper", "outer"),
    "trim": ("upper",),
    "shoes": (),
    "hat": (),
}


def sample_colours(rng: np.random.Generator) -> dict[str, Tone]:
    """Sample an (r, g, b) colour for each part."""
    levels = _sample_levels(rng, 0.06, 0.92, 0.34)
    colours = {part: _sample_colour(rng, level) for part, level in levels.items()}
    skin = float(rng.uniform(0.3, 1.0))
    brown = float(rng.uniform(0.0, 1.0)) ** 2
    colours["skin"] = (0.92 * skin, 0.74 * skin, 0.61 * skin)
    colours["hair"] = (0.08 + 0.72 * brown, 0.06 + 0.52 * brown, 0.05 + 0.22 * brown)
    colours["eyes"] = (0.1, 0.08, 0.08)
    return colours


def sample_temperatures(rng: np.random.Generator) -> dict[str, Tone]:
    """Sample the apparent temperature (including emissivity) of each part; backgrounds are about 0.2."""
    levels = _sample_levels(rng, 0.28, 0.86, 0.26)
    return _add_body(rng, levels, skin=(0.86, 0.98), hair=(0.45, 0.72), eyes=(0.75, 0.85))


def sample_reflectances(rng: np.random.Generator) -> dict[str, Tone]:
    """Sample near-infrared reflectances; most cloth and skin is bright, as dyes are transparent there."""
    levels = _sample_levels(rng, 0.16, 0.88, 0.24)
    return _add_body(rng, levels, skin=(0.6, 0.78), hair=(0.2, 0.5), eyes=(0.08, 0.2))


def _add_body(
    rng: np.random.Generator, levels: Mapping[str, float], **ranges: tuple[float, float]
) -> dict[str, Tone]:
    """Tones of one channel: the `levels` of clothes, and those of the body, sampled from their ranges."""
    body = {part: float(rng.uniform(low, high)) for part, (low, high) in ranges.items()}
    return {part: (level,) for part, level in {**levels, **body}.items()}


def _sample_levels(rng: np.random.Generator, low: float, high: float, gap: float) -> dict[str, float]:
    """Sample a level in [low, high] per part, usually at least `gap` from its CONTRASTING_PARTS."""
    levels: dict[str, float] = {}
    for part, neighbours in CONTRASTING_PARTS.items():
        min_gap = gap * (0.35 if rng.random() < 0.1 else 1.0)
        level = float(rng.uniform(low, high))
        for _ in range(30):  # two neighbours can exclude the whole range
            if all(abs(level - levels[neighbour]) >= min_gap for neighbour in neighbours):
                break
            level = float(rng.uniform(low, high))
        levels[part] = level
    return levels


def _sample_colour(rng: np.random.Generator, luminance: float) -> Tone:
    """Sample a colour of this luminance and a random hue; one in five is nearly colourless."""
    saturation = rng.uniform(0.0, 0.15) if rng.random() < 0.2 else rng.uniform(0.35, 0.9)
    rgb = np.array(colorsys.hsv_to_rgb(float(rng.random()), float(saturation), 1.0))
    full = float(rgb @ np.array([0.299, 0.587, 0.114]))
    if luminance <= full:
        rgb = rgb * (luminance / full)
    else:
        rgb = 1 - (1 - rgb) * (1 - luminance) / max(1 - full, 1e-6)
    return float(rgb[0]), float(rgb[1]), float(rgb[2])
