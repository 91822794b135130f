"""Options that several commands have, and what their values mean."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tsme.config import Config, override, parse_settings
from tsme.errors import UserError
from tsme.presets import PRESETS, preset
from workflows.cli.data import DatasetChoice


class ModeName(StrEnum):
    """Which cameras SYSU-MM01's gallery is of."""

    all = "all"
    indoor = "indoor"


class ShotsName(StrEnum):
    """How many images SYSU-MM01's gallery has of each person and camera: one, or ten."""

    single = "single"
    multi = "multi"


class StageName(StrEnum):
    """What `tsme train` trains."""

    dsgan = "dsgan"
    reid = "reid"
    all = "all"


PresetOption = Annotated[
    str, typer.Option("--preset", help=f"A preset of tsme.presets: {', '.join(PRESETS)}.")
]
DatasetOption = Annotated[DatasetChoice, typer.Option(help="Layout and protocol of the data.")]
DataOption = Annotated[
    str, typer.Option(metavar="DIR|URI", help="Folder of the data set; of csv, the file.")
]
SetOption = Annotated[
    list[str], typer.Option("--set", help="Change a configuration key: reid.optimizer.lr=0.02.")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Continue the run in --out, if there is one.")
]


def configured(preset_name: str, settings: list[str]) -> Config:
    """A preset with the values of --set; UserError if a warm-up would never end.

    Files of weights are named from the root: Ray's workers have other working folders.
    """
    config = override(preset(preset_name), parse_settings(settings))
    warmup, epochs = config.reid.optimizer.warmup, config.reid.epochs
    if warmup >= epochs:
        raise UserError(
            f"reid.optimizer.warmup: {warmup} of {epochs} epochs (reid.epochs), which leaves none at the "
            "full learning rate; set it lower"
        )
    weights = {
        f"{stage}.backbone.weights": str(path.resolve())
        for stage in ("dsgan", "reid")
        if (path := Path(getattr(config, stage).backbone.weights)).is_file()
    }
    return override(config, weights)


def parse_trials(text: str) -> list[int] | None:
    """[1, 2, 3, 7] from "1-3,7"; None from nothing."""
    if not text:
        return None
    trials: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not (first.isdigit() and (last or first).isdigit()) or int(first) > int(last or first):
            raise UserError(f"--trials {text}: expected numbers and ranges such as 1-10 or 1,3")
        trials += range(int(first), int(last or first) + 1)
    return sorted(set(trials))
