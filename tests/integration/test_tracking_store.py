"""MLflow runs in a SQLite store: opened by several processes, edited by hand, moved with the project."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from tsme.errors import UserError
from workflows.tracking.runs import check_store, experiment_name, open_parent_run
from workflows.tracking.server import sqlite_file, tracking_uri

FIRST_START = """
import sys
from workflows.tracking.server import connect
print("ready", flush=True)
sys.stdin.readline()
with connect(sys.argv[1]) as client:
    client.search_experiments()
"""


@pytest.fixture
def open_run(in_folder: Path, empty_store: Path, tiny_config, tiny_data):
    shutil.copy(empty_store, in_folder)

    def open_run(run_id: str | None = None):
        return open_parent_run(tracking_uri(in_folder), tiny_config, "run demo", tiny_data, "abc", run_id)

    return open_run


def test_several_processes_create_one_store(in_folder: Path):
    """Without a lock, MLflow's migrations fail with "table ... already exists"."""
    command = [sys.executable, "-c", FIRST_START, tracking_uri(in_folder / "new")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(3)]
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    assert [file.name for file in (in_folder / "new").iterdir()] == ["mlflow.db"]


def test_runs_have_a_user_a_source_a_commit_and_a_description(open_run, tiny_data):
    run = open_run()
    child = run.child("stage", "stage 1", {})
    client = MlflowClient(run.uri)
    tags = client.get_run(run.run_id).data.tags
    assert tags["mlflow.note.content"] == f"`tsme run demo` on {tiny_data} (fingerprint abc)"
    for tagged in (tags, client.get_run(child.run_id).data.tags):
        assert tagged["mlflow.user"] and tagged["mlflow.source.name"] == "tsme"
        assert tagged["mlflow.source.type"] == "LOCAL"
        assert tags["git_revision"].startswith(tagged["mlflow.source.git.commit"])


def test_more_than_one_page_of_children_is_closed(open_run, monkeypatch: pytest.MonkeyPatch):
    run = open_run()
    for number in range(5):
        run.child(f"sample {number}", f"sample {number}", {})
    search = MlflowClient.search_runs

    def search_by_twos(self, experiments, filter_string, **options):
        return search(self, experiments, filter_string, max_results=2, **options)

    monkeypatch.setattr(MlflowClient, "search_runs", search_by_twos)
    run.close_running_children("FINISHED")
    monkeypatch.undo()
    children = MlflowClient(run.uri).search_runs([run.experiment_id], "tags.tsme.key LIKE 'sample%'")
    assert [child.info.status for child in children] == ["FINISHED"] * 5


def test_a_deleted_experiment_is_named_with_how_to_restore_it(open_run, tiny_config):
    run = open_run()
    check_store(run.uri, "tsme-regdb")
    client = MlflowClient(run.uri)
    client.delete_experiment(run.experiment_id)
    with pytest.raises(
        UserError, match=r"experiment tsme-regdb of sqlite:.* is deleted: restore it with"
    ) as e:
        check_store(run.uri, experiment_name(tiny_config))
    command = str(e.value).split("`")[1].split()
    env = {"MLFLOW_TRACKING_URI": run.uri}
    subprocess.run([sys.executable, "-m", *command], env=env, check=True, capture_output=True)
    check_store(run.uri, "tsme-regdb")


def test_the_experiment_of_mlflows_variable_is_used(open_run, tiny_config, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    run = open_run()
    assert (
        MlflowClient(run.uri).get_experiment(run.experiment_id).name
        == experiment_name(tiny_config)
        == "mine"
    )


def test_a_deleted_run_is_named_with_how_to_restore_it(open_run):
    run = open_run()
    assert open_run(run.run_id) == run
    MlflowClient(run.uri).delete_run(run.run_id)
    with pytest.raises(UserError, match=f"cannot continue MLflow run {run.run_id} .*mlflow runs restore"):
        open_run(run.run_id)


def test_a_store_that_does_not_exist_is_not_created_by_a_check(in_folder: Path):
    check_store(tracking_uri(in_folder), "tsme-regdb")
    assert not list(in_folder.iterdir())


def test_a_moved_project_is_named_with_a_link_that_mends_it(
    open_run, in_folder: Path, tiny_config, tiny_data
):
    run = open_run()
    new = in_folder.with_name("new")
    in_folder.rename(new)
    moved = tracking_uri(new)
    with pytest.raises(UserError, match=rf"keeps its artifacts in {in_folder}, .*ln -s NEW {in_folder}$"):
        check_store(moved, "tsme-regdb")
    with pytest.raises(UserError, match=rf"^{in_folder}/mlflow.db: .*ln -s NEW {in_folder}$"):
        tracking_uri(new, previous=run.uri)
    assert not in_folder.exists()
    in_folder.symlink_to(new)
    check_store(moved, "tsme-regdb")
    uri = tracking_uri(new, previous=run.uri)
    assert open_parent_run(uri, tiny_config, "run demo", tiny_data, "abc", run.run_id) == run


def test_a_store_of_another_mlflow_version_is_a_user_error(open_run, in_folder: Path):
    run = open_run()
    with sqlite3.connect(sqlite_file(run.uri)) as database:
        database.execute("UPDATE alembic_version SET version_num = 'cfd24bdc0731'")
    done = subprocess.run(
        [sys.executable, "-c", FIRST_START, run.uri], input="\n", capture_output=True, text=True
    )
    assert done.returncode == 1 and "tsme.errors.UserError: MLflow at sqlite:" in done.stderr, done.stderr
