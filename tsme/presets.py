"""Complete configurations by name. Each is a plain function, so that they can be read and compared."""

from __future__ import annotations

from collections.abc import Callable

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

    Liu et al., IEEE TCSVT 32(10), 2022. Stage 1 has the settings of CycleGAN, from which its
    authors started.
    """
    return Config()


def sysu() -> Config:
    """The paper's recipe for SYSU-MM01: the same as for RegDB, on its 395 training identities."""
    return Config(dataset="sysu")


def llcm() -> Config:
    """The paper's recipe for LLCM, which was published after the paper."""
    return Config(dataset="llcm")


def csv() -> Config:
    """The paper's recipe for your own images, listed in a CSV or Parquet file."""
    return Config(dataset="csv")


def _two_core_network(weights: str) -> Config:
    """The paper's recipe at a size for two CPU cores: a small network, small images, few epochs.

    ImageNet weights do not exist for this network, so its backbones are pretrained on synthetic
    identities. These are weaker initial weights, so the recipe is adapted: a batch has more identities
    with fewer images of each, all weights have the same learning rate, and the hetero-centre loss has a
    small weight (with a larger one, all embeddings collapse before the classifiers separate them).
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
    """The stronger recipe at a size for two CPU cores, with few epochs.

    The backbones come with the package; they were pretrained on other synthetic identities in both
    modalities, so stage 2 starts with a low learning rate. Random erasing is off because it needs more
    epochs, re-ranking because it takes time. Chosen by figures on data of other seeds than the demo's.
    """
    return override(
        strong(_two_core_network("synthetic")),
        {
            "dsgan.epochs": 1,
            "dsgan.batch": 16,
            "dsgan.loss.cycle": 5.0,
            "reid.epochs": 2,
            "reid.erasing": 0.0,
            "reid.optimizer.lr": 0.01,
            "reid.optimizer.milestones": (1,),
            "reid.optimizer.warmup": 0,
            "sweep.generators": False,
            "sweep.grace_epochs": 1,
            "sweep.reduction": 2,
            "evaluation.flip": False,
            "evaluation.rerank": False,
        },
    )


def strong(config: Config) -> Config:
    """A configuration with the changes that later work or our measurements found to help.

    All streams share convolutions and batch norms (AGW shares all but the stem; Ye et al., TPAMI 2021),
    visible images are grayscale in all streams, and generators are residual: these start as the identity,
    so a third of the epochs and no identity loss do as well. Also: channel augmentation
    (Ye et al., ICCV 2021), random erasing (Zhong et al., AAAI 2020), GeM pooling (Radenovic et al., TPAMI
    2019), hetero-centre triplets (Liu et al., TMM 2021), label smoothing (Szegedy et al., CVPR 2016) and
    a linear warm-up over a sixth of the epochs. Figures of mirror-averaged embeddings and re-ranked lists
    are added to the plain ones. The learning rate stays as it is.
    """
    return override(
        config,
        {
            "dsgan.residual": True,
            "dsgan.epochs": max(1, config.dsgan.epochs // 3),
            "dsgan.loss.identity": 0.0,
            "reid.share": "stem",
            "reid.shared_norms": True,
            "reid.grayscale_visible": True,
            "reid.channel_exchange": 0.5,
            "reid.erasing": 0.5,
            "reid.pooling_power": 3.0,
            "reid.loss.centre_triplet": 1.0,
            "reid.loss.label_smoothing": 0.1,
            "reid.optimizer.warmup": config.reid.epochs // 6,
            "evaluation.flip": True,
            "evaluation.rerank": True,
        },
    )


def agw(config: Config) -> Config:
    """A configuration of one network for both modalities: AGW (TPAMI 2021) with CAJ (ICCV 2021).

    Both modalities share all convolutions and batch norms except the stem's. A batch has every visible
    image and a copy with exchanged channels. The losses are identity and weighted regularised triplet;
    pooling is GeM. Unlike the published network it has no non-local blocks, and it has our heads.
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
            "reid.optimizer.warmup": config.reid.epochs // 6,
        },
    )


def grayscale_stream(config: Config) -> Config:
    """A configuration of one stream per modality; visible images are grayscale, also in tests.

    A control: with it, the effect of translations is not confused with that of removing colour.
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

    The hetero-centre loss is replaced by hetero-centre triplets of unnormalised embeddings, for each
    stripe and for their concatenation (Liu, Tan, Zhou, TMM 2021). Both generators share convolutions,
    which reduces a trial's file to 300 MB.
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
    """AGW with channel augmentation on RegDB, with published rates: a baseline to compare TSME with."""
    return override(agw(published_schedule(regdb())), {"reid.optimizer.warmup": 10})


def small() -> Config:
    """The paper's recipe with the network of `demo`, to compare its parts on two CPU cores.

    Chosen for RegDB's number of identities. As in the paper, the backbones were pretrained on visible
    images only. Those of `demo` were pretrained on both modalities, which hides the effect of
    translations.
    """
    return _two_core_network("synthetic-visible")


def regdb_strong() -> Config:
    """`regdb` with the stronger recipe; GeM with p = 10 as published for RegDB."""
    return published_strong(regdb(), 10.0)


def sysu_strong() -> Config:
    """`sysu` with the stronger recipe."""
    return published_strong(sysu(), 3.0)


def llcm_strong() -> Config:
    """`llcm` with the stronger recipe."""
    return published_strong(llcm(), 3.0)


def regdb_single() -> Config:
    """`regdb_strong` as one grayscale network, without stage 1.

    It ends at layer3, as published for RegDB (DEEN; Zhang and Wang, CVPR 2023).
    """
    return override(grayscale_stream(regdb_strong()), {"reid.last_layer": 3})


def sysu_single() -> Config:
    """`sysu_strong` as one grayscale network, without stage 1."""
    return grayscale_stream(sysu_strong())


def llcm_single() -> Config:
    """`llcm_strong` as one grayscale network, without stage 1."""
    return grayscale_stream(llcm_strong())


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
    "regdb_single": regdb_single,
    "sysu_single": sysu_single,
    "llcm_single": llcm_single,
}


def preset(name: str) -> Config:
    """The preset of this name; UserError lists the known ones."""
    if name not in PRESETS:
        raise UserError(f"preset {name}: unknown; there are: {', '.join(PRESETS)}")
    return PRESETS[name]()
