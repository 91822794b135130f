"""A good LLCM folder, with two training and two test identities, and a way to change its lists."""

from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path], object]

TV, TN, TEST = "idx/train_vis.txt", "idx/train_nir.txt", "idx/test_id.txt"
# Of each modality, in the order of the lists; identity 11 comes first with label 0.
TRAIN = {
    "vis": [
        "vis/0011/0011_c04_s185535_f7010_vis.jpg 0",
        "vis/0011/0011_c02_s185535_f7020_vis.jpg 0",
        "vis/0005/0005_c09_s200656_f4830_vis.jpg 1",
    ],
    "nir": [
        "nir/0011/0011_c01_s185535_f7010_nir.jpg 0",
        "nir/0005/0005_c09_s200656_f4830_nir.jpg 1",
        "nir/0005/0005_c06_s200656_f4840_nir.jpg 1",
    ],
}
GOOD = TRAIN["vis"][0].split()[0]
# Modality, camera -> test identities.
TESTED = {("vis", 3): (8, 30), ("vis", 1): (30,), ("nir", 1): (8,), ("nir", 9): (30, 8)}


def touch(root: Path, path: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).touch()


def place(root: Path) -> None:
    """Write the folder; its images are empty files."""
    (root / "idx").mkdir(parents=True)
    for modality, lines in TRAIN.items():
        for line in lines:
            touch(root, line.split()[0])
        (root / f"idx/train_{modality}.txt").write_text("\n".join(lines) + "\n")
        for camera in range(1, 10):
            if (modality, camera) == ("nir", 3):
                continue
            (root / f"test_{modality}/cam{camera}").mkdir(parents=True)
            for identity in TESTED.get((modality, camera), ()):
                for frame in (20, 7):
                    name = f"{identity:04d}_c{camera:02d}_s1_f{frame:04d}_{modality}.jpg"
                    touch(root, f"test_{modality}/cam{camera}/{identity:04d}/{name}")
    touch(root, "test_vis/cam1/0099/0099_c01_s1_f0001_vis.jpg")  # of an identity in no list
    (root / TEST).write_text("30,8\n")


def line(file: str, number: int, text: str) -> Damage:
    """Replaces line `number` of a list; the lines after it move up if `text` is empty."""

    def damage(root: Path) -> None:
        lines = (root / file).read_text().splitlines(keepends=True)
        lines[number - 1 : number] = [text + "\n"] if text else []
        (root / file).write_text("".join(lines))

    return damage
