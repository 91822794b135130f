"""What counts as an image of a gallery, and its label."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tsme.errors import UserError
from tsme.search.gallery import GalleryImage, read_gallery


def test_a_folder_gives_its_images_in_order_with_subfolders_as_labels(tmp_path: Path):
    for name in ("2.png", "1.JPG", "notes.txt", ".hidden.png", "b/c/3.bmp", "b/4.webp", ".git/5.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    gallery = read_gallery(str(tmp_path))
    assert gallery.root == tmp_path
    assert gallery.images == [
        GalleryImage("1.JPG", "", None),
        GalleryImage("2.png", "", None),
        GalleryImage("b/4.webp", "b", None),
        GalleryImage("b/c/3.bmp", "b/c", None),
    ]


def test_a_pattern_gives_the_matching_images(tmp_path: Path):
    for name in ("cam1/a.png", "cam1/b.png", "cam2/a.png", "other/a.png", "cam1/a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    gallery = read_gallery(f"{tmp_path}/cam*/*")
    assert gallery.root == tmp_path
    assert [(image.path, image.label) for image in gallery.images] == [
        ("cam1/a.png", "cam1"),
        ("cam1/b.png", "cam1"),
        ("cam2/a.png", "cam2"),
    ]
    assert read_gallery(f"{tmp_path}/cam2/*").images == [GalleryImage("a.png", "", None)]


def test_a_table_gives_labels_and_modalities(tmp_path: Path):
    file = tmp_path / "people.csv"
    file.write_text("Path,identity,modality,camera\nx/1.png,ann,Infrared,3\n2.png,bob,,1\n")
    assert read_gallery(str(file)).images == [
        GalleryImage("x/1.png", "ann", "infrared"),
        GalleryImage("2.png", "bob", None),
    ]
    assert {image.modality for image in read_gallery(str(file), "visible").images} == {"visible"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,identity\na.png,1\n", "no column named path"),
        ("path,modality\na.png,thermal\n", r"line 2: modality 'thermal' is unknown; write visible or"),
        ("path,identity\n,1\n", "line 2: path is empty"),
        ("path,identity\na.png\n", "line 2: has 1 cells"),
    ],
)
def test_a_bad_table_is_a_user_error(tmp_path: Path, content: str, message: str):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        read_gallery(str(tmp_path / "t.csv"))


@pytest.mark.parametrize("source", ["nowhere", "none*.png", "."])
def test_no_images_is_a_user_error(tmp_path: Path, monkeypatch, source: str):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"^{source.replace('*', '.')}:|holds no images"):
        read_gallery(source)


def test_the_fingerprint_follows_names_and_files(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"1")
    first = read_gallery(str(tmp_path)).fingerprint()
    assert read_gallery(str(tmp_path)).fingerprint() == first
    os.utime(tmp_path / "a.png", ns=(1, 1))
    second = read_gallery(str(tmp_path)).fingerprint()
    (tmp_path / "b.png").touch()
    third = read_gallery(str(tmp_path)).fingerprint()
    visible = read_gallery(str(tmp_path), "visible").fingerprint()
    assert len({first, second, third, visible}) == 4
