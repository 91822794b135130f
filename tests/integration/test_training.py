"""Ray Train: several workers, a worker killed during an epoch, errors of the user and of training."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import ray
from mlflow.tracking import MlflowClient
from rich.console import Console

from tsme.data.datasets.regdb import read_regdb
from tsme.data.image_cache import ImageCache
from tsme.errors import JobFailed, UserError
from tsme.models.checkpoint import load_model
from tsme.settings import override
from tsme.training.trial import TrialTraining
from workflows.cluster.resources import fit_resources
from workflows.progress import Display
from workflows.steps.worker_group import TrainJob, train_group
from workflows.tracking.runs import open_parent_run
from workflows.tracking.server import tracking_uri

QUIET = Console(quiet=True)


@pytest.fixture
def make_job(ray_here, tiny_config, tiny_data, in_folder):
    """Builds a job of trial 1 with changed settings, its results in a folder of its own."""

    def make(name: str, settings: dict) -> TrainJob:
        config = override(tiny_config, {"resources.gpus": 0} | settings)
        trial = read_regdb(tiny_data).trial(1)
        images = ImageCache(read_regdb(tiny_data), "data", config.image.height, config.image.width)
        training = TrialTraining(config, 1, trial.train, None, images, in_folder / name)
        uri = tracking_uri(in_folder)
        parent = open_parent_run(uri, config, name, tiny_data, "data", None)
        runs = {stage: parent.child(stage, stage, {}) for stage in training.stages}
        return TrainJob(training, "trial 01", runs)

    return make


def train(job: TrainJob, folder: Path) -> None:
    with Display(QUIET) as display:
        train_group([job], display.board, f"test-{job.training.folder.name}", folder / "ray")


def weights(job: TrainJob) -> dict:
    import torch

    model = load_model(job.training.model_file, torch.device("cpu"))
    return {
        f"{n}.{k}": v
        for n in ("network", "generators")
        for k, v in getattr(model, n).state_dict().items()
    }


def running(kind: str) -> list[int]:
    """Process ids of the running actors of a class in this test's Ray."""
    from ray.util.state import list_actors

    address = ray.get_runtime_context().gcs_address  # not of another Ray on this machine
    actors = list_actors(address, filters=[("state", "=", "ALIVE")], limit=1000)
    return [a.pid for a in actors if a.class_name == kind and a.pid]


def epochs_logged(job: TrainJob, stage: str) -> list[int]:
    run = job.runs[stage]
    history = MlflowClient(run.uri).get_metric_history(run.run_id, "loss/total")
    return [point.step for point in history]


def test_two_workers_train_together(make_job, in_folder):
    job = make_job("pair", {"resources.workers": 2, "reid.identities": 2})
    train(job, in_folder)
    assert job.training.is_done()
    assert epochs_logged(job, "dsgan") == [1, 2]
    assert epochs_logged(job, "reid") == [1, 2]
    assert all(bool(value.isfinite().all()) for value in weights(job).values())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_controller_of_a_single_worker_does_not_import_torch(make_job, in_folder):
    """Each worker group has a controller, all of them on the driver's node."""
    job = make_job("lone", {"reid.epochs": 4})
    others = running("TrainController")  # of earlier tests, still shutting down
    with ThreadPoolExecutor(1) as executor:
        training = executor.submit(train, job, in_folder)
        while not training.done() and not epochs_logged(job, "reid"):
            time.sleep(0.05)
        own = [pid for pid in running("TrainController") if pid not in others]
        loaded = [Path(f"/proc/{pid}/maps").read_text() for pid in ("self", *own)]
        training.result()
    assert ["libtorch" in files for files in loaded] == [True, False]


@pytest.mark.slow  # a minute
def test_a_killed_worker_costs_at_most_the_epoch_in_progress(make_job, in_folder):
    # Epochs of a few tenths of a second: Ray Train commits a checkpoint when it next polls the
    # workers, five times a second.
    small = {"image.height": 96, "image.width": 48, "reid.identities": 2, "reid.backbone.width": 16}
    settings = small | {"reid.epochs": 12, "dsgan.epochs": 1}
    undisturbed, disturbed = make_job("undisturbed", settings), make_job("disturbed", settings)
    train(undisturbed, in_folder)

    killed: list[int] = []

    def kill_worker() -> None:
        deadline = time.monotonic() + 120
        while not killed and time.monotonic() < deadline:
            if len(epochs_logged(disturbed, "reid")) >= 4:
                killed.extend(running("RayTrainWorker"))
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    thread = threading.Thread(target=kill_worker)
    thread.start()
    train(disturbed, in_folder)
    thread.join()
    assert len(killed) == 1
    logged = epochs_logged(disturbed, "reid")
    assert sorted(set(logged)) == list(range(1, 13))
    assert len(logged) <= 13, "an epoch that was done was done again"
    assert epochs_logged(disturbed, "dsgan") == [1]
    expected = weights(undisturbed)
    for name, value in weights(disturbed).items():
        assert value.equal(expected[name]), name


def test_divergence_is_one_error_that_names_trial_and_term(make_job, in_folder):
    job = make_job("wild", {"reid.optimizer.lr": 1e30, "dsgan.epochs": 1})
    with pytest.raises(JobFailed, match=r"trial 01: reid: the loss \w+ is (nan|inf)"):
        train(job, in_folder)
    assert not job.training.is_done()


def test_a_missing_image_is_a_user_error(make_job, tiny_data, in_folder):
    """As on a node that decodes the images itself and lacks one of them."""
    job = make_job("gap", {})
    copy = in_folder / "data"
    shutil.copytree(tiny_data, copy)
    images = replace(job.training.images, dataset=read_regdb(copy), fingerprint="gap")
    (copy / job.training.train.visible.paths[0]).unlink()  # after the driver has read the lists
    broken = replace(job, training=replace(job.training, images=images))
    with pytest.raises(UserError, match=r"trial 01: .*\.bmp"):
        train(broken, in_folder)


def test_more_than_this_machine_has_is_refused(ray_here, tiny_config):
    with pytest.raises(UserError, match=r"takes 1 GPU .* the cluster has 0"):
        fit_resources(override(tiny_config, {"resources.gpus": 1, "resources.workers": 1}), QUIET)
    assert fit_resources(tiny_config, QUIET).resources.gpus == 0
    assert ray.cluster_resources()["CPU"] == 2
