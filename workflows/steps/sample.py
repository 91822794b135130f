"""A sweep sample: one configuration, validated on held-out identities after every epoch of stage 2."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import ray.tune
import torch
from ray.actor import ActorHandle

from tsme.settings import override
from tsme.training.distributed import Worker
from tsme.training.loop import Diverged, EpochResult
from tsme.training.stages import run_stages
from tsme.training.trial import TrialTraining
from workflows.steps.epochs import Checkpoints, EpochLog, load_checkpoint, run_and_report
from workflows.tracking.runs import MlflowRun


@dataclass(frozen=True)
class SampleJob:
    """The training that samples vary, with its validation identities; the parent MLflow run."""

    training: TrialTraining
    parent: MlflowRun
    board: ActorHandle

    def __call__(self, values: dict[str, Any]) -> None:
        """Train with `values` set, in one process, and report every epoch of stage 2 to Ray Tune.

        A sample that diverges scores 0: the sample is bad, not the sweep.
        """
        label = ray.tune.get_context().get_trial_name()
        run = self.parent.child(f"sweep {label}", label, values)
        try:
            self._train(label, values, run)
        except Exception as error:
            run.tag({"error": f"{type(error).__name__}: {error}"})
            run.close("FAILED")
            raise

    def _train(self, label: str, values: dict[str, Any], run: MlflowRun) -> None:
        config = override(self.training.config, values)
        training = replace(self.training, config=config)
        torch.set_num_threads(int(ray.get_runtime_context().get_assigned_resources()["CPU"]))
        worker = Worker(device=torch.device("cuda" if config.resources.gpus else "cpu"))
        log = EpochLog(label, dict.fromkeys(training.stages, run), self.board)
        log.log_place(config, worker)
        state = load_checkpoint(ray.tune.get_checkpoint(), self.board.post.remote)
        best = state["best"] if state else {"best_mAP": 0.0, "best_epoch": 0}
        trained = state["epoch"] if state else 0

        def report(result: EpochResult, checkpoint: ray.tune.Checkpoint | None) -> None:
            nonlocal trained
            if result.stage != "reid":
                return
            trained = result.epoch
            scores = {name: result.metrics[name] for name in ("val_mAP", "best_mAP", "best_epoch")}
            ray.tune.report(scores | {"epoch": trained, "trained": trained}, checkpoint=checkpoint)
            if checkpoint is not None:  # uploaded by now
                shutil.rmtree(checkpoint.path)

        with tempfile.TemporaryDirectory(prefix="tsme-checkpoints-") as folder:
            try:
                results = with_best(run_stages(training, worker, state), best)
                run_and_report(results, log, report, Checkpoints(Path(folder), ["reid"]))
            except Diverged as error:
                run.tag({"diverged": str(error)})
                run.close("FAILED")
                scores = {"val_mAP": 0.0, "best_mAP": 0.0, "best_epoch": 0}
                ray.tune.report(scores | {"epoch": config.reid.epochs, "trained": trained})
            else:
                run.close()


def with_best(results: Iterator[EpochResult], best: dict[str, float]) -> Iterator[EpochResult]:
    """Add the best validation mAP so far and its epoch to stage 2's metrics and checkpoints.

    `best` is that of earlier epochs. Among equal epochs, the first counts as the best.
    """
    for result in results:
        if result.stage == "reid":
            score = result.metrics["val_mAP"]
            if score > best["best_mAP"]:
                best = {"best_mAP": score, "best_epoch": result.epoch}
            checkpoint = result.checkpoint | {"best": best}
            result = replace(result, metrics=result.metrics | best, checkpoint=checkpoint)
        yield result
