"""Fixed cameras: constant properties, differences between cameras, indoor, outdoor and low light."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tsme.synthetic.cameras.fixed import FixedCamera, make_camera
from tsme.synthetic.cameras.scenery import FixedSensor, Place, panorama
from tsme.synthetic.layouts import llcm, sysu
from tsme.synthetic.people.sampling import sample_person
from tsme.synthetic.render import render

SEEDS = (0, 1, 2)
Pixels = NDArray[np.float64]


def cameras(seed: int) -> dict[int, FixedCamera]:
    return {spec.number: make_camera(seed, spec) for spec in sysu.CAMERAS}


def take_images(camera: FixedCamera, identities: range) -> Pixels:
    """One image of each identity: (identity, height, width, channel)."""
    images = []
    for k in identities:
        rng = np.random.default_rng([31, k])
        person = sample_person(rng)
        images.append(np.asarray(render(person, camera.visit(rng), rng, (32, 64)), dtype=float))
    return np.array(images)


def warmth(images: Pixels) -> float:
    """Ratio of red to blue left and right of the person."""
    edges = np.concatenate([images[:, :, :5], images[:, :, -5:]], axis=2)
    return float(edges[..., 0].mean() / edges[..., 2].mean())


def brightness_variation(images: Pixels) -> float:
    """Coefficient of variation of the mean brightness over visits."""
    levels = images.mean(axis=(1, 2, 3))
    return float(levels.std() / levels.mean())


@pytest.mark.parametrize("seed", SEEDS)
def test_indoors_is_dimmer_warmer_and_steadier(seed: int) -> None:
    images = {number: take_images(cameras(seed)[number], range(14)) for number in (1, 2, 4, 5)}
    for statistic, min_ratio in (
        (np.mean, 1.2),
        (brightness_variation, 1.4),
        (lambda p: 1 / warmth(p), 1.1),
    ):
        inside, outside = (
            np.mean([statistic(images[number]) for number in group]) for group in ((1, 2), (4, 5))
        )
        assert outside > min_ratio * inside


@pytest.mark.parametrize("seed", SEEDS)
def test_infrared_backgrounds_are_brighter_indoors(seed: int) -> None:
    inside, outside = (take_images(cameras(seed)[number], range(10)) for number in (3, 6))
    edges = [images[:, :, [0, 1, 2, -3, -2, -1]].mean() for images in (inside, outside)]
    assert edges[0] > 1.2 * edges[1]
    for images in (inside, outside):  # the person is nearer to the lamp than the background
        assert images[:, 20:44, 12:20].mean() > 1.15 * images[:, 20:44, :4].mean()


def test_backgrounds_identify_the_camera() -> None:
    """The nearest camera by background colour, learnt and tested on different identities."""

    def features(images: Pixels) -> Pixels:
        edges = np.concatenate([images[:, :, :6], images[:, :, -6:]], axis=2)
        bands = [band.mean(axis=(1, 2)) for band in np.array_split(edges, 4, axis=1)]
        joined: Pixels = np.concatenate(bands, axis=1)
        return joined

    visible = [cameras(0)[number] for number in (1, 2, 4, 5)]
    centroids = np.array([features(take_images(camera, range(20))).mean(axis=0) for camera in visible])
    correct = []
    for number, camera in enumerate(visible):
        test = features(take_images(camera, range(20, 40)))
        distance = np.linalg.norm(test[:, None] - centroids, axis=-1)
        correct += (distance.argmin(axis=1) == number).tolist()
    assert np.mean(correct) > 0.55  # chance is 0.25


def test_every_property_of_a_camera_changes_the_image() -> None:
    camera = cameras(0)[1]
    usual = take_images(camera, range(3))
    assert take_images(replace(camera, gain=0.5 * camera.gain), range(3)).mean() < 0.7 * usual.mean()
    assert warmth(take_images(replace(camera, cast=(1.2, 1.0, 0.7)), range(3))) > 1.15 * warmth(usual)
    changed = replace(camera, zoom=0.7), replace(camera, roll=0.2), replace(camera, softness=2.0)
    for other in (*changed, replace(camera, grain=0.2), replace(camera, gamma=2.0)):
        assert np.abs(take_images(other, range(3)) - usual).mean() > 1, other


def test_cameras_at_one_place_share_scenery() -> None:
    """Edges coincide between SYSU's cameras 2 and 3 but not between 1 and 3."""

    def edges(camera: FixedCamera) -> Pixels:
        whole = panorama(camera.place, camera.sensor, 64).astype(float).mean(axis=2)
        return np.abs(np.diff(whole, axis=1)).ravel()

    one, two, three = (edges(cameras(0)[number]) for number in (1, 2, 3))
    assert np.corrcoef(two, three)[0, 1] > 0.4
    assert abs(np.corrcoef(one, three)[0, 1]) < 0.2


def test_reflectance_is_independent_of_colour() -> None:
    levels: dict[FixedSensor, list[float]] = {"visible": [], "nir": []}
    for seed in range(60):  # indoors only: leaves are both green and bright in near infrared
        for sensor, means in levels.items():
            strip = panorama(Place((seed, 1), "indoor"), sensor, 32)[:8].astype(float).mean(axis=2)
            means += [float(block.mean()) for block in np.array_split(strip, 4, axis=1)]
    assert abs(np.corrcoef(levels["visible"], levels["nir"])[0, 1]) < 0.25


def test_the_sun_shines_outdoors_by_day_only() -> None:
    rng = np.random.default_rng(5)

    def sunny_share(camera: FixedCamera) -> float:
        return float(np.mean([camera.visit(rng).sun > 0 for _ in range(60)]))

    shares = {number: sunny_share(camera) for number, camera in cameras(0).items()}
    assert all(shares[number] == 0 for number in (1, 2, 3, 6))
    assert all(0.4 < shares[number] < 0.9 for number in (4, 5))
    dark = [make_camera(0, spec) for spec in llcm.camera_specs() if spec.low_light]
    assert all(sunny_share(camera) == 0 for camera in dark)


def test_the_sun_casts_a_shadow_and_lights_one_side() -> None:
    camera = replace(cameras(0)[4], light_side=1.0, sunny_rate=1.0)
    person = sample_person(np.random.default_rng(1))
    visit = replace(camera.visit(np.random.default_rng(2)), shade=None)

    def image(sun: float) -> Pixels:
        rng = np.random.default_rng(3)
        return np.asarray(render(person, replace(visit, sun=sun), rng, facing="front"), dtype=float)

    darker = image(0.1).mean(axis=2) - image(1.0).mean(axis=2)
    # Sun from the right: the shadow falls to the left, and the left side of the figure darkens.
    assert darker[100:, :28].max() > 40
    assert darker[30:60, 20:28].mean() > darker[30:60, 36:44].mean()


def test_low_light_darkens_visible_images_only() -> None:
    levels: dict[tuple[bool, FixedSensor], list[float]] = {}
    for spec in llcm.camera_specs():
        level = take_images(make_camera(0, spec), range(4)).mean()
        levels.setdefault((spec.low_light, spec.sensor), []).append(float(level))
    assert np.mean(levels[True, "visible"]) < 0.65 * np.mean(levels[False, "visible"])
    assert max(levels[True, "visible"]) < min(levels[False, "visible"])
    assert np.mean(levels[True, "nir"]) > np.mean(levels[True, "visible"])
