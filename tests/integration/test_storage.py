"""A run in an S3 bucket: the same figures as in a folder, and nothing half-written."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.support.object_store import SECRET, Cable, contents, environment, serving
from tsme.config import EvaluationConfig
from tsme.data.datasets.registry import open_dataset
from tsme.data.fingerprint import fingerprint
from tsme.data.image_cache import ImageCache
from tsme.errors import JobFailed, UserError
from tsme.storage import local_copy
from tsme.storage import object_store as remote
from tsme.storage.atomic import read_json, write_json
from tsme.storage.object_store import RemotePath, any_path
from workflows.bars import progress_bars
from workflows.cli.main import main
from workflows.evaluate_weights import evaluate_weights
from workflows.pipeline import run_workflow
from workflows.run import RunOptions
from workflows.synthetic_data import generate_with_progress

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def bucket(s3_port: int, tmp_path_factory: pytest.TempPathFactory):
    """boto3's client of a server with an empty bucket."""
    with serving(s3_port, tmp_path_factory.mktemp("s3") / "log") as client:
        yield client


@pytest.fixture(scope="module")
def data(bucket, tiny_data: Path) -> str:
    """The generated data set in the bucket."""
    RemotePath("s3://bucket/RegDB").upload_folder(tiny_data)
    return "s3://bucket/RegDB"


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch):
    """A monkeypatch for the environment, without a cached connection to the store before and after."""
    remote._file_system.cache_clear()
    yield monkeypatch
    remote._file_system.cache_clear()


def run(config, data: str, out: str, *, resume: bool = False) -> dict[str, Any]:
    places = {"data": any_path(data), "out": any_path(out)}
    options = RunOptions("test", config, **places, trials=[2], samples=1, resume=resume)
    return run_workflow(options, QUIET)


@pytest.fixture(scope="module")
def finished(ray_here, data: str, tiny_config, tmp_path_factory):
    """The working folder and results of a run with data and output in the bucket."""
    folder, before = tmp_path_factory.mktemp("storage"), Path.cwd()
    os.chdir(folder)
    yield folder, run(tiny_config, data, "s3://bucket/run")
    os.chdir(before)


def test_all_files_of_a_run_are_in_the_bucket(finished, bucket):
    folder, results = finished
    files = contents(bucket, "run/")
    assert json.loads(files["run/results.json"]) == results
    assert any(name.endswith("checkpoint.pt") for name in files)
    assert {path.name for path in folder.iterdir()} - {"local"} == {"mlflow.db", "mlartifacts"}


@pytest.mark.slow
def test_a_run_in_a_folder_has_the_same_figures_and_files(finished, bucket, tiny_config, tiny_data):
    folder, results = finished
    local = run(tiny_config, str(tiny_data), "local")
    for part in ("trials", "summary", "validation", "data_fingerprint"):
        assert local[part] == results[part]
    in_folder = {
        str(p.relative_to(folder / "local")) for p in (folder / "local").rglob("*") if p.is_file()
    }
    in_bucket = {key.removeprefix("run/") for key in contents(bucket, "run/")}
    own = {name for name in in_folder | in_bucket if not name.startswith("ray/")}
    assert own & in_folder == own & in_bucket


def test_resuming_repeats_nothing(finished, bucket, data, tiny_config):
    _, results = finished

    def times() -> dict[str, Any]:
        listed = bucket.list_objects_v2(Bucket="bucket", Prefix="run/stages/")["Contents"]
        return {entry["Key"]: entry["LastModified"] for entry in listed}

    before = times()
    again = run(tiny_config, data, "s3://bucket/run", resume=True)
    assert times() == before
    assert (again["trials"], again["model"]) == (results["trials"], results["model"])
    with pytest.raises(UserError, match="s3://bucket/run: already holds a run; --resume"):
        run(tiny_config, data, "s3://bucket/run")


def test_weights_in_the_bucket_are_evaluated(finished, bucket, data):
    _, results = finished
    (key,) = [name for name in contents(bucket, "run/stages/trial") if name.endswith(".safetensors")]
    for weights in ("s3://bucket/run/stages", f"s3://bucket/{key}"):
        tested = evaluate_weights(
            "regdb", any_path(data), weights, None, EvaluationConfig(), cross_trial=False, console=QUIET
        )
        assert tested["trials"] == results["trials"]


def test_credentials_are_in_no_file(finished, bucket):
    """Neither in outputs nor in MLflow's files nor in Ray's logs."""
    import ray

    folder, _ = finished
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    files = [p for place in (folder, session) for p in place.rglob("*") if p.is_file()]
    assert any("runtime_env" in path.name for path in files)
    texts = [path.read_bytes() for path in files] + list(contents(bucket, "run/").values())
    assert not any(SECRET.encode() in text for text in texts)


def test_another_machine_downloads_the_data_once(bucket, data, tiny_data, tmp_path, monkeypatch):
    first = open_dataset("regdb", any_path(data))
    store = ImageCache(first, fingerprint(first), 32, 16)
    assert store.fingerprint == fingerprint(open_dataset("regdb", tiny_data))
    local = ImageCache(open_dataset("regdb", tiny_data), store.fingerprint, 32, 16)
    sent = pickle.dumps(store)
    monkeypatch.setenv("TSME_CACHE", str(tmp_path / "elsewhere"))
    local_copy._download.cache_clear()
    there: ImageCache = pickle.loads(sent)
    images = first.trial(1).train.visible
    expected = local.load(images)
    assert there.dataset.root.parent == tmp_path / "elsewhere"
    assert there.load(images).equal(expected)
    there.folder.rename(tmp_path / "away")  # so that images are decoded again, from the same copy
    local_copy._download.cache_clear()
    monkeypatch.setattr(remote.RemotePath, "download", None)  # a second process needs nothing more
    assert pickle.loads(sent).load(images).equal(expected)


def test_data_that_change_during_a_run_are_refused(bucket, tmp_path, monkeypatch):
    generate_with_progress(
        any_path("s3://bucket/changing"), "regdb", 8, 2, seed=0, bars=progress_bars(QUIET)
    )
    opened = open_dataset("regdb", any_path("s3://bucket/changing"))
    any_path("s3://bucket/changing/idx/test_visible_1.txt").upload(Path(__file__))
    monkeypatch.setenv("TSME_CACHE", str(tmp_path))  # as on another machine
    local_copy._download.cache_clear()
    with pytest.raises(UserError, match="s3://bucket/changing: files there have changed"):
        _ = opened.root
    assert not list(tmp_path.glob("data-*/*"))
    with pytest.raises(UserError, match="s3://bucket/none: no such file or folder"):
        open_dataset("regdb", any_path("s3://bucket/none"))


def test_a_table_is_downloaded_with_its_folder(bucket, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setenv("TSME_CACHE", str(tmp_path))
    generate_with_progress(any_path("s3://bucket/own"), "csv", 8, 2, seed=0, bars=progress_bars(QUIET))
    (table,) = [key for key in contents(bucket, "own/") if key.endswith(".csv")]
    dataset = open_dataset("csv", any_path(f"s3://bucket/{table}"))
    image = dataset.trial(1).train.visible
    assert (dataset.root / image.paths[0]).is_file() and dataset.name == "csv"


def test_an_upload_that_is_cut_off_keeps_the_old_file(bucket, s3_port, tmp_path, clean):
    cable = Cable(s3_port, 14_000_000)
    clean.setenv("AWS_ENDPOINT_URL", environment(cable.port)["AWS_ENDPOINT_URL"])
    write_json(any_path("s3://bucket/cut/file"), "old")
    large = tmp_path / "large"
    large.write_bytes(bytes(30_000_000))
    with pytest.raises(JobFailed, match="s3://bucket/cut/file: AWS Error NETWORK"):
        any_path("s3://bucket/cut/file").upload(large)
    assert cable.broken
    assert contents(bucket, "cut/") == {"cut/file": b'"old"\n'}


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1, error
    return error


def test_no_bucket_is_one_line(bucket, tiny_data, capsys):
    arguments = ["run", "--preset", "demo", "--data", str(tiny_data), "--out", "s3://no-bucket/run"]
    assert "there is no s3://no-bucket" in complaint(capsys, *arguments)


def test_no_credentials_is_one_line_before_anything_is_read(bucket, tmp_path):
    bucket.put_object(Bucket="bucket", Key="denied/")  # moto asks for a name before it is replaced only
    env = {name: value for name, value in os.environ.items() if "_ACCESS_KEY" not in name}
    arguments = ["run", "--preset", "demo", "--data", str(tmp_path), "--out", "s3://bucket/denied"]
    command = [sys.executable, "-m", "workflows", *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("tsme: s3://bucket/denied: AWS Error ACCESS_DENIED"), done.stderr
    assert done.stderr.count("\n") == 1


def test_no_server_is_one_line(clean, capsys, tmp_path):
    clean.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    data, weights = str(tmp_path), "s3://bucket/stages"
    arguments = ["test", "--dataset", "regdb", "--data", data, "--resume", weights]
    assert "NETWORK_CONNECTION" in complaint(capsys, *arguments)


def test_data_are_generated_and_checked_in_a_bucket(bucket, capsys):
    uri = "s3://bucket/drawn"
    with pytest.raises(SystemExit) as stop:
        main(["data", "synth", uri, "--ids", "8", "--images", "2"])
    assert not stop.value.code
    with pytest.raises(SystemExit) as stop:
        main(["data", "check", "--dataset", "regdb", uri])
    assert not stop.value.code and f"{uri}: no faults" in capsys.readouterr().out
    assert "is not empty" in complaint(capsys, "data", "synth", uri, "--ids", "8")


def test_a_submitted_job_needs_an_mlflow_server(clean, tiny_config, bucket):
    clean.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    clean.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match=r"s3://bucket/job: .* MLFLOW_TRACKING_URI"):
        run(tiny_config, "nowhere", "s3://bucket/job")


def test_json_is_read_and_replaced(bucket):
    path = any_path("s3://bucket/json/file.json")
    for value in ({"a": 1}, {"b": [2]}):
        write_json(path, value)
        assert read_json(path) == value
    with pytest.raises(UserError, match=r"s3://bucket/json/none\.json: cannot be read"):
        read_json(path.with_name("none.json"))
    assert sorted(p.name for p in path.parent.glob("*.json")) == ["file.json"]
    assert replace(path).exists() and path.parent.is_dir() and not path.is_dir()
