"""Tiny configurations, images and models shared by the unit tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from torch import Tensor, nn

from tsme.config import (
    BackboneConfig,
    Config,
    DsganConfig,
    DsganOptimizerConfig,
    ImageConfig,
    ReidConfig,
    ReidOptimizerConfig,
    ValidationConfig,
)
from tsme.data.image_cache import ImageCache
from tsme.data.types import MODALITIES, Dataset, ImageList, Modality, Split, Trial
from tsme.models.checkpoint import Provenance, TrialModel
from tsme.models.dsgan import Generators
from tsme.models.reid import TsmeNet

HEIGHT, WIDTH = 32, 16


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny() -> Config:
    """A tiny configuration with every random option on, for tests of repeated runs."""
    small = BackboneConfig(architecture="resnet10", width=8, weights="none")
    return Config(
        seed=3,
        image=ImageConfig(height=HEIGHT, width=WIDTH, padding=2),
        dsgan=DsganConfig(
            backbone=small,
            discriminator_width=4,
            epochs=3,
            batch=4,
            image_pool=5,
            optimizer=DsganOptimizerConfig(lr=1e-3),
        ),
        reid=ReidConfig(
            backbone=small,
            embedding=8,
            dropout=0.3,
            epochs=3,
            identities=2,
            images=2,
            channel_exchange=0.5,
            optimizer=ReidOptimizerConfig(lr=0.02, milestones=(2,)),
        ),
        validation=ValidationConfig(fraction=0.3),
    )


def _split(identities: range, images: int) -> Split:
    def listed(modality: Modality) -> ImageList:
        paths = tuple(f"{modality}/{i}_{k}.png" for i in identities for k in range(images))
        repeated = np.repeat(np.array(identities, dtype=np.int64), images)
        return ImageList(modality, paths, repeated, np.ones_like(repeated))

    return Split(listed("visible"), listed("infrared"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TSME_CACHE", str(tmp_path / "cache"))


def _all_images(root: Path) -> Dataset:
    """A data set whose only trial trains and tests on every image in a folder."""

    def listed(modality: Modality) -> ImageList:
        paths = tuple(sorted(f"{modality}/{path.name}" for path in (root / modality).iterdir()))
        identities = np.array([int(Path(path).stem.split("_")[0]) for path in paths])
        return ImageList(modality, paths, identities, np.ones_like(identities))

    split = Split(listed("visible"), listed("infrared"))
    return Dataset("regdb", root, {1: Trial(1, split, split)})


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that make_split writes to."""
    return tmp_path_factory.mktemp("images")


@pytest.fixture
def make_pixels(image_folder: Path) -> Callable[..., ImageCache]:
    """make_pixels(fingerprint, height, width): a cache of all images that make_split has written."""

    def make(fingerprint: str = "data1", height: int = HEIGHT, width: int = WIDTH) -> ImageCache:
        return ImageCache(_all_images(image_folder), fingerprint, height, width)

    return make


@pytest.fixture(scope="session")
def make_split(image_folder: Path) -> Callable[..., Split]:
    """make_split(identities, images): a split whose images are files of noise."""
    root = image_folder

    def make(identities: range, images: int = 2) -> Split:
        split = _split(identities, images)
        for modality in MODALITIES:
            (root / modality).mkdir(exist_ok=True)
            for path, identity in zip(split[modality].paths, split[modality].identities, strict=True):
                seed = [int(identity), len(modality), int(Path(path).stem.split("_")[1])]
                noise = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
                PillowImage.fromarray(noise).save(root / path)
        return split

    return make


@pytest.fixture(scope="session")
def noise() -> Callable[..., Tensor]:
    """noise(count, seed): uint8 images (count, 3, 32, 16)."""

    def make(count: int, seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
        random = torch.Generator().manual_seed(seed)
        return torch.randint(256, (count, 3, height, width), generator=random).to(torch.uint8)

    return make


@pytest.fixture(scope="session")
def unsettle() -> Callable[[nn.Module], None]:
    """unsettle(network): random batch-norm statistics and affine parameters, as training leaves them."""

    def change(network: nn.Module) -> None:
        random = torch.Generator().manual_seed(7)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                for value in (module.running_var, module.weight.data):
                    value.copy_(torch.rand(value.shape, generator=random) + 0.5)
                for value in (module.running_mean, module.bias.data):
                    value.copy_(torch.randn(value.shape, generator=random) * 0.2)
                module.num_batches_tracked.fill_(11)

    return change


@pytest.fixture
def make_model(tiny: Config, unsettle: Callable[[nn.Module], None]) -> Callable[..., TrialModel]:
    """make_model(trial, identities): an untrained model of a trial, in evaluation mode."""

    def make(trial: int = 1, identities: tuple[int, ...] = (2, 5, 9), seed: int = 0) -> TrialModel:
        torch.manual_seed(seed)
        network, generators = TsmeNet(tiny.reid, len(identities)), Generators(tiny.dsgan)
        for module in (network, generators):
            unsettle(module)
            module.eval().requires_grad_(False)
        provenance = Provenance(
            config=tiny, trial=trial, train_identities=identities, fingerprint="f00d", key=f"key{trial}"
        )
        return TrialModel(provenance, network, generators)

    return make
