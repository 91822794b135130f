"""Remote paths, tested with pyarrow's `local:` URIs of local files; a real run tests S3."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest
from pyarrow.fs import LocalFileSystem

from tsme.errors import JobFailed, UserError
from tsme.storage import object_store as remote
from tsme.storage.atomic import filling, read_json, reading, replacing, write_json
from tsme.storage.object_store import RemotePath, any_path


@pytest.fixture
def folder(tmp_path: Path) -> RemotePath:
    path = any_path(f"local://{tmp_path}/store")
    assert isinstance(path, RemotePath)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("text", ["runs/demo", "/shared/runs", ".", "a:b", "C:/runs", "odd/s3://x"])
def test_local_paths_are_kept(text):
    assert any_path(text) == Path(text)


def test_a_file_uri_is_a_local_path(tmp_path):
    assert any_path(f"file://{tmp_path}/with%20space") == tmp_path / "with space"


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("nowhere://bucket/run", "known are s3://"),
        ("fsspec+nowhere://bucket/run", "Protocol not known: nowhere"),
        ("s3:///run", "Missing bucket name"),
    ],
)
def test_an_unknown_store_is_a_user_error(uri, named):
    with pytest.raises(UserError, match=named):
        any_path(uri)


@pytest.mark.parametrize(
    "uri", ["s3://key:secret@bucket/run", "s3://bucket/run?secret=x", "s3://b/run#x"]
)
def test_a_uri_that_may_contain_a_secret_is_refused_and_not_printed(uri):
    with pytest.raises(UserError, match="AWS_SECRET_ACCESS_KEY") as refused:
        any_path(uri)
    assert "secret@" not in str(refused.value) and "=x" not in str(refused.value)


def test_a_uri_without_pyarrow_is_a_user_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.fs", None)
    remote._file_system.cache_clear()
    with pytest.raises(UserError, match=r"pyarrow"):
        any_path("s3://bucket/run")


def test_components_are_those_of_pathlib():
    path = RemotePath("s3://bucket/run") / "stages" / "trial01-abc.safetensors"
    assert str(path) == "s3://bucket/run/stages/trial01-abc.safetensors"
    assert (path.name, path.stem) == ("trial01-abc.safetensors", "trial01-abc")
    assert path.parent == RemotePath("s3://bucket/run/stages")
    assert path.with_name("other") == RemotePath("s3://bucket/run/stages/other")
    assert RemotePath("s3://bucket/") / "run" == RemotePath("s3://bucket/run")
    assert path.is_absolute() and path.resolve() == path
    assert pickle.loads(pickle.dumps(path)) == path


def test_existing_files_and_folders(folder, tmp_path):
    assert not folder.exists()
    (tmp_path / "store" / "below").mkdir(parents=True)
    for name in ("a.json", "b.json", "below/c.json"):
        (tmp_path / "store" / name).write_text("{}")
    assert folder.is_dir() and not folder.is_file()
    assert (folder / "a.json").is_file() and not (folder / "a.json").is_dir()
    assert sorted(path.name for path in folder.glob("*.json")) == ["a.json", "b.json"]
    assert list((folder / "none").glob("*")) == []
    assert sum(entry.is_file for entry in folder.entries(recursive=True)) == 3


def test_files_are_uploaded_and_downloaded(folder, tmp_path):
    path = folder / "new" / "value.json"
    for value in ({"a": 1}, [2]):
        write_json(path, value)
        assert read_json(path) == value
    assert names(tmp_path) == ["store/new/value.json"]
    with reading(path) as copy:
        assert copy.name == "value.json" and not copy.is_relative_to(tmp_path)
    assert not copy.exists()
    with pytest.raises(UserError, match=r"none\.json: cannot be read"):
        read_json(folder / "none.json")


def test_a_folder_is_uploaded_and_downloaded(folder, tmp_path):
    with filling(folder / "data") as here:
        (here / "deep" / "er").mkdir(parents=True)
        for name in ("one", "deep/two", "deep/er/three"):
            (here / name).write_text(name)
    assert names(tmp_path / "store" / "data") == ["deep/er/three", "deep/two", "one"]
    (folder / "data").download(tmp_path / "back")
    assert (tmp_path / "back" / "deep" / "er" / "three").read_text() == "deep/er/three"
    with filling(tmp_path / "local") as here:
        assert here == tmp_path / "local"


@pytest.mark.parametrize("raised", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [None, "old"])
def test_an_interrupted_writer_keeps_the_old_file(folder, tmp_path, raised, old):
    if old:
        write_json(folder / "file", old)
    before = names(tmp_path)
    with pytest.raises(raised), replacing(folder / "file") as temporary:
        temporary.write_text("half")
        raise raised
    assert names(tmp_path) == before
    assert not temporary.exists()


@pytest.mark.parametrize("raised", [OSError("cut"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", ["sending", "moving"])
def test_an_interrupted_upload_keeps_the_old_file(folder, tmp_path, monkeypatch, raised, at):
    write_json(folder / "file", "old")

    class Breaking:
        """A file system that fails half-way."""

        type_name = "s3"

        def __init__(self) -> None:
            self.real = LocalFileSystem()

        def __getattr__(self, name):
            return getattr(self.real, name)

        def open_output_stream(self, path):
            stream = self.real.open_output_stream(path)
            if at == "sending":
                stream.write(b"half")
                stream.close()
                raise raised
            return stream

        def move(self, source, target):
            raise raised

    monkeypatch.setattr(remote, "_file_system", lambda store: (Breaking(), ""))
    error = JobFailed if isinstance(raised, OSError) else KeyboardInterrupt
    with pytest.raises(error):
        write_json(folder / "file", "new")
    monkeypatch.undo()
    assert read_json(folder / "file") == "old"
    assert names(tmp_path) == ["store/file"]


def test_a_refusal_of_the_store_is_a_failed_job_that_names_the_file(folder, tmp_path):
    (tmp_path / "store").write_text("a file in place of the folder")
    with pytest.raises(JobFailed, match=r"store/results\.json: "):
        write_json(folder / "results.json", {})
    with pytest.raises(UserError, match="store/run"):
        (folder / "run").mkdir()
