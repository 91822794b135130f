"""Lifelike tones: infrared tones follow from visible fabrics, and not from colours."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.synthetic_regdb import generate_regdb
from tsme.synthetic.cameras.lifelike_scene import thermal_scene, visible_scene
from tsme.synthetic.cameras.roaming import RoamingCamera, RoamingSensor
from tsme.synthetic.difficulty import VARIATIONS
from tsme.synthetic.people.fabrics import FABRICS
from tsme.synthetic.people.person import Person, ToneModel
from tsme.synthetic.people.sampling import sample_person
from tsme.synthetic.render import render

TONE_MODELS: tuple[ToneModel, ...] = ("independent", "lifelike")
GARMENTS = ("upper", "outer", "lower")


def sample_persons(tones: ToneModel, number: int = 400) -> list[Person]:
    return [sample_person(np.random.default_rng([41, k]), tones) for k in range(number)]


def garment_tones(persons: list[Person], sensor: str) -> NDArray[np.float64]:
    """Tones of three garments of each person: (person * garment, channel)."""
    return np.array([p.tones[sensor][part] for p in persons for part in GARMENTS])  # type: ignore[index]


def explained_variance(groups: list[object], values: NDArray[np.float64]) -> float:
    """Share of the variance of `values` (n,) that the group means explain."""
    means = {group: values[[g == group for g in groups]].mean() for group in set(groups)}
    predicted = np.array([means[group] for group in groups])
    return float(predicted.var() / values.var())


# --- tones ---


def test_geometry_and_colours_do_not_depend_on_the_tone_model() -> None:
    for independent, lifelike in zip(
        sample_persons("independent", 20), sample_persons("lifelike", 20), strict=True
    ):
        assert (independent.body, independent.clothes) == (lifelike.body, lifelike.clothes)
        colours = dict(lifelike.tones["visible"])
        del colours["glasses"]
        assert colours == independent.tones["visible"]
        assert independent.tones["thermal"] != lifelike.tones["thermal"]
        assert independent.textures == {}


@pytest.mark.parametrize("sensor", ["thermal", "nir"])
def test_the_visible_texture_predicts_infrared_tones(sensor: str) -> None:
    """Chance explains 12 / 1200 of the variance."""
    lifelike, independent = sample_persons("lifelike"), sample_persons("independent")
    textures: list[object] = [person.textures[part] for person in lifelike for part in GARMENTS]
    minimum = {"thermal": 0.7, "nir": 0.08}[sensor]
    assert explained_variance(textures, garment_tones(lifelike, sensor)[:, 0]) > minimum
    assert explained_variance(textures, garment_tones(independent, sensor)[:, 0]) < 0.03


@pytest.mark.parametrize("tones", TONE_MODELS)
@pytest.mark.parametrize("sensor", ["thermal", "nir"])
def test_colour_does_not_predict_infrared_tones(tones: ToneModel, sensor: str) -> None:
    """Least squares of the infrared tone on r, g, b and their squares, for each garment."""
    persons = sample_persons(tones, 1500)
    for colours, target in zip(
        garment_tones(persons, "visible").reshape(-1, 3, 3).transpose(1, 0, 2),
        garment_tones(persons, sensor).reshape(-1, 3).T,
        strict=True,
    ):
        inputs = np.concatenate([colours, colours**2, np.ones((len(colours), 1))], axis=1)
        residual = target - inputs @ np.linalg.lstsq(inputs, target, rcond=None)[0]
        assert 1 - residual.var() / target.var() < 0.02


def test_thermal_tones_follow_insulation() -> None:
    means: dict[str, list[float]] = {name: [] for name in FABRICS}
    names = {fabric.texture: name for name, fabric in FABRICS.items()}
    bodies: dict[str, list[float]] = {"skin": [], "hair": [], "glasses": [], "bag": []}
    for person in sample_persons("lifelike"):
        thermal = person.tones["thermal"]
        for part in ("upper", "outer"):
            means[names[person.textures[part]]].append(thermal[part][0])
        for part, levels in bodies.items():
            levels.append(thermal[part][0])
    order = ["jersey", "woven", "knit", "fleece", "wool", "down"]
    levels = [float(np.mean(means[name])) for name in order]
    assert levels == sorted(levels, reverse=True)
    skin, hair, glasses, bag = (float(np.mean(bodies[part])) for part in bodies)
    assert skin > levels[0] > hair > levels[-1] > bag > 0.2  # a scene is about 0.17
    assert glasses < hair


def test_near_infrared_tones_are_typical() -> None:
    persons = sample_persons("lifelike")
    nir = {part: [p.tones["nir"][part][0] for p in persons] for part in ("skin", "hair", "eyes")}
    assert 0.5 <= min(nir["skin"]) <= max(nir["skin"]) <= 0.67
    assert max(nir["eyes"]) < np.mean(nir["hair"]) < 0.4
    cloth = garment_tones(persons, "nir")[:, 0]
    assert np.mean(cloth > 0.35) > 0.8  # dyes are transparent
    assert 0.02 < np.mean(cloth < 0.17) < 0.2  # carbon black


# --- images ---


def test_woven_structure_shows_in_visible_images_and_as_coolness_in_thermal_ones() -> None:
    """AUC of knit, fleece and wool against smooth fabrics, from the chest of plain uppers."""

    def chest(person: Person, sensor: RoamingSensor, k: int) -> NDArray[np.float64]:
        rng, view = np.random.default_rng([43, k]), RoamingCamera(sensor, "lifelike")
        image = render(person, view, rng, facing="front", variation=VARIATIONS["easy"])
        return np.asarray(image, dtype=float).mean(axis=2)[34:54, 27:37]

    structure: dict[bool, list[float]] = {True: [], False: []}
    warmth: dict[bool, list[float]] = {True: [], False: []}
    for k, person in enumerate(sample_persons("lifelike", 120)):
        plain = replace(person.clothes.upper_pattern, kind="plain")
        clothes = replace(person.clothes, upper_pattern=plain, outer="none")
        dressed = replace(person, clothes=clothes, carried="none", hair="short")
        rough = person.textures["upper"].weave > 0.1
        visible = chest(dressed, "visible", k)
        structure[rough].append(float(np.abs(np.diff(visible, 2, axis=0)).mean() / visible.mean()))
        warmth[rough].append(float(chest(dressed, "thermal", k).mean()))
    assert area_under_curve(structure) > 0.7
    assert area_under_curve(warmth) < 0.35  # the gain of a thermal camera varies between images


def area_under_curve(groups: dict[bool, list[float]]) -> float:
    """Probability that a value of the group True is larger than one of the group False."""
    return float((np.array(groups[True])[:, None] > np.array(groups[False])).mean())


def test_glasses_are_cool() -> None:
    person = next(p for p in sample_persons("lifelike") if p.glasses and p.hair == "short")

    def image(person: Person) -> NDArray[np.float64]:
        rng, view = np.random.default_rng(1), RoamingCamera("thermal", "lifelike")
        return np.asarray(render(person, view, rng, facing="front"), dtype=float)[..., 0]

    cooling = image(replace(person, glasses=False)) - image(person)
    assert cooling[:32].max() > 30
    # Below the head, the automatic gain alone changes the image.
    assert np.abs(cooling[40:]).max() < 0.4 * cooling[:32].max()


def test_a_thermal_camera_stretches_its_range_but_not_an_empty_scene():
    def exposed(image: NDArray[np.float32]) -> NDArray[np.float32]:
        return RoamingCamera("thermal", "lifelike").expose(np.random.default_rng(3), image)

    flat = np.full((64, 32, 1), 0.3, dtype=np.float32)
    assert np.ptp(exposed(flat)) < 0.15, "noise is not stretched"
    warm = flat.copy()
    warm[16:48] = 0.6
    image = exposed(warm)
    assert image.shape == (64, 32, 3) and (image[..., 0] == image[..., 2]).all()
    assert np.median(image[24:40]) - np.median(image[:8]) > 0.75, "cold and warm span the range"


def test_both_sensors_see_one_scene() -> None:
    def edges(scene: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.abs(np.diff(scene.mean(axis=2), axis=0)).ravel()

    same, other = [], []
    for k in range(30):
        visible = edges(visible_scene(np.random.default_rng([44, k]), (128, 64)))
        for seed, found in ((k, same), (k + 1, other)):
            thermal = edges(thermal_scene(np.random.default_rng([44, seed]), (128, 64)))
            found.append(np.corrcoef(visible, thermal)[0, 1])
    assert np.mean(same) > 0.25
    assert abs(np.mean(other)) < 0.1


def test_tones_change_all_images_but_no_split(tmp_path: Path) -> None:
    images, lists = {}, {}
    for tones in TONE_MODELS:
        root = tmp_path / tones
        generate_regdb(
            root, identities=4, images=2, trials=1, size=(32, 64), workers=1, tones=tones,
            ground_truth=True,
        )  # fmt: skip
        images[tones] = {path.read_bytes() for path in root.rglob("*.bmp")}
        assert len(images[tones]) == 2 * 2 * 4 * 2
        lines = (root / "idx" / "train_visible_1.txt").read_text().splitlines()
        lists[tones] = [line.split("/")[1] for line in lines]
    assert not images["independent"] & images["lifelike"]
    assert lists["independent"] == lists["lifelike"]
