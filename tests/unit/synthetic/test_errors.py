"""Generator errors: options out of range, output folders in use, and cleaning up after a failure."""

from pathlib import Path

import pytest

from tests.support.synthetic_regdb import generate_regdb
from tsme.config import DatasetName
from tsme.data.datasets.registry import open_dataset
from tsme.errors import UserError
from tsme.synthetic.generate import generate


@pytest.mark.parametrize(
    ("option", "value"),
    [("identities", 3), ("images", 1), ("trials", 0), ("trials", 11), ("seed", -1), ("workers", 0)],
)
def test_regdb_options_out_of_range(tmp_path: Path, option: str, value: int) -> None:
    with pytest.raises(UserError, match=f"^{option} is {value}: ") as raised:
        generate_regdb(tmp_path / "out", **{option: value})  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("keep")
    with pytest.raises(UserError, match="not empty"):
        generate_regdb(tmp_path / "out", identities=4, images=2)
    with pytest.raises(UserError, match="is a file"):
        generate_regdb(tmp_path / "out" / "notes.txt", identities=4, images=2)
    assert {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*.*")} == {
        "out/notes.txt": b"keep"
    }


def test_an_empty_folder_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    generate_regdb(tmp_path / "out", identities=4, images=2, trials=1, size=(32, 64), workers=1)
    assert (tmp_path / "out" / "idx" / "train_visible_1.txt").is_file()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_no_files(tmp_path: Path) -> None:
    def fail(done: int, total: int) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        generate_regdb(tmp_path / "out", identities=4, images=2, workers=1, progress=fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("layout", "option", "value"),
    [
        ("sysu", "identities", 5), ("llcm", "identities", 3), ("csv", "identities", 3),
        ("sysu", "images", 1), ("llcm", "seed", -1), ("csv", "workers", 0), ("x", "layout", "x"),
    ],
)  # fmt: skip
def test_options_out_of_range(tmp_path: Path, layout: str, option: str, value: object) -> None:
    options: dict[str, object] = {"layout": layout, "identities": 8, "images": 2, "seed": 0}
    with pytest.raises(UserError, match=f"^{option} is {value}: ") as raised:
        generate(tmp_path / "out", **(options | {option: value}))  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [(15, 32), (97, 32)])
def test_sizes_out_of_range(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=f"^size is {size[0]}x{size[1]}: "):
        generate(tmp_path / "out", layout="sysu", identities=8, images=2, seed=0, size=size)


@pytest.mark.parametrize(("layout", "minimum"), [("regdb", 4), ("sysu", 6), ("llcm", 4), ("csv", 4)])
def test_the_fewest_identities_and_widest_images_are_accepted(
    tmp_path: Path, layout: DatasetName, minimum: int
) -> None:
    generate(
        tmp_path / "d", layout=layout, identities=minimum, images=2, seed=0, size=(48, 16), workers=1
    )
    root = tmp_path / "d" / ("people.csv" if layout == "csv" else "")
    assert open_dataset(layout, root).faults == ()
