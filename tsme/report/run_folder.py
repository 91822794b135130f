"""What a finished run has left in its folder, as the report needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tsme.config import Frozen
from tsme.errors import UserError
from tsme.evaluation.inspection import Inspection
from tsme.evaluation.results import EvaluationResult
from tsme.storage.atomic import read_json
from tsme.storage.object_store import AnyPath

RESULTS = "results.json"
HISTORY = "history.json"


class Curve(Frozen):
    """Values of one quantity at some epochs, in the order of the epochs."""

    epochs: list[int]
    values: list[float]


class TrainingHistory(Frozen):
    """A training: its host and device, its times in seconds since 1970, and its curves by name."""

    name: str
    place: str
    began: float
    ended: float
    curves: dict[str, Curve]


@dataclass(frozen=True)
class RunFolder:
    """The content of a run's files. `history` is empty and `inspection` None if there are none.

    `results` is results.json, and `rows` are its trials. The inspection is that of the first trial.
    """

    results: dict[str, Any]
    rows: list[EvaluationResult]
    history: list[TrainingHistory]
    inspection: Inspection | None


def read_run(folder: AnyPath) -> RunFolder:
    """Read a run's files. Raises UserError without results, or if a file is damaged."""
    file = folder / RESULTS
    if not file.exists():
        if (folder / "run.json").exists():
            raise UserError(
                f"{folder}: this run has no {RESULTS} yet; `tsme status {folder}` says how far it is"
            )
        raise UserError(f"{folder}: not the folder of a run: it holds no {RESULTS}")
    results = read_json(file)
    try:
        rows = TypeAdapter(list[EvaluationResult]).validate_python(results["trials"])
        history = _history(folder / HISTORY)
        inspection = _inspection(folder, rows[0])
    except (ValidationError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"{folder}: its files are not those of a run of this version ({error})") from None
    return RunFolder(results, rows, history, inspection)


def _history(file: AnyPath) -> list[TrainingHistory]:
    content = read_json(file) if file.exists() else []
    return TypeAdapter(list[TrainingHistory]).validate_python(content)


def _inspection(folder: AnyPath, row: EvaluationResult) -> Inspection | None:
    file = folder / "stages" / f"inspection-trial{row.trial:02d}-{row.model}.json"
    return Inspection.model_validate(read_json(file)) if file.exists() else None
