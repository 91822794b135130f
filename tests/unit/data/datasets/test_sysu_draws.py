"""SYSU-MM01's published gallery draws: good and bad MATLAB files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from tsme.data.datasets.permutations import Permutations, read_permutations
from tsme.errors import UserError

MAT = "exp/rand_perm_cam.mat"


@pytest.fixture
def sysu(tmp_path: Path) -> Path:
    """A folder with an empty exp."""
    (tmp_path / "exp").mkdir()
    return tmp_path


def cell(items: list[Any]) -> np.ndarray:
    """A column of cells; numpy would make one array of items of equal shape."""
    column = np.empty((len(items), 1), dtype=object)
    for row, item in enumerate(items):
        column[row, 0] = item
    return column


def order(frames: int, seed: int) -> np.ndarray:
    """Ten permutations of 1..frames, one a row."""
    random = np.random.default_rng(seed)
    return np.array([1 + random.permutation(frames) for _ in range(10)], dtype=np.uint8)


ORDERS = {
    (camera, identity): order(identity + 2, 10 * camera + identity)
    for camera in (1, 2)
    for identity in (1, 3)
}


@pytest.fixture
def drawn(sysu: Path) -> Path:
    """Two cameras and three identities, of which the cameras have not seen the second."""
    cameras = [cell([ORDERS[camera, 1], np.empty((0, 0)), ORDERS[camera, 3]]) for camera in (1, 2)]
    cameras[1] = cameras[1].T  # a row of cells, as MATLAB users may well save it
    savemat(sysu / MAT, {"rand_perm_cam": cell(cameras), "another": 1})
    return sysu


def permutations(root: Path) -> Permutations:
    found = read_permutations(root)
    assert found is not None
    return found


def test_no_file_of_draws(sysu: Path) -> None:
    assert read_permutations(sysu) is None


def test_frames_of_a_draw(drawn: Path) -> None:
    found = permutations(drawn)
    for (camera, identity), expected in ORDERS.items():
        for draw in range(10):
            for shots in (1, 3, 10):
                frames = found.frames(camera, identity, draw, shots)
                assert frames == expected[draw, :shots].tolist()
    assert sorted(found.frames(1, 3, 9, 10)) == [1, 2, 3, 4, 5]
    assert all(type(frame) is int for frame in found.frames(1, 1, 0, 2))
    assert found.frames(1, 2, 0, 1) == []


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ((0, 1, 0), "no camera 0, only 1 to 2"),
        ((3, 1, 0), "no camera 3, only 1 to 2"),
        ((1, 0, 0), "no identity 0, only 1 to 3 in camera 1"),
        ((2, 4, 0), "no identity 4, only 1 to 3 in camera 2"),
        ((1, 3, 10), "no draw 10, only 0 to 9 of identity 3 in camera 1"),
        ((1, 3, -1), "no draw -1, only 0 to 9 of identity 3 in camera 1"),
    ],
)
def test_missing_cameras_identities_and_draws_are_named(
    drawn: Path, arguments: tuple[int, int, int], what: str
) -> None:
    with pytest.raises(UserError) as caught:
        permutations(drawn).frames(*arguments, shots=1)
    assert str(caught.value).startswith(f"{drawn / MAT}: has {what}; download it again")


def one_cell(value: Any) -> dict[str, Any]:
    return {"rand_perm_cam": cell([cell([order(3, 0), value])])}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"other": 1}, "has no list of cameras named rand_perm_cam"),
        ({"rand_perm_cam": np.ones((6, 5))}, "has no list of cameras named rand_perm_cam"),
        (one_cell(np.array([[1.0, 2.5]])), "camera 1, identity 2: not rows of distinct frame numbers"),
        (one_cell(np.array([[1.0, np.nan]])), "camera 1, identity 2: not rows"),
        (one_cell(np.array([[0, 1]])), "camera 1, identity 2: not rows"),
        (one_cell(np.array([[1, 2], [2, 2]])), "camera 1, identity 2: not rows"),
        (one_cell("text"), "camera 1, identity 2: not rows"),
        (one_cell(np.ones((1, 2, 2))), "camera 1, identity 2: not rows"),
        (one_cell(cell([order(2, 0)])), "camera 1, identity 2: not rows"),
    ],
)
def test_other_contents_than_draws(sysu: Path, content: dict[str, Any], what: str) -> None:
    savemat(sysu / MAT, content)
    with pytest.raises(UserError) as caught:
        read_permutations(sysu)
    assert str(caught.value).startswith(f"{sysu / MAT}: {what}")
    assert "download it again from evaluation/data_split" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"MATLAB 5.0 MAT-file" + bytes(200)])
def test_a_file_that_is_no_mat_file(sysu: Path, content: bytes) -> None:
    (sysu / MAT).write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_permutations(sysu)
    assert str(caught.value).startswith(f"{sysu / MAT}: ")
    assert "download it again" in str(caught.value)


def test_a_truncated_file_is_refused(drawn: Path) -> None:
    whole = (drawn / MAT).read_bytes()
    for length in range(0, len(whole) - 300, 97):  # the variable that follows, "another", is not read
        (drawn / MAT).write_bytes(whole[:length])
        with pytest.raises(UserError, match="download it again"):
            read_permutations(drawn)


def test_version_7_3_is_named(sysu: Path) -> None:
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    (sysu / MAT).write_bytes(header + bytes(512))
    with pytest.raises(UserError, match=r"rand_perm_cam.mat: is a MATLAB 7.3 file, .*h5py.*'-v7'"):
        read_permutations(sysu)
