"""The image cache: the same pixels, decoded once, and nothing half-written."""

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

from tsme.data import image_cache
from tsme.data.datasets.regdb import read_regdb
from tsme.data.image_cache import ImageCache
from tsme.data.images import decode
from tsme.data.types import MODALITIES, ImageList
from tsme.errors import UserError
from tsme.storage.local_copy import cache_folder

GOOD = "Visible/285/male_back_v_00001_285.bmp"


@pytest.fixture
def cache(regdb: Path) -> ImageCache:
    return ImageCache(read_regdb(regdb), "f00d", 8, 4)


def decoded(root: Path, images: ImageList) -> np.ndarray:
    return np.stack(list(decode([root / path for path in images.paths], 8, 4)))


def test_splits_have_the_pixels_of_their_files(cache: ImageCache, regdb: Path) -> None:
    for number in (1, 2):
        trial = cache.dataset.trial(number)
        for split in (trial.train, trial.test):
            images = cache.split(split)
            for modality in MODALITIES:
                assert images[modality].dtype == torch.uint8
                assert np.array_equal(images[modality].numpy(), decoded(regdb, split[modality]))


def test_lists_of_the_first_trial_are_views_and_others_copies(cache: ImageCache) -> None:
    mapped, _ = cache._arrays["visible"]
    start = mapped.ctypes.data

    def inside(images: ImageList) -> bool:
        return start <= cache.load(images).data_ptr() < start + mapped.nbytes

    assert inside(cache.dataset.trial(1).train.visible)
    assert not inside(cache.dataset.trial(2).train.visible)


def test_rows_follow_the_list_not_the_file(cache: ImageCache) -> None:
    images = cache.dataset.trial(1).train.visible.keep([3, 285])
    backwards = images.take(np.arange(len(images))[::-1])
    assert torch.equal(cache.load(backwards), cache.load(images).flip(0))


def test_images_are_decoded_once(cache: ImageCache, regdb: Path) -> None:
    calls: list[tuple[int, int]] = []
    cache.prepare(lambda done, total: calls.append((done, total)))
    assert calls == [(done, 20) for done in range(1, 21)]
    before = cache.split(cache.dataset.trial(1).test)
    (regdb / GOOD).write_bytes(b"no image any more")
    again = ImageCache(read_regdb(regdb), "f00d", 8, 4)
    again.prepare(lambda done, total: pytest.fail("decoded again"))
    for modality, images in again.split(cache.dataset.trial(1).test).items():
        assert torch.equal(images, before[modality])


def test_writing_to_images_leaves_the_file_alone(cache: ImageCache) -> None:
    images = cache.dataset.trial(1).train.visible
    first = cache.load(images)
    before = first.clone()
    first.zero_()
    assert torch.equal(ImageCache(cache.dataset, "f00d", 8, 4).load(images), before)


def test_another_size_or_other_data_have_their_own_arrays(cache: ImageCache) -> None:
    others = [ImageCache(cache.dataset, "f00d", 12, 4), ImageCache(cache.dataset, "beef", 8, 4)]
    assert len({one.folder for one in (cache, *others)}) == 3
    images = cache.dataset.trial(1).train.visible
    assert others[0].load(images).shape == (6, 3, 12, 4)


def test_a_damaged_image_is_named_and_leaves_nothing_half_written(cache: ImageCache, regdb: Path) -> None:
    (regdb / "Thermal/3/male_back_t_00001_3.bmp").write_bytes(b"BM")
    with pytest.raises(UserError, match=r"male_back_t_00001_3\.bmp: cannot be read as an image"):
        cache.prepare()
    assert [path.name for path in cache_folder().iterdir()] == [cache.folder.with_suffix(".lock").name]


def test_a_full_disk_is_an_error_that_names_the_folder(
    cache: ImageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_cache.np.lib.format, "write_array_header_2_0", full)
    with pytest.raises(UserError, match=r"cache: .*No space left on device.*TSME_CACHE"):
        cache.prepare()
    assert not cache.folder.exists()


def test_the_next_use_completes_an_interrupted_first_use(cache: ImageCache) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.prepare(interrupt)
    assert not cache.folder.exists()
    assert len(cache.load(cache.dataset.trial(1).train.visible)) == 6


def test_cache_folder_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TSME_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "tsme"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "tsme"


def test_data_can_be_deleted_after_decoding(cache: ImageCache, regdb: Path) -> None:
    images = cache.dataset.trial(1).train.visible
    expected = cache.load(images).clone()
    shutil.rmtree(regdb)
    assert torch.equal(ImageCache(cache.dataset, "f00d", 8, 4).load(images), expected)


def test_a_used_cache_is_sent_without_its_arrays(cache: ImageCache) -> None:
    new = len(pickle.dumps(cache))
    images = cache.dataset.trial(1).train.visible
    expected = cache.load(images)
    assert len(pickle.dumps(cache)) == new < 10_000
    assert torch.equal(pickle.loads(pickle.dumps(cache)).load(images), expected)


def test_old_files_of_a_killed_process_are_deleted(cache: ImageCache) -> None:
    cache_folder().mkdir()
    left = cache_folder() / f".{cache.folder.name}.0123.partial"
    left.mkdir()
    (left / "visible.npy").write_bytes(b"half")
    long_ago = time.time() - 2 * image_cache.STALE_SECONDS
    os.utime(left, (long_ago, long_ago))
    young = left.with_name(left.name.replace("0123", "4567"))
    young.mkdir()
    cache.prepare()
    assert not left.exists() and young.exists() and cache.folder.is_dir()


def test_damaged_arrays_are_named(cache: ImageCache) -> None:
    cache.prepare()
    (cache.folder / "infrared.npy").write_bytes((cache.folder / "infrared.npy").read_bytes()[:-5])
    with pytest.raises(UserError, match=f"{cache.folder.name}: .*damaged.*delete the folder"):
        cache.load(cache.dataset.trial(1).train.visible)


def test_processes_that_start_together_decode_once(cache: ImageCache) -> None:
    """The second process waits for the first and decodes nothing."""
    counts: list[int] = []
    entered = threading.Event()

    def slow(done: int, total: int) -> None:
        counts.append(done)
        entered.set()
        time.sleep(0.01)

    second = ImageCache(cache.dataset, cache.fingerprint, 8, 4)
    first = threading.Thread(target=cache.prepare, args=(slow,))
    first.start()
    assert entered.wait(30)
    second.prepare(lambda done, total: pytest.fail("decoded twice"))
    first.join()
    assert counts == list(range(1, 21))


def test_arrays_that_another_process_finished_first_are_used(
    cache: ImageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system that does not share locks between machines."""

    def finish_first(done: int, total: int) -> None:
        if done == total:
            monkeypatch.setattr(image_cache, "FileLock", lambda _: nullcontext())
            ImageCache(cache.dataset, cache.fingerprint, 8, 4).prepare()

    cache.prepare(finish_first)
    assert len(cache.load(cache.dataset.trial(1).train.visible)) == 6
    assert not list(cache_folder().glob(".*.partial"))
