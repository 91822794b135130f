"""Decoded images kept on disk: the same pixels, read once, and nothing half-written."""

from __future__ import annotations

import os
import pickle
import shutil
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from tsme.data import image_cache as store_module
from tsme.data.datasets.regdb import read_regdb
from tsme.data.image_cache import ImageCache
from tsme.data.images import decode
from tsme.data.types import MODALITIES, ImageList
from tsme.errors import UserError
from tsme.storage.local_copy import cache_folder

GOOD = "Visible/285/male_back_v_00001_285.bmp"


@pytest.fixture
def pixels(regdb: Path) -> ImageCache:
    return ImageCache(read_regdb(regdb), "f00d", 8, 4)


def decoded(root: Path, images: ImageList) -> np.ndarray:
    return np.stack(list(decode([root / path for path in images.paths], 8, 4)))


def test_every_split_of_every_trial_has_the_pixels_of_its_files(pixels: ImageCache, regdb: Path) -> None:
    for number in (1, 2):
        trial = pixels.dataset.trial(number)
        for split in (trial.train, trial.test):
            images = pixels.split(split)
            for modality in MODALITIES:
                assert images[modality].dtype == torch.uint8
                assert np.array_equal(images[modality].numpy(), decoded(regdb, split[modality]))


def test_the_first_trials_lists_are_views_and_others_copies(pixels: ImageCache) -> None:
    mapped, _ = pixels._arrays["visible"]
    start = mapped.ctypes.data

    def inside(images: ImageList) -> bool:
        return start <= pixels.load(images).data_ptr() < start + mapped.nbytes

    assert inside(pixels.dataset.trial(1).train.visible)
    assert not inside(pixels.dataset.trial(2).train.visible)


def test_rows_follow_the_list_not_the_file(pixels: ImageCache) -> None:
    images = pixels.dataset.trial(1).train.visible.keep([3, 285])
    backwards = images.take(np.arange(len(images))[::-1])
    assert torch.equal(pixels.load(backwards), pixels.load(images).flip(0))


def test_images_are_decoded_once(pixels: ImageCache, regdb: Path) -> None:
    calls: list[tuple[int, int]] = []
    pixels.prepare(lambda done, total: calls.append((done, total)))
    assert calls == [(done, 20) for done in range(1, 21)]
    before = pixels.split(pixels.dataset.trial(1).test)
    (regdb / GOOD).write_bytes(b"no image any more")
    again = ImageCache(read_regdb(regdb), "f00d", 8, 4)
    again.prepare(lambda done, total: pytest.fail("decoded again"))
    for modality, images in again.split(pixels.dataset.trial(1).test).items():
        assert torch.equal(images, before[modality])


def test_writing_to_images_leaves_the_file_alone(pixels: ImageCache) -> None:
    images = pixels.dataset.trial(1).train.visible
    first = pixels.load(images)
    before = first.clone()
    first.zero_()
    assert torch.equal(ImageCache(pixels.dataset, "f00d", 8, 4).load(images), before)


def test_another_size_or_other_data_are_other_arrays(pixels: ImageCache) -> None:
    others = [ImageCache(pixels.dataset, "f00d", 12, 4), ImageCache(pixels.dataset, "beef", 8, 4)]
    assert len({one.folder for one in (pixels, *others)}) == 3
    images = pixels.dataset.trial(1).train.visible
    assert others[0].load(images).shape == (6, 3, 12, 4)


def test_a_damaged_image_is_named_and_nothing_half_written_stays(pixels: ImageCache, regdb: Path) -> None:
    (regdb / "Thermal/3/male_back_t_00001_3.bmp").write_bytes(b"BM")
    with pytest.raises(UserError, match=r"male_back_t_00001_3\.bmp: cannot be read as an image"):
        pixels.prepare()
    assert [path.name for path in cache_folder().iterdir()] == [pixels.folder.with_suffix(".lock").name]


def test_a_full_disk_is_an_error_that_names_the_folder(
    pixels: ImageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module.np.lib.format, "write_array_header_2_0", full)
    with pytest.raises(UserError, match=r"cache: .*No space left on device.*TSME_CACHE"):
        pixels.prepare()
    assert not pixels.folder.exists()


def test_an_interrupted_first_use_is_made_good_by_the_next(pixels: ImageCache) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pixels.prepare(interrupt)
    assert not pixels.folder.exists()
    assert len(pixels.load(pixels.dataset.trial(1).train.visible)) == 6


def test_where_arrays_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TSME_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "tsme"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "tsme"


def test_data_can_go_once_they_are_read(pixels: ImageCache, regdb: Path) -> None:
    images = pixels.dataset.trial(1).train.visible
    expected = pixels.load(images).clone()
    shutil.rmtree(regdb)
    assert torch.equal(ImageCache(pixels.dataset, "f00d", 8, 4).load(images), expected)


def test_a_used_store_is_as_small_to_send_as_a_new_one(pixels: ImageCache) -> None:
    new = len(pickle.dumps(pixels))
    images = pixels.dataset.trial(1).train.visible
    expected = pixels.load(images)
    assert len(pickle.dumps(pixels)) == new < 10_000
    assert torch.equal(pickle.loads(pickle.dumps(pixels)).load(images), expected)


def test_what_a_killed_process_left_is_swept_away(pixels: ImageCache) -> None:
    cache_folder().mkdir()
    left = cache_folder() / f".{pixels.folder.name}.0123.partial"
    left.mkdir()
    (left / "visible.npy").write_bytes(b"half")
    long_ago = time.time() - 2 * store_module.STALE_SECONDS
    os.utime(left, (long_ago, long_ago))
    young = left.with_name(left.name.replace("0123", "4567"))
    young.mkdir()
    pixels.prepare()
    assert not left.exists() and young.exists() and pixels.folder.is_dir()


def test_damaged_arrays_are_named(pixels: ImageCache) -> None:
    pixels.prepare()
    (pixels.folder / "infrared.npy").write_bytes((pixels.folder / "infrared.npy").read_bytes()[:-5])
    with pytest.raises(UserError, match=f"{pixels.folder.name}: .*damaged.*delete the folder"):
        pixels.load(pixels.dataset.trial(1).train.visible)


def test_processes_that_start_together_decode_once(pixels: ImageCache) -> None:
    """The second waits for the first and finds all done."""
    counts: list[int] = []
    entered = threading.Event()

    def slow(done: int, total: int) -> None:
        counts.append(done)
        entered.set()
        time.sleep(0.01)

    second = ImageCache(pixels.dataset, pixels.fingerprint, 8, 4)
    first = threading.Thread(target=pixels.prepare, args=(slow,))
    first.start()
    assert entered.wait(30)
    second.prepare(lambda done, total: pytest.fail("decoded twice"))
    first.join()
    assert counts == list(range(1, 21))


def test_an_array_that_another_process_put_there_first_is_taken(
    pixels: ImageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a lock does not hold between machines."""

    def quicker(done: int, total: int) -> None:
        if done == total:
            monkeypatch.setattr(store_module, "FileLock", lambda _: nullcontext())
            ImageCache(pixels.dataset, pixels.fingerprint, 8, 4).prepare()

    pixels.prepare(quicker)
    assert len(pixels.load(pixels.dataset.trial(1).train.visible)) == 6
    assert not list(cache_folder().glob(".*.partial"))
