"""The configuration: frozen, complete, checked before anything runs.

Presets (`tsme.presets`) return a `Config`; `tsme.settings.override` changes single keys.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tsme.storage.digest import digest

Positive = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Architecture = Literal["resnet10", "resnet18", "resnet34", "resnet50"]
DatasetName = Literal["regdb", "sysu", "llcm", "csv"]
Precision = Literal["float32", "bfloat16"]
TrainingPrecision = Literal["float32", "bfloat16", "auto"]
Mode = Literal["all", "indoor"]
Shots = Literal["single", "multi"]
Share = Literal["none", "stem", "layer1", "layer2", "layer3", "layer4"]
Translation = Literal["dsgan", "grayscale", "none"]


class Frozen(BaseModel):
    """A section of the configuration: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageConfig(Frozen):
    """Size of every image both stages see, in pixels; `padding` is what the random crop shifts by."""

    height: Annotated[int, Field(ge=32, multiple_of=16)] = 288
    width: Annotated[int, Field(ge=16, multiple_of=16)] = 144
    padding: Annotated[int, Field(ge=0)] = 10


class BackboneConfig(Frozen):
    """A ResNet backbone: `width` channels after its stem (64 as published).

    `weights` is "none", "imagenet" (torchvision's, width 64 only), "synthetic" (pretrained on synthetic
    identities), "synthetic-visible" (the same from visible images only, as ImageNet's weights have seen
    no infrared) or the path of a safetensors file.
    """

    architecture: Architecture = "resnet50"
    width: Annotated[int, Field(ge=8, multiple_of=8)] = 64
    weights: str = "imagenet"

    @model_validator(mode="after")
    def _imagenet_exists(self) -> BackboneConfig:
        if self.weights == "imagenet" and (self.width != 64 or self.architecture == "resnet10"):
            raise ValueError(
                f"no ImageNet weights exist for {self.architecture} of width {self.width}: "
                "set weights=none, or a published architecture with width 64"
            )
        return self


class DsganLossConfig(Frozen):
    """Weights of the cycle and identity terms beside the adversarial one."""

    cycle: Weight = 10.0
    identity: Weight = 5.0


class DsganOptimizerConfig(Frozen):
    """Adam, for the generators and the discriminators alike."""

    lr: Rate = 2e-4
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999


class DsganConfig(Frozen):
    """Stage 1. `batch` pairs a step; the learning rate falls linearly over the second half.

    Without `skips` the decoder sees the encoder's last map alone (to measure what the others are worth).
    With `residual` a generator adds to its input at full resolution and starts as the identity; with
    `share` both generators have the same convolutions and each its own batch norms (neither is in the
    paper's recipe).
    `precision` is that of the networks' products and maps; weights, losses and the optimiser are float32.
    "auto" is bfloat16 on devices that have instructions for it.
    """

    backbone: BackboneConfig = BackboneConfig()
    precision: TrainingPrecision = "float32"
    skips: bool = True
    residual: bool = False
    share: bool = False
    discriminator_width: Positive = 128
    epochs: Positive = 60
    batch: Positive = 8
    image_pool: Annotated[int, Field(ge=0)] = 50
    loss: DsganLossConfig = DsganLossConfig()
    optimizer: DsganOptimizerConfig = DsganOptimizerConfig()


class ReidLossConfig(Frozen):
    """Weights of the ten heads' losses by kind, and of the hetero-centre terms within each.

    Not in the paper's recipe: `centre_triplet` weighs the hetero-centre triplet loss of every head,
    `joined_triplet` the same loss of the fused embeddings side by side; `triplet_normalize` says whether
    both see embeddings of length 1. `weighted_triplet` weighs AGW's weighted regularised triplet loss of
    the fused embeddings side by side. `label_smoothing` softens the identities.
    """

    hetero_centre: Weight = 0.5
    margin: Weight = 0.0
    centre_triplet: Weight = 0.0
    joined_triplet: Weight = 0.0
    triplet_margin: Weight = 0.3
    triplet_normalize: bool = True
    weighted_triplet: Weight = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    fused: Weight = 1.0
    real: Weight = 1.0
    translated: Weight = 1.0


class ReidOptimizerConfig(Frozen):
    """SGD with Nesterov momentum; the backbones learn at `backbone_factor` times `lr`.

    The rates rise linearly over the first `warmup` epochs and then fall by `decay` at each milestone, or
    with `cosine` along half a cosine to 0 (neither warm-up nor cosine is in the paper's recipe).
    """

    lr: Rate = 0.01
    backbone_factor: Weight = 0.1
    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9
    weight_decay: Weight = 5e-4
    warmup: Annotated[int, Field(ge=0)] = 0
    milestones: tuple[Positive, ...] = (20, 40, 60)
    decay: Rate = 0.1
    cosine: bool = False


class ReidConfig(Frozen):
    """Stage 2. A batch holds `identities` people with `images` images each in either modality.

    `translation` says what stands beside an image in PwIF: DSGAN's translation, a grayscale copy (no
    stage 1 is needed then), or nothing ("none": real images alone, in two streams). `iai` adds heads for
    real and translated images apart. `precision` as in stage 1.

    Not in the paper's recipe, networks: `share`, the layer from which on all streams have the same
    convolutions ("stem" shares them all), each with its own batch norms, or with `shared_norms` the same
    ones; `grayscale_visible`, visible images lose their colour in training and in tests; `stripes` of the
    fused map; `gates` after layer3 and layer4; `last_layer` of the ResNet; `pooling_power`, the p of
    generalised-mean pooling (1 is the mean).

    Not in the paper's recipe, training images: `channel_exchange`, the share of visible images replaced
    by one of their channels or luminance; `exchanged_copies`, every visible image is in the batch as it
    is and with exchanged channels, and infrared images exchange theirs; `linear_mixing`, the share of
    images that get a random mix of their channels, and a random gain within a rectangle; `erasing`, the
    share that lose a rectangle.
    """

    backbone: BackboneConfig = BackboneConfig()
    translation: Translation = "dsgan"
    iai: bool = True
    share: Share = "none"
    shared_norms: bool = False
    grayscale_visible: bool = False
    stripes: Annotated[int, Field(ge=1, le=18)] = 6
    gates: bool = True
    last_layer: Annotated[int, Field(ge=3, le=4)] = 4
    precision: TrainingPrecision = "float32"
    embedding: Positive = 512
    pooling_power: Annotated[float, Field(ge=1, le=16)] = 1.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    epochs: Positive = 60
    identities: Annotated[int, Field(ge=2)] = 4
    images: Positive = 6
    channel_exchange: Annotated[float, Field(ge=0, le=1)] = 0.0
    exchanged_copies: bool = False
    linear_mixing: Annotated[float, Field(ge=0, le=1)] = 0.0
    erasing: Annotated[float, Field(ge=0, le=1)] = 0.0
    loss: ReidLossConfig = ReidLossConfig()
    optimizer: ReidOptimizerConfig = ReidOptimizerConfig()

    @field_validator("translation", mode="before")
    @classmethod
    def _one_spelling(cls, value: object) -> object:
        british_or_short = isinstance(value, str) and re.fullmatch(r"gr[ae]y(scale)?", value)
        return "grayscale" if british_or_short else value

    @model_validator(mode="after")
    def _warmup_ends(self) -> ReidConfig:
        if self.optimizer.warmup >= self.epochs:
            raise ValueError(
                f"reid.optimizer.warmup: {self.optimizer.warmup} of {self.epochs} epochs (reid.epochs), "
                "which leaves none at the full learning rate; set it lower"
            )
        return self

    @model_validator(mode="after")
    def _fits(self) -> ReidConfig:
        if self.iai and self.translation == "none":
            raise ValueError("without translations there are none to invoke: set reid.iai=false as well")
        if self.shared_norms and self.share == "none":
            raise ValueError("shared_norms: norms are shared where convolutions are: set reid.share too")
        if self.share == f"layer{self.last_layer + 1}":
            raise ValueError(f"share: there is no {self.share} where last_layer is {self.last_layer}")
        return self


class ValidationConfig(Frozen):
    """The part of the training identities held out while the configuration is chosen."""

    fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2


class SweepConfig(Frozen):
    """The search: samples, how many at once (none: as many as fit), and when a bad one may stop."""

    concurrent: Positive | None = None
    grace_epochs: Positive = 5
    reduction: Annotated[int, Field(ge=2)] = 3


class EvaluationConfig(Frozen):
    """What is measured in the end.

    `modes` and `shots` are SYSU-MM01's; `draws` number the random galleries of SYSU-MM01 and LLCM.
    `flip` and `rerank` add figures of mirror-averaged descriptors and of re-ranked lists to the plain
    ones. `precision` is that of the networks' products and maps; descriptors and rankings are float32.
    """

    precision: Precision = "float32"
    modes: Annotated[tuple[Mode, ...], Field(min_length=1)] = ("all", "indoor")
    shots: Annotated[tuple[Shots, ...], Field(min_length=1)] = ("single", "multi")
    draws: Annotated[tuple[Annotated[int, Field(ge=0, le=9)], ...], Field(min_length=1)] = tuple(
        range(10)
    )
    flip: bool = False
    rerank: bool = False

    @model_validator(mode="after")
    def _each_once(self) -> EvaluationConfig:
        for name in ("modes", "shots", "draws"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name}: each once, not {values}")
        return self


class ResourcesConfig(Frozen):
    """What a training run takes: workers, and CPUs (threads) and GPUs for each of them.

    Without a number of `gpus`, one for each worker where the cluster has any as the run starts; give the
    number where GPUs come later, by an autoscaler. Likewise `at_once`, how many trials are trained side
    by side: without it, as many as the cluster has room for as they start. Less than 1 of `gpus` lets
    several training runs share one, each with one worker.
    """

    workers: Positive = 1
    cpus: Positive = 1
    gpus: Annotated[float, Field(ge=0, le=1)] | None = None
    at_once: Positive | None = None

    @model_validator(mode="after")
    def _whole_gpus_for_several(self) -> ResourcesConfig:
        if self.workers > 1 and self.gpus not in (None, 0, 1):
            raise ValueError(f"gpus: {self.gpus:g} of one is for one worker; {self.workers} want 1 each")
        return self


class Config(Frozen):
    """Everything that decides a result, and nothing else than `resources` that does not."""

    dataset: DatasetName = "regdb"
    seed: Annotated[int, Field(ge=0)] = 0
    image: ImageConfig = ImageConfig()
    dsgan: DsganConfig = DsganConfig()
    reid: ReidConfig = ReidConfig()
    validation: ValidationConfig = ValidationConfig()
    sweep: SweepConfig = SweepConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    resources: ResourcesConfig = ResourcesConfig()

    def digest(self, *sections: str, **inputs: object) -> str:
        """Ten hex digits naming the result of these sections of the configuration and `inputs`."""
        values = self.model_dump(mode="json")
        return digest({section: values[section] for section in sections} | inputs)
