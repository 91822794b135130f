"""The keys and files of a trial's training."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tsme.config import Config
from tsme.models import backbone
from tsme.models.backbone import build_backbone
from tsme.settings import override
from tsme.training.distributed import Worker
from tsme.training.stages import run_stages
from tsme.training.trial import TrialTraining


@pytest.fixture
def training(tiny: Config, make_split, make_pixels, tmp_path: Path) -> TrialTraining:
    config = override(tiny, {"dsgan.epochs": 1, "reid.epochs": 1})
    return TrialTraining(config, 1, make_split(range(0, 5)), None, make_pixels(), tmp_path / "stages")


@pytest.mark.parametrize(
    ("key", "value", "stage1", "stage2"),
    [
        ("reid.optimizer.lr", 0.5, False, True),
        ("reid.loss.hetero_centre", 0.1, False, True),
        ("reid.backbone.width", 16, False, True),
        ("reid.epochs", 9, False, True),
        ("dsgan.loss.cycle", 1.0, True, True),
        ("dsgan.epochs", 9, True, True),
        ("dsgan.image_pool", 9, True, True),
        ("image.padding", 3, True, True),
        ("image.height", 48, True, True),
        ("seed", 99, True, True),
        ("resources.workers", 2, True, True),
        ("resources.gpus", 1, False, False),
        ("resources.cpus", 2, False, False),
        ("sweep.grace_epochs", 2, False, False),
        ("sweep.concurrent", 2, False, False),
        ("validation.fraction", 0.4, False, False),
    ],
)
def test_keys_depend_on_settings(training, key, value, stage1, stage2):
    other = replace(training, config=override(training.config, {key: value}))
    assert (other.generators_key != training.generators_key) == stage1
    assert (other.model_key != training.model_key) == stage2


def test_keys_depend_on_trial_data_and_identities(training, make_split, make_pixels):
    others = [
        replace(training, trial=2),
        replace(training, images=make_pixels("data2")),
        replace(training, train=make_split(range(0, 6))),
        replace(training, train=make_split(range(1, 6))),
    ]
    assert len({c.generators_key for c in (training, *others)}) == 5
    assert len({c.model_key for c in (training, *others)}) == 5
    held_out = [replace(training, validation=make_split(range(6, last))) for last in (8, 9)]
    assert {c.generators_key for c in held_out} == {training.generators_key}
    assert len({training.model_key, *(c.model_key for c in held_out)}) == 3


def test_keys_do_not_depend_on_the_folder_or_on_the_last_stage(training, tmp_path):
    for same in (
        replace(training, folder=tmp_path / "elsewhere"),
        replace(training, only_generators=True),
    ):
        assert (same.generators_key, same.model_key) == (training.generators_key, training.model_key)


@pytest.fixture
def hashed(monkeypatch) -> list[str]:
    """The names of files hashed so far."""
    names: list[str] = []

    def digest(file, algorithm):
        names.append(Path(file.name).name)
        return file_digest(file, algorithm)

    file_digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", digest)
    backbone._file_digest.cache_clear()
    return names


@pytest.fixture
def with_files(training: TrialTraining, tmp_path: Path) -> TrialTraining:
    """Training of both stages from weights files."""
    settings = {}
    for seed, stage in enumerate(("dsgan", "reid")):
        torch.manual_seed(seed)
        file = tmp_path / f"{stage}.safetensors"
        save_file(build_backbone(training.config.reid.backbone).state_dict(), file)
        settings[f"{stage}.backbone.weights"] = str(file)
    return replace(training, config=override(training.config, settings))


def test_weights_files_are_hashed_once(hashed, with_files):
    """Neither the keys nor an epoch nor another process that gets the object reads them again."""
    copies = [replace(with_files), replace(with_files, trial=2), pickle.loads(pickle.dumps(with_files))]
    list(run_stages(with_files, Worker()))
    for training in (with_files, *copies):
        assert training.generators_file.name and training.model_file.name and training.result_file.name
        training.is_done()
    assert sorted(hashed) == ["dsgan.safetensors", "reid.safetensors"]


def test_a_changed_weights_file_is_hashed_again(hashed, with_files):
    torch.manual_seed(9)
    changed = build_backbone(with_files.config.reid.backbone.model_copy(update={"weights": "none"}))
    save_file(changed.state_dict(), with_files.config.reid.backbone.weights)
    again = replace(with_files)
    assert again.model_key != with_files.model_key
    assert again.generators_key == with_files.generators_key
