"""Options that several commands share, and the values they stand for."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tsme.errors import UserError
from tsme.storage.object_store import AnyPath, any_path

if TYPE_CHECKING:  # the command line starts faster without these
    from tsme.config import Config
    from workflows.run import RunOptions

# The names in tsme.presets, for the help text.
PRESETS = (
    "demo, small, regdb, sysu, llcm, csv, baseline, regdb_strong, sysu_strong, llcm_strong, "
    "regdb_single, sysu_single, llcm_single"
)


class DatasetChoice(StrEnum):
    """Known data sets, by layout and protocol; csv is a table of your own images."""

    regdb = "regdb"
    sysu = "sysu"
    llcm = "llcm"
    csv = "csv"


class DifficultyChoice(StrEnum):
    """How much the images of one synthetic identity differ: stance, side seen, occlusion."""

    easy = "easy"
    normal = "normal"
    hard = "hard"


class TonesChoice(StrEnum):
    """Whether the infrared tones of a synthetic identity follow from the fabrics of its clothes."""

    independent = "independent"
    lifelike = "lifelike"


class ModeChoice(StrEnum):
    """Cameras in the gallery of SYSU-MM01."""

    all = "all"
    indoor = "indoor"


class ShotsChoice(StrEnum):
    """Images per identity and camera in the gallery of SYSU-MM01: one, or ten."""

    single = "single"
    multi = "multi"


class StageChoice(StrEnum):
    """Stages that `tsme train` runs."""

    dsgan = "dsgan"
    reid = "reid"
    all = "all"


PresetOption = Annotated[str, typer.Option("--preset", help=f"A preset of tsme.presets: {PRESETS}.")]
DatasetOption = Annotated[DatasetChoice, typer.Option(help="Layout and protocol of the data.")]
DataOption = Annotated[
    str, typer.Option(metavar="DIR|URI", help="Folder of the data set; for csv, the file.")
]
SetOption = Annotated[
    list[str], typer.Option("--set", help="Change a configuration key: reid.optimizer.lr=0.02.")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Continue the run in --out, if there is one.")
]


def build_config(preset_name: str, settings: list[str]) -> Config:
    """A preset with the values of --set.

    Paths of weights become absolute, because Ray's workers run in other working folders.
    """
    from tsme.presets import preset
    from tsme.settings import override, parse_settings

    config = override(preset(preset_name), parse_settings(settings))
    weights = {
        f"{stage}.backbone.weights": str(path.resolve())
        for stage in ("dsgan", "reid")
        if (path := Path(getattr(config, stage).backbone.weights)).is_file()
    }
    return override(config, weights)


def run_options(
    name: str,
    preset_name: str,
    settings: list[str],
    data: str,
    out: str,
    *,
    trials: list[int] | None,
    samples: int = 0,
    resume: bool,
) -> RunOptions:
    """The options of a run, named for MLflow. Raises UserError if one is wrong."""
    config, source, folder = build_config(preset_name, settings), existing_data(data), any_path(out)
    # Imported once the options are known to be right: importing torch, Ray and MLflow takes seconds.
    from workflows.run import RunOptions

    return RunOptions(name, config, source, folder, trials, samples, resume)


def existing_data(text: str) -> AnyPath:
    """The data set's folder, file or URI; UserError if a local one does not exist."""
    data = any_path(text)
    if isinstance(data, Path) and not data.exists():
        raise UserError(f"{text}: no such file or folder")
    return data


def parse_trials(text: str) -> list[int] | None:
    """[1, 2, 3, 7] for "1-3,7"; None for an empty text."""
    if not text:
        return None
    trials: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not (first.isdigit() and (last or first).isdigit()) or int(first) > int(last or first):
            raise UserError(f"--trials {text}: expected numbers and ranges such as 1-10 or 1,3")
        trials += range(int(first), int(last or first) + 1)
    return sorted(set(trials))
