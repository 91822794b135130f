"""A sweep sample: one configuration's chain, measured on held-out identities after every epoch."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import ray.tune
import torch
from ray.actor import ActorHandle

from tsme.config import override
from tsme.training.distributed import Worker
from tsme.training.loop import Diverged, EpochResult
from tsme.training.stages import run_stages
from tsme.training.trial import TrialTraining
from workflows.cluster.checkpoint_interval import CheckpointInterval
from workflows.steps.train import CHECKPOINT, load_checkpoint, save_checkpoint
from workflows.tracking.epochs import epoch_event, log_epoch, tell_precision
from workflows.tracking.runs import MlflowRun


@dataclass(frozen=True)
class SampleJob:
    """The chain a sample changes, with its validation identities; the workflow's MLflow run."""

    chain: TrialTraining
    parent: MlflowRun
    board: ActorHandle

    def __call__(self, values: dict[str, Any]) -> None:
        """Train with `values` set, in one process, reporting every epoch of stage 2 to Ray Tune.

        A sample that diverges ends with a score of 0: it is the sample that is bad, not the sweep.
        """
        label = ray.tune.get_context().get_trial_name()
        config = override(self.chain.config, values)
        torch.set_num_threads(int(ray.get_runtime_context().get_assigned_resources()["CPU"]))
        chain = replace(self.chain, config=config)
        run = self.parent.child(f"sweep {label}", label, values)
        state = load_checkpoint(ray.tune.get_checkpoint())
        best = state["best"] if state else {"best_mAP": 0.0, "best_epoch": 0}
        trained = state["epoch"] if state and state["stage"] == "reid" else 0
        worker = Worker(device=torch.device("cuda" if config.resources.gpus else "cpu"))
        interval = CheckpointInterval()
        tell_precision(label, chain, dict.fromkeys(chain.stages, run), worker, self.board)
        try:
            for result in run_stages(chain, worker, state):
                log_epoch(run, result)
                self.board.post.remote(epoch_event(label, result))
                if result.stage == "reid":
                    trained = result.epoch
                    best = _better(best, result)
                    run.log_metrics(best, step=result.epoch)
                    _report(result, best, interval)
        except Diverged as error:
            run.tag({"diverged": str(error)})
            run.close("FAILED")
            nothing = {"val_mAP": 0.0, "best_mAP": 0.0, "best_epoch": 0}
            ray.tune.report(nothing | {"epoch": config.reid.epochs, "trained": trained})
        except Exception as error:
            run.tag({"error": f"{type(error).__name__}: {error}"})
            run.close("FAILED")
            raise
        else:
            run.close()


def _better(best: dict[str, Any], result: EpochResult) -> dict[str, Any]:
    """The best validation mAP so far and its epoch; the earlier one of equals."""
    score = result.metrics["val_mAP"]
    return {"best_mAP": score, "best_epoch": result.epoch} if score > best["best_mAP"] else best


def _report(result: EpochResult, best: dict[str, Any], interval: CheckpointInterval) -> None:
    figures = {
        "epoch": result.epoch,
        "trained": result.epoch,
        "val_mAP": result.metrics["val_mAP"],
        **best,
    }
    if not interval.due:
        ray.tune.report(figures)
        return
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        checkpoint = save_checkpoint(result.checkpoint | {"best": best}, Path(folder))
        size, saved = (Path(folder) / CHECKPOINT).stat().st_size, time.monotonic()
        ray.tune.report(figures, checkpoint=checkpoint)  # which sends it to storage as well
        interval.record(size, saved - began, time.monotonic() - saved)
