"""Parts of Ray Tune outside its public interface: each is where tune/ray_internals.py expects it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import ray.tune
from ray.tune.execution import class_cache

from tsme.errors import JobFailed
from tsme.settings import override
from tune.ray_internals import SECRETS, keep_secrets_from_samples
from tune.spaces import search_space
from tune.sweep import sweep

ROOT = Path(__file__).parents[2]


def test_private_parts_are_used_in_one_file_only():
    private = re.compile(r"ray\.tune\.execution|_local_tuner|experiment_tag|__context__|\.error_file")
    files = [*(ROOT / "tune").rglob("*.py"), *(ROOT / "workflows").rglob("*.py")]
    found = {file.name for file in files if private.search(file.read_text())}
    assert found - {"server.py"} == {"ray_internals.py"}, "server.py: the cause of a request's error"


def test_credentials_are_not_propagated_to_samples():
    class_cache.ENV_VARS_TO_PROPAGATE.add("AWS_SECRET_ACCESS_KEY")
    assert class_cache.ENV_VARS_TO_PROPAGATE - SECRETS, "Ray propagates other variables too"
    keep_secrets_from_samples()
    assert not class_cache.ENV_VARS_TO_PROPAGATE & SECRETS


def test_a_job_failed_in_a_sample_ends_the_sweep_and_samples_have_numbers(
    ray_here, tiny_config, tmp_path: Path
):
    """The second sample fails: the callback finds its error, and the sweep finds the callback's."""

    def sample(values: dict) -> None:
        if ray.tune.get_context().get_trial_name() == "sample-02":
            raise JobFailed("MLflow at http://nowhere: no answer")
        ray.tune.report({"epoch": 1, "trained": 1, "val_mAP": 0.5, "best_mAP": 0.5, "best_epoch": 1})

    config = override(tiny_config, {"reid.epochs": 1, "sweep.concurrent": 1, "resources.gpus": 0})
    options = {"config": config, "samples": 3, "storage": tmp_path, "name": "sweep"}
    with pytest.raises(JobFailed, match=r"^MLflow at http://nowhere: no answer$"):
        sweep(sample, search_space(config), **options)
    samples = {folder.name for folder in (tmp_path / "sweep").iterdir() if folder.is_dir()}
    assert "sample-01" in samples and "sample-03" not in samples, "the third is not tried"
