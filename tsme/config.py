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
    """Size of the images of both stages, in pixels. A random crop shifts them by at most `padding`."""

    height: Annotated[int, Field(ge=32, multiple_of=16)] = 288
    width: Annotated[int, Field(ge=16, multiple_of=16)] = 144
    padding: Annotated[int, Field(ge=0)] = 10


class BackboneConfig(Frozen):
    """A ResNet backbone: `width` channels after its stem (64 as published).

    `weights` is "none", "imagenet" (torchvision's, width 64 only), "synthetic" (pretrained on synthetic
    identities), "synthetic-visible" (the same, on visible images only, because ImageNet has no infrared
    images) or the path of a safetensors file.
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
    """Stage 1. `batch` image pairs per step; the learning rate falls linearly over the second half.

    Without `skips` the decoder gets the encoder's last map only (a control for the skip connections).
    With `residual` a generator adds its output to its input and starts as the identity; with `share` both
    generators use the same convolutions, each with its own batch norms. Neither is in the paper's recipe.
    `precision` applies to convolutions, matrix products and maps; weights, losses and the optimiser are
    float32. "auto" is bfloat16 on devices that have instructions for it.
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
    """Weights of the losses: `fused`, `real` and `translated` by kind of head, the others by term.

    `margin` is that of the hetero-centre loss. Not in the paper's recipe: `centre_triplet` is the weight
    of the hetero-centre triplet loss of every head, `joined_triplet` that of the same loss of the
    concatenated fused embeddings; with `triplet_normalize` both normalise embeddings to length 1 first.
    `weighted_triplet` is the weight of AGW's weighted regularised triplet loss of the concatenated fused
    embeddings. `label_smoothing` is the probability that is spread over all identities.
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
    """SGD with Nesterov momentum; the learning rate of the backbones is `backbone_factor` times `lr`.

    Learning rates rise linearly over the first `warmup` epochs, which is not in the paper's recipe. They
    are then multiplied by `decay` at each milestone (an epoch).
    """

    lr: Rate = 0.01
    backbone_factor: Weight = 0.1
    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9
    weight_decay: Weight = 5e-4
    warmup: Annotated[int, Field(ge=0)] = 0
    milestones: tuple[Positive, ...] = (20, 40, 60)
    decay: Rate = 0.1


class ReidConfig(Frozen):
    """Stage 2. A batch has `identities` identities with `images` images of each in either modality.

    `translation` is what PwIF fuses with an image: DSGAN's translation, a grayscale copy (stage 1 is then
    not needed), or nothing ("none": two streams of real images only). `iai` adds heads for real images
    and for translations. `precision` as in stage 1.

    Network options that are not in the paper's recipe:
    - `share`: from this layer on all streams use the same convolutions ("stem": all of them), each with
      its own batch norms, or with `shared_norms` the same ones;
    - `grayscale_visible`: visible images are converted to grayscale, in training and in tests;
    - `stripes`: number of stripes of the fused map; `gates`: gates after layer3 and layer4;
      `last_layer`: last layer of the ResNet; `pooling_power`: p of generalised-mean pooling (1: mean).

    Augmentations that are not in the paper's recipe:
    - `channel_exchange`: share of visible images that are replaced by one of their channels or luminance;
    - `exchanged_copies`: every visible image is in the batch twice, once with exchanged channels; half of
      the infrared images exchange theirs;
    - `erasing`: share of images of which a rectangle is erased.
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
                f"reid.optimizer.warmup: {self.optimizer.warmup} of {self.epochs} epochs (reid.epochs) "
                "leave none at the full learning rate; set it lower"
            )
        return self

    @model_validator(mode="after")
    def _fits(self) -> ReidConfig:
        if self.iai and self.translation == "none":
            raise ValueError("IAI needs translations: with translation=none, set reid.iai=false as well")
        if self.shared_norms and self.share == "none":
            raise ValueError("shared_norms: batch norms are shared from reid.share on: set it as well")
        if self.share == f"layer{self.last_layer + 1}":
            raise ValueError(f"share: with last_layer={self.last_layer} the network has no {self.share}")
        return self


class ValidationConfig(Frozen):
    """`fraction` of the training identities is held out while the configuration is chosen."""

    fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2


class SweepConfig(Frozen):
    """The sweep: samples at once (`concurrent`; None: as many as fit), and early stopping by ASHA.

    A sample trains at least `grace_epochs`; one in `reduction` samples continues at each decision.
    Without `generators`, stage 1's loss weights are not searched, and all samples share one stage 1.
    """

    concurrent: Positive | None = None
    generators: bool = True
    grace_epochs: Positive = 5
    reduction: Annotated[int, Field(ge=2)] = 3


class EvaluationConfig(Frozen):
    """What is measured on test identities.

    `modes` and `shots` are SYSU-MM01's; `draws` are the numbers of the random galleries of SYSU-MM01 and
    LLCM. `flip` and `rerank` add figures of mirror-averaged embeddings and of re-ranked lists.
    `precision` applies to convolutions, matrix products and maps; embeddings and rankings are float32.
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
                raise ValueError(f"{name}: a value is repeated in {values}; give each once")
        return self


class ResourcesConfig(Frozen):
    """Resources of a training run: its workers, and the CPUs (threads) and GPUs of each.

    `gpus` None means one per worker if the cluster has any GPU when the run starts; set the number if an
    autoscaler adds GPUs later. A fraction lets several training runs share a GPU, each with one worker.
    `at_once` is the number of trials trained side by side; None means as many as fit when training
    starts.
    """

    workers: Positive = 1
    cpus: Positive = 1
    gpus: Annotated[float, Field(ge=0, le=1)] | None = None
    at_once: Positive | None = None

    @model_validator(mode="after")
    def _whole_gpus_for_several(self) -> ResourcesConfig:
        if self.workers > 1 and self.gpus not in (None, 0, 1):
            raise ValueError(
                f"gpus: {self.gpus:g} for each of {self.workers} workers: only a single worker can share "
                "a GPU; set 1, or workers=1"
            )
        return self


class Config(Frozen):
    """Everything that a result depends on; of `resources`, only the number of workers changes results."""

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
