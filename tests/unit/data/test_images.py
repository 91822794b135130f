"""Decoding and resizing of images, and the fingerprint of the files."""

import shutil
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tsme.data import images
from tsme.data.datasets.regdb import read_regdb
from tsme.data.fingerprint import fingerprint
from tsme.data.images import decode, grayscale, open_image
from tsme.errors import UserError

GOOD = "Visible/285/male_back_v_00001_285.bmp"


def decoded(root: Path, names: Sequence[str], height: int, width: int) -> np.ndarray:
    return np.stack(list(decode([root / name for name in names], height, width)))


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_images_come_in_list_order_as_rgb(regdb: Path) -> None:
    batch = decoded(regdb, read_regdb(regdb).trial(1).train.visible.paths, 12, 6)
    assert batch.shape == (6, 3, 12, 6) and batch.dtype == np.uint8
    colours = [[285 % 256, 0, 50], [285 % 256, 100, 50], [3, 0, 50], [3, 100, 50]]
    assert batch[:4, :, 5, 3].tolist() == colours


def test_equal_size_is_kept_and_other_sizes_are_resized_by_lanczos(tmp_path: Path) -> None:
    pixels = noise(16, 8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (same,) = decoded(tmp_path, ["a.png"], 16, 8)
    assert np.array_equal(same.transpose(1, 2, 0), pixels)
    (halved,) = decoded(tmp_path, ["a.png"], 8, 5)
    expected = Image.fromarray(pixels).resize((5, 8), Image.Resampling.LANCZOS)
    assert np.array_equal(halved.transpose(1, 2, 0), np.asarray(expected))


def test_no_images(tmp_path: Path) -> None:
    assert list(decode([], 4, 2)) == []


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "CMYK"])
def test_every_8_bit_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tiff"
    Image.new("RGB", (3, 2), "white").convert(mode).save(path)
    image = open_image(path)
    assert image.mode == "RGB" and image.size == (3, 2)
    assert image.getpixel((2, 1)) == (255, 255, 255)


@pytest.mark.parametrize("suffix", ["bmp", "png", "jpg"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.9])
def test_truncated_image_names_the_file(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(64, 32)).save(path)
    open_image(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(UserError, match=rf"/a\.{suffix}: cannot be read as an image \(") as caught:
        open_image(path)
    assert str(caught.value).count(str(path)) == 1


def test_16_bit_image_is_refused_rather_than_clipped(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((4, 4), 4000, dtype=np.uint16)).save(path)
    with pytest.raises(UserError, match=r"deep\.png: .*more than 8 bits"):
        open_image(path)


def test_first_bad_image_of_a_list_is_named(regdb: Path) -> None:
    (regdb / "junk.bmp").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"/gone\.bmp: .*No such file"):
        decoded(regdb, [GOOD, "gone.bmp", "junk.bmp"], 4, 2)
    with pytest.raises(UserError, match=r"/junk\.bmp: .*unknown format"):
        decoded(regdb, [GOOD, "junk.bmp", "gone.bmp"], 4, 2)


def test_grayscale_agrees_with_the_definition_and_with_pillow() -> None:
    pixels = noise(9, 7)
    images = torch.from_numpy(pixels).permute(2, 0, 1)
    result = grayscale(images)
    assert result.dtype == torch.uint8 and result.shape == images.shape
    for y, x in np.ndindex(9, 7):
        red, green, blue = (float(v) for v in pixels[y, x])
        expected = round(0.299 * red + 0.587 * green + 0.114 * blue)
        assert result[:, y, x].tolist() == [expected] * 3
    pillow = np.asarray(Image.fromarray(pixels).convert("L")).astype(int)
    assert np.abs(result[0].numpy().astype(int) - pillow).max() <= 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_grayscale_keeps_float_types_and_leading_dimensions(dtype: torch.dtype) -> None:
    images = torch.rand(2, 5, 3, 4, 2, dtype=torch.float64).to(dtype)
    before = images.clone()
    result = grayscale(images)
    assert result.dtype == dtype and result.shape == images.shape
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).reshape(3, 1, 1)
    expected = (images.double() * weights).sum(2, keepdim=True).expand(2, 5, 3, 4, 2)
    tolerance = 0.02 if dtype == torch.bfloat16 else 1e-6
    torch.testing.assert_close(result.double(), expected, atol=tolerance, rtol=0)
    result[:, :, 0] = -1
    assert torch.equal(images, before)
    assert result[:, :, 1].min() >= 0


def test_grayscale_images_stay_the_same() -> None:
    levels = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)
    assert torch.equal(grayscale(levels), levels)


def test_fingerprint_depends_on_contents_alone(regdb: Path, tmp_path: Path) -> None:
    first = fingerprint(read_regdb(regdb))
    assert len(first) == 16 and int(first, 16) >= 0
    copy = tmp_path / "elsewhere"
    shutil.copytree(regdb, copy, copy_function=shutil.copyfile)
    (copy / "Visible/285/unlisted_285.bmp").write_bytes(b"not named by any list")
    assert fingerprint(read_regdb(copy)) == first
    (copy / "idx/test_visible_2.txt").unlink()  # one trial fewer
    assert fingerprint(read_regdb(copy)) != first


def test_fingerprint_against_its_definition(regdb: Path) -> None:
    """The definition must not change: stored results contain fingerprints."""
    lists = sorted((regdb / "idx").glob("*.txt"))
    named = {line.split()[0] for path in lists for line in path.read_text().splitlines()}
    files = sorted({f"idx/{path.name}" for path in lists} | named)
    assert len(files) == 28
    digests = [file.encode() + b"\0" + sha256((regdb / file).read_bytes()).digest() for file in files]
    assert fingerprint(read_regdb(regdb)) == sha256(b"".join(digests)).hexdigest()[:16]


def append_byte(root: Path) -> None:
    with (root / GOOD).open("ab") as stream:
        stream.write(b"\0")


def swap_images(root: Path) -> None:
    other = root / "Visible/3/male_back_v_00001_3.bmp"
    first, second = (root / GOOD).read_bytes(), other.read_bytes()
    (root / GOOD).write_bytes(second)
    other.write_bytes(first)


def swap_lines(root: Path) -> None:
    path = root / "idx/test_thermal_1.txt"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))


@pytest.mark.parametrize("change", [append_byte, swap_images, swap_lines])
def test_fingerprint_changes_with_any_content(regdb: Path, change: Callable[[Path], None]) -> None:
    before = fingerprint(read_regdb(regdb))
    change(regdb)
    assert fingerprint(read_regdb(regdb)) != before


def test_fingerprint_names_a_missing_image(regdb: Path) -> None:
    (regdb / GOOD).unlink()
    with pytest.raises(UserError, match=f"{GOOD}.*is missing"):
        fingerprint(read_regdb(regdb))


def test_fingerprint_names_an_image_that_cannot_be_read(regdb: Path) -> None:
    """The image is removed after the scan."""
    dataset = read_regdb(regdb)
    (regdb / GOOD).unlink()
    with pytest.raises(UserError, match=f"/{GOOD}: cannot be read .No such file"):
        fingerprint(dataset)


def test_an_image_with_an_orientation_is_turned_upright(tmp_path: Path):
    lying = Image.new("RGB", (8, 4))
    lying.putpixel((0, 3), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by a quarter, clockwise
    lying.save(tmp_path / "held.png", exif=exif)
    image = open_image(tmp_path / "held.png")
    assert image.size == (4, 8) and image.getpixel((0, 0)) == (255, 0, 0)


def test_files_are_decoded_only_a_chunk_ahead(monkeypatch):
    opened: list[Path] = []
    monkeypatch.setattr(images, "READ_AHEAD", 3)
    monkeypatch.setattr(
        images, "open_image", lambda path: opened.append(path) or Image.new("RGB", (4, 4))
    )
    decoded = decode([Path(str(n)) for n in range(8)], 4, 4)
    for taken in range(1, 9):
        next(decoded)
        assert taken <= len(opened) <= 3 * -(-taken // 3)
    assert sorted(opened) == [Path(str(n)) for n in range(8)]
