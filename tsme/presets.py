"""Complete configurations by name. Each is a plain function, so that they can be read and compared."""

from __future__ import annotations

from collections.abc import Callable

from tsme.config import (
    Backbone,
    Config,
    Dsgan,
    DsganOptimizer,
    Image,
    Reid,
    ReidOptimizer,
    Sweep,
    Validation,
)
from tsme.errors import UserError


def regdb() -> Config:
    """The paper's recipe for RegDB: ResNet-50 streams, 288x144, 4 x 6 x 2 images a batch, 60 epochs.

    Liu et al., IEEE TCSVT 32(10), 2022. Stage 1 has CycleGAN's settings, which its authors began with.
    """
    return Config()


def demo() -> Config:
    """Every stage of `regdb` with a small network, small images and few epochs, for two CPU cores."""
    small = Backbone(architecture="resnet10", width=16, weights="none")
    return Config(
        image=Image(height=64, width=32, padding=4),
        dsgan=Dsgan(
            backbone=small,
            discriminator_width=16,
            epochs=4,
            batch=8,
            optimizer=DsganOptimizer(lr=1e-3),
        ),
        reid=Reid(
            backbone=small,
            embedding=128,
            epochs=8,
            optimizer=ReidOptimizer(lr=0.1, backbone_factor=1.0, milestones=(6,)),
        ),
        validation=Validation(fraction=0.3),
        sweep=Sweep(concurrent=1, grace_epochs=3, reduction=2),
    )


PRESETS: dict[str, Callable[[], Config]] = {"demo": demo, "regdb": regdb}


def preset(name: str) -> Config:
    """The preset of this name; UserError lists the known ones."""
    if name not in PRESETS:
        raise UserError(f"preset {name}: unknown; there are: {', '.join(PRESETS)}")
    return PRESETS[name]()
