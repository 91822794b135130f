"""Sample the appearance of a synthetic identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tsme.synthetic.people.lifelike import sample_lifelike_tones
from tsme.synthetic.people.pattern import (
    LOWER_PATTERN_WEIGHTS,
    OUTER_PATTERN_WEIGHTS,
    UPPER_PATTERN_WEIGHTS,
    sample_pattern,
    sample_weighted,
)
from tsme.synthetic.people.person import (
    Body,
    Carried,
    Clothes,
    Gender,
    Hair,
    Lower,
    Outer,
    Person,
    Sensor,
    Sleeve,
    Tone,
    ToneModel,
)
from tsme.synthetic.people.tones import sample_colours, sample_reflectances, sample_temperatures

HAIR_WEIGHTS: Mapping[Gender, Mapping[Hair, float]] = {
    "male": {"short": 4, "bald": 1, "afro": 1, "cap": 2, "hat": 1.5, "hood": 1.5, "long": 0.5},
    "female": {"short": 1, "long": 3, "bun": 2, "ponytail": 2, "afro": 1, "hat": 1.5, "cap": 1},
}
OUTER_WEIGHTS: Mapping[Outer, float] = {"none": 4, "zip": 1.5, "open": 2, "vest": 1.5, "coat": 1.5}
LOWER_WEIGHTS: Mapping[Gender, Mapping[Lower, float]] = {
    "male": {"trousers": 3, "capri": 1, "shorts": 2},
    "female": {"trousers": 2, "capri": 1, "shorts": 1, "skirt": 2, "long_skirt": 1.5},
}
SLEEVE_WEIGHTS: Mapping[Sleeve, float] = {"same": 2, "plain": 1, "accent": 1}
CARRIED_WEIGHTS: Mapping[Carried, float] = {
    "none": 2.5, "backpack": 2, "shoulder_bag": 2.5, "handbag": 1.5, "trolley": 1,
}  # fmt: skip


def sample_person(rng: np.random.Generator, tone_model: ToneModel = "independent") -> Person:
    """Sample geometry and the tones for each sensor.

    Geometry and colours are the same in both tone models, and independent of each other. Infrared tones
    are independent of both, or follow from the fabrics of the garments.
    """
    geometry, visible, thermal, nir, fabrics = rng.spawn(5)
    person = _sample_geometry(geometry)
    colours = sample_colours(visible)
    if tone_model == "independent":
        tones: dict[Sensor, dict[str, Tone]] = {
            "visible": colours,
            "thermal": sample_temperatures(thermal),
            "nir": sample_reflectances(nir),
        }
        return replace(person, tones=tones)
    lifelike = sample_lifelike_tones(fabrics, person.clothes, person.hair)
    colours["glasses"] = (0.08, 0.08, 0.09)
    return replace(
        person,
        tones={"visible": colours, "thermal": lifelike.thermal, "nir": lifelike.nir},
        textures=lifelike.textures,
        glasses=lifelike.glasses,
    )


def _sample_geometry(rng: np.random.Generator) -> Person:
    """Sample a person without tones."""
    gender: Gender = "female" if rng.random() < 0.5 else "male"
    return Person(
        gender=gender,
        body=_sample_body(rng, gender),
        hair=sample_weighted(rng, HAIR_WEIGHTS[gender]),
        clothes=_sample_clothes(rng, gender),
        carried=sample_weighted(rng, CARRIED_WEIGHTS),
        side=int(rng.choice([-1, 1])),
        bag_size=float(rng.uniform(0.8, 1.3)),
        facing="front" if rng.random() < 0.5 else "back",
        tones={},
    )


def _sample_body(rng: np.random.Generator, gender: Gender) -> Body:
    broad = 0.008 if gender == "male" else -0.004
    stout = float(rng.uniform(-1, 1))
    return Body(
        height=float(rng.uniform(0.84, 0.93)),
        shoulder=float(rng.uniform(0.108, 0.132)) + broad + 0.006 * stout,
        waist=float(rng.uniform(0.088, 0.096)) + 0.018 * stout,
        hip=float(rng.uniform(0.090, 0.104)) - broad / 2 + 0.014 * stout,
        leg=float(rng.uniform(0.47, 0.53)),
        head=float(rng.uniform(0.125, 0.15)),
        limb=float(rng.uniform(0.92, 1.08)) + 0.14 * stout,
    )


def _sample_clothes(rng: np.random.Generator, gender: Gender) -> Clothes:
    return Clothes(
        sleeve_length=float(rng.choice([0.12, 0.45, 1.0], p=[0.2, 0.4, 0.4])),
        sleeve=sample_weighted(rng, SLEEVE_WEIGHTS),
        hem=float(rng.uniform(0.92, 1.22)),
        outer=sample_weighted(rng, OUTER_WEIGHTS),
        outer_gap=float(rng.uniform(0.3, 0.6)),
        lower=sample_weighted(rng, LOWER_WEIGHTS[gender]),
        fit=float(rng.choice([1.08, 1.3, 1.6])),
        boot=float(rng.choice([0.1, 0.1, 0.25, 0.42])),
        upper_pattern=sample_pattern(rng, UPPER_PATTERN_WEIGHTS),
        lower_pattern=sample_pattern(rng, LOWER_PATTERN_WEIGHTS),
        outer_pattern=sample_pattern(rng, OUTER_PATTERN_WEIGHTS),
    )
