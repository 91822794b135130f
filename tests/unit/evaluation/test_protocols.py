"""Queries and galleries of each protocol, against loops over folders and hand-made cases."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from tsme.config import DatasetName, EvaluationConfig
from tsme.data.datasets.permutations import read_permutations
from tsme.data.types import Dataset, ImageList, Split, Trial
from tsme.errors import UserError
from tsme.evaluation.protocols import full_searches, searches

# Identity -> images in each camera; 5 is not in camera 2, 9 not in the outdoor cameras.
VISIBLE = {5: {1: 3, 4: 12, 5: 1}, 9: {1: 2, 2: 11}, 30: {1: 1, 2: 2, 4: 3, 5: 4}}
INFRARED = {5: {3: 2}, 9: {3: 1, 6: 2}, 30: {6: 4}}


def listed(counts: dict[int, dict[int, int]], modality: str) -> ImageList:
    rows = [
        (f"cam{camera}/{identity:04d}/{frame:04d}.jpg", identity, camera)
        for identity, cameras in counts.items()
        for camera, count in cameras.items()
        for frame in range(1, count + 1)
    ]
    paths, identities, cameras = zip(*rows, strict=True)
    return ImageList(modality, paths, np.array(identities), np.array(cameras))  # type: ignore[arg-type]


def dataset(root: Path, name: DatasetName) -> Dataset:
    """A data set without trials, but with the gallery draws in its folder."""
    return Dataset(name, root, {}, permutations=read_permutations(root))


@pytest.fixture
def trial() -> Trial:
    test = Split(listed(VISIBLE, "visible"), listed(INFRARED, "infrared"))
    return Trial(1, test.keep([]), test)


def names(trial: Trial, search) -> list[str]:
    gallery = trial.test["infrared" if search.query == "visible" else "visible"]
    return [gallery.paths[row] for row in search.gallery]


@pytest.mark.parametrize("name", ["regdb", "csv"])
def test_regdb_searches_everything_in_both_directions(trial, tmp_path, name):
    found = searches(dataset(tmp_path, name), trial, EvaluationConfig())
    assert [search.name for search in found] == ["visible-to-infrared", "infrared-to-visible"]
    visible, infrared = np.arange(len(trial.test.visible)), np.arange(len(trial.test.infrared))
    for search, queries, gallery in zip(found, (visible, infrared), (infrared, visible), strict=True):
        assert search.rule == "regdb" and search.draw is None
        assert np.array_equal(search.queries, queries) and np.array_equal(search.gallery, gallery)


def test_sysu_has_a_search_for_each_mode_shots_and_draw(trial, tmp_path):
    found = searches(dataset(tmp_path, "sysu"), trial, EvaluationConfig())
    assert len(found) == 2 * 2 * 10
    assert {(s.mode, s.shots, s.draw) for s in found} == {
        (mode, shots, draw)
        for mode in ("all", "indoor")
        for shots in ("single", "multi")
        for draw in range(10)
    }
    for search in found:
        assert (search.rule, search.query, search.drawn_by) == ("sysu", "infrared", "seed")
        assert len(search.queries) == len(trial.test.infrared)  # in both modes
    few = EvaluationConfig(modes=("indoor",), shots=("multi",), draws=(3,))
    (only,) = searches(dataset(tmp_path, "sysu"), trial, few)
    assert only.name == "indoor-search multi-shot" and only.draw == 3


@pytest.mark.parametrize("draw", range(10))
@pytest.mark.parametrize(("mode", "cameras"), [("all", (1, 2, 4, 5)), ("indoor", (1, 2))])
def test_single_shot_galleries_equal_those_of_common_python_code(trial, tmp_path, mode, cameras, draw):
    """Seeded with the draw's number: over identities, then cameras, one of the sorted files."""
    generator = random.Random(draw)
    expected = [
        generator.choice([f"cam{c}/{p:04d}/{f:04d}.jpg" for f in range(1, VISIBLE[p][c] + 1)])
        for p in sorted(VISIBLE)
        for c in cameras
        if c in VISIBLE[p]
    ]
    evaluation = EvaluationConfig(modes=(mode,), shots=("single",), draws=(draw,))
    (search,) = searches(dataset(tmp_path, "sysu"), trial, evaluation)
    assert sorted(names(trial, search)) == sorted(expected)


def test_multi_shot_draws_up_to_ten_images_of_each_identity_and_camera(trial, tmp_path):
    evaluation = EvaluationConfig(modes=("all",), shots=("multi",))
    galleries = set()
    for search in searches(dataset(tmp_path, "sysu"), trial, evaluation):
        found = names(trial, search)
        assert len(set(found)) == len(found)
        counts = {
            (p, c): sum(n.startswith(f"cam{c}/{p:04d}/") for n in found)
            for p in VISIBLE
            for c in range(1, 7)
        }
        expected = {(p, c): min(10, VISIBLE[p].get(c, 0)) for p in VISIBLE for c in range(1, 7)}
        assert counts == expected
        generator = random.Random(search.draw)
        expected = [
            frame
            for identity in sorted(VISIBLE)
            for camera in (1, 2, 4, 5)
            if camera in VISIBLE[identity]
            for frame in generator.sample(
                [
                    f"cam{camera}/{identity:04d}/{f:04d}.jpg"
                    for f in range(1, VISIBLE[identity][camera] + 1)
                ],
                min(10, VISIBLE[identity][camera]),
            )
        ]
        assert sorted(found) == sorted(expected)
        galleries.add(tuple(found))
    assert len(galleries) > 1


def test_draws_do_not_depend_on_the_order_of_the_list(trial, tmp_path):
    images = trial.test.visible
    order = np.random.default_rng(0).permutation(len(images))
    shuffled = images.take(order)
    other = Trial(1, trial.train, Split(shuffled, trial.test.infrared))
    for one, two in zip(
        searches(dataset(tmp_path, "sysu"), trial, EvaluationConfig()),
        searches(dataset(tmp_path, "sysu"), other, EvaluationConfig()),
        strict=True,
    ):
        assert set(names(trial, one)) == set(names(other, two))


def write_permutations(root: Path, draws: int = 10) -> dict[tuple[int, int, int], list[int]]:
    """Write rand_perm_cam.mat in the authors' layout; returns frames by camera, identity and draw."""
    from scipy.io import savemat

    cells = np.empty((6, 1), dtype=object)
    frames: dict[tuple[int, int, int], list[int]] = {}
    for camera in range(1, 7):
        cell = np.empty((30, 1), dtype=object)
        for identity in range(1, 31):
            count = VISIBLE.get(identity, {}).get(camera, 0)
            rng = np.random.default_rng([camera, identity])
            rows = np.array([rng.permutation(count) + 1 for _ in range(draws)], dtype=np.uint8)
            cell[identity - 1, 0] = rows
            for draw in range(draws):
                frames[camera, identity, draw] = rows[draw].tolist()
        cells[camera - 1, 0] = cell
    (root / "exp").mkdir()
    savemat(root / "exp" / "rand_perm_cam.mat", {"rand_perm_cam": cells})
    return frames


def test_galleries_follow_the_authors_file_if_it_exists(trial, tmp_path):
    frames = write_permutations(tmp_path)
    found = searches(dataset(tmp_path, "sysu"), trial, EvaluationConfig())
    assert len(found) == 40
    for search in found:
        assert search.drawn_by == "rand_perm_cam.mat"
        cameras = (1, 2) if search.mode == "indoor" else (1, 2, 4, 5)
        shots = 1 if search.shots == "single" else 10
        expected = {
            f"cam{camera}/{identity:04d}/{frame:04d}.jpg"
            for identity in VISIBLE
            for camera in cameras
            for frame in frames[camera, identity, search.draw][:shots]
        }
        assert set(names(trial, search)) == expected


def test_a_missing_drawn_image_is_named(trial, tmp_path):
    write_permutations(tmp_path)
    images = trial.test.visible
    kept = np.flatnonzero([path != "cam5/0005/0001.jpg" for path in images.paths])
    fewer = images.take(kept)
    # There is another image of this identity and camera, but not the drawn one.
    extra = ImageList(
        "visible",
        (*fewer.paths, "cam5/0005/0007.jpg"),
        np.append(fewer.identities, 5),
        np.append(fewer.cameras, 5),
    )
    damaged = Trial(1, trial.train, Split(extra, trial.test.infrared))
    with pytest.raises(UserError, match=r"cam5/0005/0001\.jpg: drawn by exp/rand_perm_cam\.mat"):
        searches(dataset(tmp_path, "sysu"), damaged, EvaluationConfig())


def test_an_identity_missing_from_a_camera_is_an_error(trial, tmp_path):
    frames = write_permutations(tmp_path)
    images = trial.test.visible
    gone = (images.identities == 9) & (images.cameras == 2)
    damaged = Trial(1, trial.train, Split(images.take(np.flatnonzero(~gone)), trial.test.infrared))
    first = frames[2, 9, 0][0]
    with pytest.raises(UserError, match=rf"cam2/0009/{first:04d}\.jpg: drawn by"):
        searches(dataset(tmp_path, "sysu"), damaged, EvaluationConfig())


def test_llcm_draws_one_image_of_each_identity_and_camera_in_both_directions(trial, tmp_path):
    found = searches(dataset(tmp_path, "llcm"), trial, EvaluationConfig())
    assert [search.name for search in found] == ["visible-to-infrared"] * 10 + [
        "infrared-to-visible"
    ] * 10
    for search in found:
        counts = VISIBLE if search.query == "infrared" else INFRARED
        generator = random.Random(search.draw)
        expected = [
            generator.choice([f"cam{c}/{p:04d}/{f:04d}.jpg" for f in range(1, counts[p][c] + 1)])
            for p in sorted(counts)
            for c in range(1, 10)
            if c in counts[p]
        ]
        assert sorted(names(trial, search)) == sorted(expected)
        assert (search.rule, search.drawn_by) == ("llcm", "seed")
        assert len(search.queries) == len(trial.test[search.query])


@pytest.mark.parametrize(
    ("name", "lost", "message"),
    [
        ("sysu", "infrared", "no queries"),
        ("sysu", "visible", "no gallery"),
        ("regdb", "visible", "no queries"),
    ],
)
def test_empty_queries_or_gallery_are_an_error(trial, tmp_path, name, lost, message):
    parts = {"visible": trial.test.visible, "infrared": trial.test.infrared}
    parts[lost] = parts[lost].keep([])
    with pytest.raises(UserError, match=message):
        searches(dataset(tmp_path, name), Trial(1, trial.train, Split(**parts)), EvaluationConfig())


def test_full_searches_cover_all_images_in_the_data_sets_directions(trial):
    assert [search.name for search in full_searches("sysu", trial.test)] == ["infrared-to-visible"]
    assert [search.rule for search in full_searches("llcm", trial.test)] == ["llcm", "llcm"]
    (search,) = full_searches("sysu", trial.test)
    assert len(search.gallery) == len(trial.test.visible) and search.draw is None
