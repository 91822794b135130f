"""Complete configurations by name. Each is a plain function, so that they can be read and compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tsme.config import (
    BackboneConfig,
    Config,
    DsganConfig,
    DsganOptimizerConfig,
    ImageConfig,
    ReidConfig,
    ReidLossConfig,
    ReidOptimizerConfig,
    SweepConfig,
    ValidationConfig,
)
from tsme.errors import UserError
from tsme.settings import override


def regdb() -> Config:
    """The paper's recipe for RegDB: ResNet-50 streams, 288x144, 4 x 6 x 2 images a batch, 60 epochs.

    Liu et al., IEEE TCSVT 32(10), 2022. Stage 1 has CycleGAN's settings, which its authors began with.
    """
    return Config()


def sysu() -> Config:
    """The paper's recipe for SYSU-MM01: the same as for RegDB, on its 395 training identities."""
    return Config(dataset="sysu")


def llcm() -> Config:
    """The paper's recipe on LLCM, a data set that came after it."""
    return Config(dataset="llcm")


def csv() -> Config:
    """The paper's recipe on people of your own, listed in a CSV or Parquet file."""
    return Config(dataset="csv")


def _two_core_network(weights: str) -> Config:
    """The paper's recipe at a size for two CPU cores: a small network on small images, few epochs.

    There are no ImageNet weights for this network, so its backbones are pretrained on synthetic
    identities. They know much less than ImageNet's: a batch has more identities with fewer images each,
    all weights learn at one rate, and the hetero-centre loss has a small weight (a larger one pulls all
    embeddings together before the classifiers have spread them).
    """
    backbone = BackboneConfig(architecture="resnet10", width=16, weights=weights)
    return Config(
        image=ImageConfig(height=96, width=48, padding=4),
        dsgan=DsganConfig(
            backbone=backbone,
            discriminator_width=16,
            epochs=6,
            optimizer=DsganOptimizerConfig(lr=1e-3),
        ),
        reid=ReidConfig(
            backbone=backbone,
            embedding=128,
            epochs=12,
            identities=12,
            images=4,
            loss=ReidLossConfig(hetero_centre=0.05),
            optimizer=ReidOptimizerConfig(lr=0.03, backbone_factor=1.0, milestones=(8, 11)),
        ),
        validation=ValidationConfig(fraction=0.3),
        # One sample at a time: which samples stop early then does not depend on their speed.
        sweep=SweepConfig(concurrent=1, grace_epochs=3, reduction=3),
    )


def demo() -> Config:
    """Every stage at a size for two CPU cores, by the stronger recipe, in as few epochs as serve.

    The backbones come with the package; they were pretrained on other synthetic identities in both
    modalities. Random erasing needs more epochs than these, and re-ranking more time.
    """
    return override(
        strong(_two_core_network("synthetic")),
        {
            "dsgan.epochs": 1,
            "dsgan.batch": 16,
            "reid.epochs": 6,
            "reid.erasing": 0.0,
            "reid.optimizer.milestones": (5,),
            "reid.optimizer.warmup": 0,
            "sweep.grace_epochs": 2,
            "sweep.reduction": 2,
            "evaluation.flip": False,
            "evaluation.rerank": False,
        },
    )


def strong(config: Config) -> Config:
    """A configuration with what later work and our measurements found to help, each an option of its own.

    Streams that share all convolutions (AGW shares all but the stem; Ye et al., TPAMI 2021), generators
    that add to their input, channel augmentation (Ye et al., ICCV 2021), random erasing (Zhong et al.,
    AAAI 2020), GeM pooling (Radenovic et al., TPAMI 2019), hetero-centre triplets (Liu et al., TMM 2021),
    label smoothing (Szegedy et al., CVPR 2016), ten times the paper's learning rate and a linear warm-up
    over a sixth of the epochs. Figures of mirror-averaged features and re-ranked lists stand beside the
    plain ones.
    """
    return override(
        config,
        {
            "dsgan.residual": True,
            "reid.share": "stem",
            "reid.channel_exchange": 0.5,
            "reid.erasing": 0.5,
            "reid.pooling_power": 3.0,
            "reid.loss.centre_triplet": 1.0,
            "reid.loss.label_smoothing": 0.1,
            "reid.optimizer.lr": 0.1,
            "reid.optimizer.warmup": config.reid.epochs // 6,
            "evaluation.flip": True,
            "evaluation.rerank": True,
        },
    )


def agw(config: Config) -> Config:
    """A configuration of one network for both modalities: AGW (TPAMI 2021) with CAJ (ICCV 2021).

    All convolutions and batch norms but the stem's are shared. Every visible image is in the batch with a
    copy of exchanged channels; the loss is identity and weighted regularised triplet, the pooling GeM.
    Unlike the published network it has no non-local blocks, and its embedding is that of our heads.
    """
    return override(
        config,
        {
            "reid.translation": "none",
            "reid.iai": False,
            "reid.share": "layer1",
            "reid.shared_norms": True,
            "reid.gates": False,
            "reid.stripes": 1,
            "reid.exchanged_copies": True,
            "reid.erasing": 0.5,
            "reid.pooling_power": 3.0,
            "reid.loss.hetero_centre": 0.0,
            "reid.loss.weighted_triplet": 1.0,
            "reid.optimizer.lr": 0.1,
            "reid.optimizer.warmup": config.reid.epochs // 6,
        },
    )


def grayscale_stream(config: Config) -> Config:
    """A configuration of one stream a modality, in which visible images are grayscale, also in tests.

    The control that tells what translations add to the loss of colour.
    """
    return override(
        config, {"reid.translation": "none", "reid.iai": False, "reid.grayscale_visible": True}
    )


def published_schedule(config: Config) -> Config:
    """Rates, batch and epochs as published for ImageNet weights, in bfloat16.

    8 identities x 4 images, 80 epochs with steps at 20 and 50, a warm-up of ten (Ye et al., TPAMI 2021).
    """
    return override(
        config,
        {
            "dsgan.precision": "bfloat16",
            "reid.precision": "bfloat16",
            "reid.identities": 8,
            "reid.images": 4,
            "reid.epochs": 80,
            "reid.optimizer.lr": 0.1,
            "reid.optimizer.backbone_factor": 0.1,
            "reid.optimizer.milestones": (20, 50),
            "reid.optimizer.warmup": 10,
        },
    )


def published_strong(config: Config, power: float) -> Config:
    """`strong` at the published size: GeM with p = `power`, triplets as published, one set of generators.

    Hetero-centre triplets of embeddings as they are, for each stripe and once for all (Liu, Tan, Zhou,
    TMM 2021), take the place of the hetero-centre loss. Both generators share convolutions, so that a
    trial's file has 300 MB.
    """
    return override(
        strong(published_schedule(config)),
        {
            "dsgan.share": True,
            "reid.pooling_power": power,
            "reid.loss.hetero_centre": 0.0,
            "reid.loss.joined_triplet": 1.0,
            "reid.loss.triplet_normalize": False,
            "reid.optimizer.warmup": 10,
        },
    )


def baseline() -> Config:
    """AGW with channel augmentation on RegDB, with published rates: what TSME is to be compared with."""
    return override(agw(published_schedule(regdb())), {"reid.optimizer.warmup": 10})


def small() -> Config:
    """The paper's recipe with the network of `demo`, to compare its parts on two CPU cores.

    Made for as many identities as RegDB has. As in the paper, the initial weights know visible images
    alone: the backbones of `demo` have learnt from infrared images too, which is what translations are
    for.
    """
    return _two_core_network("synthetic-visible")


class Variant(NamedTuple):
    """A configuration of an ablation, and the name of the one it is compared with."""

    name: str
    config: Config
    over: str | None


def ablation(config: Config) -> list[Variant]:
    """What the method's parts add, one after the other: the same data, seed and recipe otherwise.

    The baseline is one stream a modality with grayscale visible images; grayscale copies in the place of
    translations come before DSGAN's, so that what stage 1 adds is seen apart. The last variant takes IAI
    away again from the stronger recipe. Of a configuration that is the stronger recipe already, the parts
    alone.
    """
    dsgan = {"reid.translation": "dsgan", "reid.grayscale_visible": False}
    copies = dsgan | {"reid.translation": "grayscale", "reid.iai": False}
    variants = [
        Variant("baseline", grayscale_stream(config), None),
        Variant("grayscale copies", override(config, copies), "baseline"),
        Variant("PwIF", override(config, dsgan | {"reid.iai": False}), "grayscale copies"),
        Variant("PwIF and IAI", override(config, dsgan | {"reid.iai": True}), "PwIF"),
    ]
    full = variants[-1].config
    if full.reid.share != "none":  # the stronger recipe, whatever its rates
        return variants
    return [
        *variants,
        Variant("strong", strong(full), "PwIF and IAI"),
        Variant("strong without IAI", override(strong(full), {"reid.iai": False}), "strong"),
    ]


def regdb_strong() -> Config:
    """`regdb` with the stronger recipe; GeM with p = 10 as published for RegDB."""
    return published_strong(regdb(), 10.0)


def sysu_strong() -> Config:
    """`sysu` with the stronger recipe."""
    return published_strong(sysu(), 3.0)


def llcm_strong() -> Config:
    """`llcm` with the stronger recipe."""
    return published_strong(llcm(), 3.0)


PRESETS: dict[str, Callable[[], Config]] = {
    "demo": demo,
    "small": small,
    "regdb": regdb,
    "sysu": sysu,
    "llcm": llcm,
    "csv": csv,
    "baseline": baseline,
    "regdb_strong": regdb_strong,
    "sysu_strong": sysu_strong,
    "llcm_strong": llcm_strong,
}


def preset(name: str) -> Config:
    """The preset of this name; UserError lists the known ones."""
    if name not in PRESETS:
        raise UserError(f"preset {name}: unknown; there are: {', '.join(PRESETS)}")
    return PRESETS[name]()
