"""`tsme index` and `tsme search` as typed: what is printed and written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from workflows.cli.main import main


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit status, output and standard error of a command."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


@pytest.fixture
def query(gallery_folder: Path) -> Path:
    return gallery_folder / "a" / "1.png"


def test_an_index_is_built_and_searched(capsys, gallery_folder, model_file, query, tmp_path):
    (gallery_folder / "broken.jpg").write_bytes(b"x")
    index = tmp_path / "index"
    status, output, _ = run(capsys, "index", gallery_folder, "--model", model_file, "--out", index)
    assert status == 0
    assert "6 images, 3 visible, 3 infrared (told by the images: three equal channels" in output
    assert "note: 1 of 7 images cannot be read" in output and "unreadable.jsonl" in output
    files = {"--json": tmp_path / "list.json", "--sheet": tmp_path / "sheet.png"}
    written = [argument for pair in files.items() for argument in pair]
    common = ("search", "--model", model_file, "--gallery", index, "--query", query, "--top", 3)
    status, output, _ = run(capsys, *common, *written)
    assert status == 0 and "1.png, visible (its channels are not equal)" in output
    listed = json.loads(files["--json"].read_text())
    assert [match["rank"] for match in listed["matches"]] == [1, 2, 3]
    assert listed["matches"][0]["path"] == "a/1.png" and listed["model"] == "key1"
    with Image.open(files["--sheet"]) as sheet:
        assert sheet.width == 4 * 160 + 16
    status, output, _ = run(capsys, *common, "--rerank", "--modality", "infrared")
    assert status == 0 and "re-ranked" in output and "1.png, infrared " in output
    status, _, error = run(capsys, *common, "--approximate")
    assert status == 2 and "has no approximate index" in error


def test_a_folder_is_indexed_once(capsys, gallery_folder, model_file, query):
    command = (
        "search",
        "--model",
        model_file.parent,
        "--gallery",
        gallery_folder / "a",
        "--query",
        query,
    )
    status, output, _ = run(capsys, *command)
    assert status == 0 and "3 images, 3 visible" in output
    (folder,) = (model_file.parent / "cache").glob("index-*")
    built = (folder / "index.json").stat().st_mtime_ns
    run(capsys, *command)
    assert (folder / "index.json").stat().st_mtime_ns == built


def test_a_trial_without_weights_is_named(capsys, gallery_folder, model_file, query):
    command = ("search", "--model", model_file.parent, "--gallery", gallery_folder, "--query", query)
    status, _, error = run(capsys, *command, "--trial", 7)
    assert status == 2 and "--trial 7" in error and "holds weights of trials 1" in error
