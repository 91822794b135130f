"""What identifies synthetic identities to each sensor, and that it says nothing to another sensor."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tsme.synthetic.cameras.camera import Mounting, mount
from tsme.synthetic.cameras.scene import Anywhere
from tsme.synthetic.difficulty import LEVELS, Level
from tsme.synthetic.people.person import Modality, Person, draw_person
from tsme.synthetic.render import View, draw_facing, render

PEOPLE, FRAMES = 60, 4  # chance is 1 in 60
MODALITIES: tuple[Modality, ...] = ("visible", "thermal", "nir")
LUMINANCE = np.array([0.299, 0.587, 0.114])


@pytest.fixture(scope="module")
def pictures() -> dict[Modality, NDArray[np.uint8]]:
    """(identity, frame, height, width, channel) for either modality."""
    return {m: draw_pictures(draw_person, m) for m in MODALITIES}


def passing(modality: Modality, rng: np.random.Generator) -> View:
    if modality == "nir":
        return mount(0, Mounting(3, "nir", place=2, setting="indoor")).visit(rng)
    return Anywhere(modality)


def draw_pictures(draw: Callable[[np.random.Generator], Person], modality: Modality) -> NDArray[np.uint8]:
    shown = []
    for k in range(PEOPLE):
        person = draw(np.random.default_rng([11, k]))
        rng = np.random.default_rng([12, MODALITIES.index(modality), k])
        view = passing(modality, rng)
        shown.append([np.asarray(render(person, view, rng)) for _ in range(FRAMES)])
    return np.array(shown)


def histograms(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of each channel, over four strips of the picture's middle: (identity, frame, feature)."""

    def of_one(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        strips = np.array_split(pixels[:, 18:46], 4)
        bins = [np.histogram(s[..., c], 8, (0, 256))[0] for s in strips for c in range(3)]
        counts: NDArray[np.float64] = np.concatenate(bins).astype(float)
        return np.sqrt(counts)

    return np.array([[of_one(pixels) for pixels in frames] for frames in pictures])


def tones_of_garments(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean brightness of eight strips of the figure, free of each picture's gain and offset."""
    grayscale = (pictures @ LUMINANCE)[:, :, 12:120, 24:40]
    strips = np.stack([s.mean(axis=(2, 3)) for s in np.array_split(grayscale, 8, axis=2)], axis=-1)
    strips -= strips.mean(axis=-1, keepdims=True)
    strips /= strips.std(axis=-1, keepdims=True)
    scaled: NDArray[np.float64] = (strips - strips.mean(axis=(0, 1))) / strips.std(axis=(0, 1))
    return scaled


def cross_modal_rate(visible: NDArray[np.uint8], thermal: NDArray[np.uint8]) -> float:
    """Nearest-centroid rate on tones, the mean of both directions."""
    v, t = tones_of_garments(visible), tones_of_garments(thermal)
    return (nearest_centroid_rate(v, t) + nearest_centroid_rate(t, v)) / 2


def luminance(tone: tuple[float, ...]) -> float:
    return float(np.array(tone) @ LUMINANCE)


def nearest_centroid_rate(queries: NDArray[np.float64], gallery: NDArray[np.float64]) -> float:
    """Share of queries (n, q, d) nearest to the mean of their own identity's gallery (n, g, d)."""
    centroids = gallery.mean(axis=1)
    distance = np.linalg.norm(queries[:, :, None] - centroids, axis=-1)
    return float((distance.argmin(axis=-1) == np.arange(len(queries))[:, None]).mean())


@pytest.mark.parametrize(("modality", "least"), [("visible", 0.4), ("thermal", 0.12), ("nir", 0.4)])
def test_tones_identify_within_a_modality(
    pictures: dict[Modality, NDArray[np.uint8]], modality: Modality, least: float
) -> None:
    features = histograms(pictures[modality])
    assert nearest_centroid_rate(features[:, :2], features[:, 2:]) > least


@pytest.mark.parametrize("infrared", ["thermal", "nir"])
def test_tones_say_little_across_modalities(
    pictures: dict[Modality, NDArray[np.uint8]], infrared: Modality
) -> None:
    assert cross_modal_rate(pictures["visible"], pictures[infrared]) < 0.1


def probe(taught: NDArray[np.float64], asked: NDArray[np.float64], ridge: float = 1.0) -> float:
    """Share of `asked` (n, frames, d) that a linear classifier learnt from `taught` names rightly.

    Least squares with a ridge, one output per identity; both sides are scaled to mean 0 and deviation 1,
    each by itself, so that a sensor's gain alone cannot hide what tones would tell.
    """
    x, y = (f.reshape(-1, f.shape[-1]) for f in (taught, asked))
    x, y = ((f - f.mean(0)) / (f.std(0) + 1e-6) for f in (x, y))
    identities = np.repeat(np.eye(len(taught)), taught.shape[1], axis=0)
    weights = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ identities)
    named = (y @ weights).argmax(1)
    return float((named == np.repeat(np.arange(len(asked)), asked.shape[1])).mean())


@pytest.mark.parametrize(("modality", "least"), [("visible", 0.35), ("thermal", 0.12), ("nir", 0.35)])
def test_a_linear_probe_on_histograms_identifies_within_a_modality(
    pictures: dict[Modality, NDArray[np.uint8]], modality: Modality, least: float
) -> None:
    features = histograms(pictures[modality])
    assert probe(features[:, :2], features[:, 2:]) > least


@pytest.mark.parametrize("infrared", ["thermal", "nir"])
def test_a_linear_probe_on_histograms_is_near_chance_across_modalities(
    pictures: dict[Modality, NDArray[np.uint8]], infrared: Modality
) -> None:
    visible, other = histograms(pictures["visible"]), histograms(pictures[infrared])
    grayscale = histograms(
        np.repeat((pictures["visible"] @ LUMINANCE)[..., None], 3, axis=-1).astype(np.uint8)
    )
    for one in (visible, grayscale):
        for taught, asked in ((one, other), (other, one)):
            assert probe(taught, asked) < 4 / PEOPLE


def test_the_check_across_modalities_can_fail(pictures: dict[Modality, NDArray[np.uint8]]) -> None:
    """People as warm as their clothes are bright are found by the same comparison."""

    def leaky(rng: np.random.Generator) -> Person:
        person = draw_person(rng)
        warmth = {part: (luminance(tone),) for part, tone in person.looks["visible"].items()}
        return replace(person, looks={"thermal": warmth})

    leaking = draw_pictures(leaky, "thermal")
    assert cross_modal_rate(pictures["visible"], leaking) > 0.25
    grayscale = np.repeat((pictures["visible"] @ LUMINANCE)[..., None], 3, axis=-1).astype(np.uint8)
    assert probe(histograms(grayscale), histograms(leaking)) > 6 / PEOPLE


@pytest.mark.parametrize("infrared", ["thermal", "nir"])
def test_looks_are_independent_of_each_other(infrared: Modality) -> None:
    people = [draw_person(np.random.default_rng([13, k])) for k in range(400)]
    broadcast = [
        (luminance(seen["upper_accent"]) > luminance(seen["upper"]))
        == (felt["upper_accent"] > felt["upper"])
        for seen, felt in ((p.looks["visible"], p.looks[infrared]) for p in people)
    ]
    assert 0.42 < np.mean(broadcast) < 0.58


def silhouettes_differ(difficulty: Level) -> float:
    """Mean absolute difference of two frames of one person before the same kind of camera."""
    gaps = []
    for k in range(12):
        person = draw_person(np.random.default_rng([21, k]))
        frames = [
            np.asarray(
                render(
                    person,
                    Anywhere("thermal"),
                    np.random.default_rng([22, k, frame]),
                    difficulty=LEVELS[difficulty],
                )
            ).astype(float)
            for frame in range(2)
        ]
        one, two = ((f - f.mean()) / f.std() for f in frames)
        gaps.append(np.abs(one - two).mean())
    return float(np.mean(gaps))


def test_pictures_of_one_person_differ_more_where_it_is_harder() -> None:
    easy, normal, hard = (silhouettes_differ(level) for level in ("easy", "normal", "hard"))
    assert easy < normal < hard


@pytest.mark.parametrize(
    ("level", "low", "high"), [("easy", 0, 0), ("normal", 0.03, 0.2), ("hard", 0.25, 0.5)]
)
def test_the_other_side_is_seen_as_often_as_the_level_says(level: Level, low: float, high: float) -> None:
    rng = np.random.default_rng(23)
    person = draw_person(rng)
    others = [draw_facing(person, rng, LEVELS[level]) != person.facing for _ in range(200)]
    assert low <= np.mean(others) <= high
