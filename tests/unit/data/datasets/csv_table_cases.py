"""A good table: its rows, and what is read from it."""

from pathlib import Path

from tsme.data.datasets.csv_table import read_csv_table
from tsme.data.types import MODALITIES, Dataset, Trial

COLUMNS = ("path", "identity", "camera", "modality", "split")
# Without a header; identity 7 is in two cameras, 40 and 9 are to test on, 3 to validate with.
ROWS = [
    ("v/c.jpg", "7", "4", "visible", "train"),
    ("v/a.jpg", "12", "2", "visible", "train"),
    ("n/b.png", "7", "9", "infrared", "train"),
    ("n/a.png", "12", "9", "infrared", "train"),
    ("v/d.jpg", "3", "2", "visible", "validation"),
    ("n/d.png", "3", "9", "infrared", "validation"),
    ("v/e.jpg", "40", "4", "visible", "test"),
    ("n/e.png", "40", "9", "infrared", "test"),
    ("f.jpg", "9", "2", "visible", "test"),
    ("f.png", "9", "9", "infrared", "test"),
    ("v/g.jpg", "7", "2", "visible", "train"),
]


def write(file: Path, rows: list[tuple[str, ...]], columns: tuple[str, ...] = COLUMNS) -> Dataset:
    file.write_text("".join(",".join(row) + "\n" for row in [columns, *rows]))
    return read_csv_table(file)


def without(
    column: str, rows: list[tuple[str, ...]] = ROWS
) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    at = COLUMNS.index(column)
    return [row[:at] + row[at + 1 :] for row in rows], COLUMNS[:at] + COLUMNS[at + 1 :]


def place_images(root: Path) -> None:
    """Write an empty file for each image of the table."""
    for row in ROWS:
        (root / row[0]).parent.mkdir(parents=True, exist_ok=True)
        (root / row[0]).touch()


def contents(trial: Trial) -> dict[str, list[tuple[str, int, int]]]:
    """Path, identity and camera of each image, by split and modality."""
    return {
        f"{name} {modality}": list(
            zip(
                split[modality].paths,
                split[modality].identities.tolist(),
                split[modality].cameras.tolist(),
                strict=True,
            )
        )
        for name, split in (("train", trial.train), ("test", trial.test))
        for modality in MODALITIES
    }


EXPECTED = {
    "train visible": [("v/c.jpg", 7, 4), ("v/a.jpg", 12, 2), ("v/d.jpg", 3, 2), ("v/g.jpg", 7, 2)],
    "train infrared": [("n/b.png", 7, 9), ("n/a.png", 12, 9), ("n/d.png", 3, 9)],
    "test visible": [("v/e.jpg", 40, 4), ("f.jpg", 9, 2)],
    "test infrared": [("n/e.png", 40, 9), ("f.png", 9, 9)],
}
