"""Fixed cameras: what stays of one, what differs between them, indoors and out, by day and night."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tsme.synthetic.cameras.camera import Camera, mount
from tsme.synthetic.cameras.place import Place, Sensor, panorama
from tsme.synthetic.layouts import llcm, sysu
from tsme.synthetic.people.person import draw_person
from tsme.synthetic.render import render

SEEDS = (0, 1, 2)
Pixels = NDArray[np.float64]


def cameras(seed: int) -> dict[int, Camera]:
    return {mounting.number: mount(seed, mounting) for mounting in sysu.CAMERAS}


def taken(camera: Camera, people: range) -> Pixels:
    """One picture of each person: (person, height, width, channel)."""
    shown = []
    for k in people:
        rng = np.random.default_rng([31, k])
        person = draw_person(rng)
        shown.append(np.asarray(render(person, camera.visit(rng), rng, (32, 64)), dtype=float))
    return np.array(shown)


def warmth(pictures: Pixels) -> float:
    """Red over blue of the surroundings, left and right of the person."""
    edges = np.concatenate([pictures[:, :, :5], pictures[:, :, -5:]], axis=2)
    return float(edges[..., 0].mean() / edges[..., 2].mean())


def spread_of_light(pictures: Pixels) -> float:
    """How much the level of a camera's pictures differs from visit to visit."""
    levels = pictures.mean(axis=(1, 2, 3))
    return float(levels.std() / levels.mean())


@pytest.mark.parametrize("seed", SEEDS)
def test_indoors_is_dimmer_warmer_and_steadier(seed: int) -> None:
    shown = {number: taken(cameras(seed)[number], range(14)) for number in (1, 2, 4, 5)}
    for statistic, least in ((np.mean, 1.2), (spread_of_light, 1.4), (lambda p: 1 / warmth(p), 1.1)):
        inside, outside = (
            np.mean([statistic(shown[number]) for number in group]) for group in ((1, 2), (4, 5))
        )
        assert outside > least * inside


@pytest.mark.parametrize("seed", SEEDS)
def test_the_infrared_lamp_has_walls_to_shine_on_indoors(seed: int) -> None:
    inside, outside = (taken(cameras(seed)[number], range(10)) for number in (3, 6))
    edges = [pictures[:, :, [0, 1, 2, -3, -2, -1]].mean() for pictures in (inside, outside)]
    assert edges[0] > 1.2 * edges[1]
    for pictures in (inside, outside):  # the person is nearer to the lamp than what is behind
        assert pictures[:, 20:44, 12:20].mean() > 1.15 * pictures[:, 20:44, :4].mean()


def test_a_camera_is_known_by_its_pictures() -> None:
    """Surroundings of other people tell the camera: its character is not that of the person."""

    def character(pictures: Pixels) -> Pixels:
        edges = np.concatenate([pictures[:, :, :6], pictures[:, :, -6:]], axis=2)
        rows = [band.mean(axis=(1, 2)) for band in np.array_split(edges, 4, axis=1)]
        found: Pixels = np.concatenate(rows, axis=1)
        return found

    found = [cameras(0)[number] for number in (1, 2, 4, 5)]
    known = np.array([character(taken(camera, range(20))).mean(axis=0) for camera in found])
    right = []
    for number, camera in enumerate(found):
        distance = np.linalg.norm(character(taken(camera, range(20, 40)))[:, None] - known, axis=-1)
        right += (distance.argmin(axis=1) == number).tolist()
    assert np.mean(right) > 0.55  # by chance 0.25


def test_every_trait_of_a_camera_changes_the_picture() -> None:
    camera = cameras(0)[1]
    usual = taken(camera, range(3))
    assert taken(replace(camera, gain=0.5 * camera.gain), range(3)).mean() < 0.7 * usual.mean()
    assert warmth(taken(replace(camera, cast=(1.2, 1.0, 0.7)), range(3))) > 1.15 * warmth(usual)
    changed = replace(camera, zoom=0.7), replace(camera, roll=0.2), replace(camera, softness=2.0)
    for other in (*changed, replace(camera, grain=0.2), replace(camera, gamma=2.0)):
        assert np.abs(taken(other, range(3)) - usual).mean() > 1, other


def test_cameras_at_one_place_see_the_same_things() -> None:
    """Edges of SYSU's cameras 2 and 3 lie where they are, unlike those of camera 1 and 3."""

    def edges(camera: Camera) -> Pixels:
        whole = panorama(camera.place, camera.modality, 64).astype(float).mean(axis=2)
        return np.abs(np.diff(whole, axis=1)).ravel()

    one, two, three = (edges(cameras(0)[number]) for number in (1, 2, 3))
    assert np.corrcoef(two, three)[0, 1] > 0.4
    assert abs(np.corrcoef(one, three)[0, 1]) < 0.2


def test_reflectance_is_no_function_of_colour() -> None:
    levels: dict[Sensor, list[float]] = {"visible": [], "nir": []}
    for seed in range(60):  # of rooms: leaves are green and bright
        for sensor, found in levels.items():
            strip = panorama(Place((seed, 1), "indoor"), sensor, 32)[:8].astype(float).mean(axis=2)
            found += [float(block.mean()) for block in np.array_split(strip, 4, axis=1)]
    assert abs(np.corrcoef(levels["visible"], levels["nir"])[0, 1]) < 0.25


def test_the_sun_shines_outdoors_by_day_only() -> None:
    rng = np.random.default_rng(5)

    def sunny(camera: Camera) -> float:
        return float(np.mean([camera.visit(rng).sun > 0 for _ in range(60)]))

    shares = {number: sunny(camera) for number, camera in cameras(0).items()}
    assert all(shares[number] == 0 for number in (1, 2, 3, 6))
    assert all(0.4 < shares[number] < 0.9 for number in (4, 5))
    nights = [mount(0, mounting) for mounting in llcm.mountings() if mounting.low_light]
    assert all(sunny(camera) == 0 for camera in nights)


def test_the_sun_casts_a_shadow_and_lights_one_side() -> None:
    camera = replace(cameras(0)[4], sun=1.0, sunny=1.0)
    person = draw_person(np.random.default_rng(1))
    visit = replace(camera.visit(np.random.default_rng(2)), shade=None)

    def picture(sun: float) -> Pixels:
        rng = np.random.default_rng(3)
        return np.asarray(render(person, replace(visit, sun=sun), rng, facing="front"), dtype=float)

    darker = picture(0.1).mean(axis=2) - picture(1.0).mean(axis=2)
    # Sun from the right: the shadow lies on the ground to the left, and the figure's left side fades.
    assert darker[100:, :28].max() > 40
    assert darker[30:60, 20:28].mean() > darker[30:60, 36:44].mean()


def test_some_of_llcm_is_dark_and_only_to_visible_cameras() -> None:
    shown: dict[tuple[bool, Sensor], list[float]] = {}
    for mounting in llcm.mountings():
        level = taken(mount(0, mounting), range(4)).mean()
        shown.setdefault((mounting.low_light, mounting.modality), []).append(float(level))
    assert np.mean(shown[True, "visible"]) < 0.65 * np.mean(shown[False, "visible"])
    assert max(shown[True, "visible"]) < min(shown[False, "visible"])
    assert np.mean(shown[True, "nir"]) > np.mean(shown[True, "visible"])
