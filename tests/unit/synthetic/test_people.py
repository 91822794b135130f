"""Tones identify within a sensor and say nothing between sensors; difficulty changes the images."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from tsme.synthetic.cameras.fixed import CameraSpec, make_camera
from tsme.synthetic.cameras.roaming import RoamingCamera
from tsme.synthetic.difficulty import VARIATIONS, Difficulty
from tsme.synthetic.people.person import Person, Sensor, ToneModel
from tsme.synthetic.people.sampling import sample_person
from tsme.synthetic.render import View, render, sample_facing

IDENTITIES, FRAMES = 60, 4  # chance is 1 in 60
SENSORS: tuple[Sensor, ...] = ("visible", "thermal", "nir")
LUMINANCE = np.array([0.299, 0.587, 0.114])


@pytest.fixture(scope="module", params=["independent", "lifelike"])
def tones(request: pytest.FixtureRequest) -> ToneModel:
    model: ToneModel = request.param
    return model


@pytest.fixture(scope="module")
def images(tones: ToneModel) -> dict[Sensor, NDArray[np.uint8]]:
    """(identity, frame, height, width, channel) for each sensor."""
    sample = partial(sample_person, tone_model=tones)
    return {sensor: render_all(sample, sensor) for sensor in SENSORS}


def make_view(sensor: Sensor, rng: np.random.Generator) -> View:
    if sensor == "nir":
        return make_camera(0, CameraSpec(3, "nir", place=2, setting="indoor")).visit(rng)
    return RoamingCamera(sensor)


def render_all(sample: Callable[[np.random.Generator], Person], sensor: Sensor) -> NDArray[np.uint8]:
    images = []
    for k in range(IDENTITIES):
        person = sample(np.random.default_rng([11, k]))
        rng = np.random.default_rng([12, SENSORS.index(sensor), k])
        view = make_view(sensor, rng)
        images.append([np.asarray(render(person, view, rng)) for _ in range(FRAMES)])
    return np.array(images)


def histograms(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Histograms of each channel in four strips of the centre: (identity, frame, feature)."""

    def of_one(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        strips = np.array_split(pixels[:, 18:46], 4)
        bins = [np.histogram(s[..., c], 8, (0, 256))[0] for s in strips for c in range(3)]
        counts: NDArray[np.float64] = np.concatenate(bins).astype(float)
        return np.sqrt(counts)

    return np.array([[of_one(pixels) for pixels in frames] for frames in images])


def strip_brightness(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean brightness of eight strips of the figure, normalised per image: (identity, frame, 8)."""
    grayscale = (images @ LUMINANCE)[:, :, 12:120, 24:40]
    strips = np.stack([s.mean(axis=(2, 3)) for s in np.array_split(grayscale, 8, axis=2)], axis=-1)
    strips -= strips.mean(axis=-1, keepdims=True)
    strips /= strips.std(axis=-1, keepdims=True)
    scaled: NDArray[np.float64] = (strips - strips.mean(axis=(0, 1))) / strips.std(axis=(0, 1))
    return scaled


def cross_modal_rate(visible: NDArray[np.uint8], infrared: NDArray[np.uint8]) -> float:
    """Nearest-centroid rate on strip brightness, the mean of both directions."""
    v, t = strip_brightness(visible), strip_brightness(infrared)
    return (nearest_centroid_rate(v, t) + nearest_centroid_rate(t, v)) / 2


def luminance(tone: tuple[float, ...]) -> float:
    return float(np.array(tone) @ LUMINANCE)


def nearest_centroid_rate(queries: NDArray[np.float64], gallery: NDArray[np.float64]) -> float:
    """Share of queries (n, q, d) nearest to the mean of their own identity's gallery (n, g, d)."""
    centroids = gallery.mean(axis=1)
    distance = np.linalg.norm(queries[:, :, None] - centroids, axis=-1)
    return float((distance.argmin(axis=-1) == np.arange(len(queries))[:, None]).mean())


@pytest.mark.parametrize(("sensor", "minimum"), [("visible", 0.4), ("thermal", 0.12), ("nir", 0.4)])
def test_tones_identify_within_a_sensor(
    images: dict[Sensor, NDArray[np.uint8]], sensor: Sensor, minimum: float
) -> None:
    features = histograms(images[sensor])
    assert nearest_centroid_rate(features[:, :2], features[:, 2:]) > minimum


@pytest.mark.parametrize("infrared", ["thermal", "nir"])
def test_tones_do_not_identify_between_sensors(
    images: dict[Sensor, NDArray[np.uint8]], infrared: Sensor
) -> None:
    assert cross_modal_rate(images["visible"], images[infrared]) < 0.1


def probe_accuracy(train: NDArray[np.float64], test: NDArray[np.float64], ridge: float = 1.0) -> float:
    """Accuracy on `test` (n, frames, d) of a linear classifier fitted to `train` (n, frames, d).

    Ridge regression with one output per identity. Both sets are standardised separately, so that a
    difference in gain between sensors does not hide shared information.
    """
    x, y = (f.reshape(-1, f.shape[-1]) for f in (train, test))
    x, y = ((f - f.mean(0)) / (f.std(0) + 1e-6) for f in (x, y))
    targets = np.repeat(np.eye(len(train)), train.shape[1], axis=0)
    weights = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ targets)
    predicted = (y @ weights).argmax(1)
    return float((predicted == np.repeat(np.arange(len(test)), test.shape[1])).mean())


@pytest.mark.parametrize(("sensor", "minimum"), [("visible", 0.35), ("thermal", 0.12), ("nir", 0.35)])
def test_a_linear_probe_on_histograms_identifies_within_a_sensor(
    images: dict[Sensor, NDArray[np.uint8]], sensor: Sensor, minimum: float
) -> None:
    features = histograms(images[sensor])
    assert probe_accuracy(features[:, :2], features[:, 2:]) > minimum


@pytest.mark.parametrize("infrared", ["thermal", "nir"])
def test_a_linear_probe_on_histograms_is_near_chance_between_sensors(
    images: dict[Sensor, NDArray[np.uint8]], infrared: Sensor
) -> None:
    visible, other = histograms(images["visible"]), histograms(images[infrared])
    grayscale = histograms(
        np.repeat((images["visible"] @ LUMINANCE)[..., None], 3, axis=-1).astype(np.uint8)
    )
    for one in (visible, grayscale):
        for train, test in ((one, other), (other, one)):
            assert probe_accuracy(train, test) < 4 / IDENTITIES


def test_the_comparison_between_sensors_detects_a_leak(images: dict[Sensor, NDArray[np.uint8]]) -> None:
    """Temperatures equal to the luminance of the clothes are found by the same two comparisons."""

    def sample_leaking_person(rng: np.random.Generator) -> Person:
        person = sample_person(rng)
        warmth = {part: (luminance(tone),) for part, tone in person.tones["visible"].items()}
        return replace(person, tones={"thermal": warmth})

    leaking = render_all(sample_leaking_person, "thermal")
    assert cross_modal_rate(images["visible"], leaking) > 0.25
    grayscale = np.repeat((images["visible"] @ LUMINANCE)[..., None], 3, axis=-1).astype(np.uint8)
    assert probe_accuracy(histograms(grayscale), histograms(leaking)) > 6 / IDENTITIES


@pytest.mark.parametrize("infrared", ["thermal", "nir"])
def test_tones_of_sensors_are_independent(infrared: Sensor) -> None:
    persons = [sample_person(np.random.default_rng([13, k])) for k in range(400)]
    same_order = [
        (luminance(visible["upper_accent"]) > luminance(visible["upper"]))
        == (other["upper_accent"] > other["upper"])
        for visible, other in ((p.tones["visible"], p.tones[infrared]) for p in persons)
    ]
    assert 0.42 < np.mean(same_order) < 0.58


def frame_difference(difficulty: Difficulty) -> float:
    """Mean absolute difference between two thermal frames of an identity, averaged over identities."""
    differences = []
    for k in range(12):
        person = sample_person(np.random.default_rng([21, k]))
        frames = [
            np.asarray(
                render(
                    person,
                    RoamingCamera("thermal"),
                    np.random.default_rng([22, k, frame]),
                    variation=VARIATIONS[difficulty],
                )
            ).astype(float)
            for frame in range(2)
        ]
        one, two = ((f - f.mean()) / f.std() for f in frames)
        differences.append(np.abs(one - two).mean())
    return float(np.mean(differences))


def test_frames_of_an_identity_differ_more_at_higher_difficulty() -> None:
    easy, normal, hard = (frame_difference(level) for level in ("easy", "normal", "hard"))
    assert easy < normal < hard


@pytest.mark.parametrize(
    ("level", "low", "high"), [("easy", 0, 0), ("normal", 0.03, 0.2), ("hard", 0.25, 0.5)]
)
def test_the_other_side_is_seen_at_the_rate_of_the_difficulty(
    level: Difficulty, low: float, high: float
) -> None:
    rng = np.random.default_rng(23)
    person = sample_person(rng)
    others = [sample_facing(person, rng, VARIATIONS[level]) != person.facing for _ in range(200)]
    assert low <= np.mean(others) <= high
