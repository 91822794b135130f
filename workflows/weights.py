"""Weights as a user names them: a file, a folder, a URI, or a version of the model registry."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tsme.errors import UserError
from tsme.models.checkpoint import read_provenance
from tsme.serving import model_files
from tsme.storage.object_store import AnyPath, any_path


@contextmanager
def weights_files(weights: str) -> Iterator[dict[int, AnyPath]]:
    """The weights files of a path or of models:/NAME@ALIAS, by trial, for the block.

    A folder is one of weights, or that of a run, whose weights are in `stages`. Raises UserError if
    there are none.
    """
    if weights.startswith("models:/"):
        from workflows.tracking import registry  # imports MLflow, which takes seconds
        from workflows.tracking.server import tracking_uri

        with tempfile.TemporaryDirectory() as folder:
            yield model_files(registry.fetch(weights, tracking_uri(Path.cwd()), Path(folder)))
    elif (path := any_path(weights).resolve()).is_dir():
        yield model_files(path / "stages" if (path / "stages").is_dir() else path)
    else:
        yield {read_provenance(path).trial: path}


@contextmanager
def one_weights_file(weights: str, trial: int | None) -> Iterator[AnyPath]:
    """The weights file of a trial, by default the first. Raises UserError if there is none."""
    with weights_files(weights) as files:
        number = min(files) if trial is None else trial
        if number not in files:
            known = ", ".join(map(str, files))
            raise UserError(f"--trial {trial}: {weights} holds weights of trials {known}")
        yield files[number]
