"""`python -m tsme.training.pretrained [FOLDER]` trains the shipped weights again.

They go to FOLDER, or into the package. It takes two minutes on two cores. Other processors round
differently: the bytes differ, the accuracy does not.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tsme.presets import demo
from tsme.synthetic.generate import generate
from tsme.training.distributed import Worker
from tsme.training.pretrain import SEED, SyntheticWeights, pretrain, read_all_images
from tsme.training.pretrained import FOLDER


def train_shipped(folder: Path) -> Path:
    """Pretrain the backbone of the preset `demo`; returns the file, in `folder`."""
    config = demo()
    weights = SyntheticWeights.of(config.reid.backbone, config.image)
    assert weights is not None, "the demo starts from synthetic weights"
    recipe, file = weights.recipe, folder / weights.name
    with tempfile.TemporaryDirectory() as data:
        path = Path(data) / "identities"
        identities, images = recipe.identities, recipe.images
        generate(path, layout="regdb", identities=identities, images=images, seed=SEED)
        pixels, labels = read_all_images(path, weights.image, recipe.modalities)
    for result in pretrain(weights, pixels, labels, file, Worker()):
        print(f"epoch {result.epoch}/{result.epochs}: loss {result.losses['total']:.3f}", flush=True)
    return file


if __name__ == "__main__":
    print(train_shipped(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
