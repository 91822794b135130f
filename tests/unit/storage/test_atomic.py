"""Atomic writes: a file appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tsme.errors import UserError
from tsme.storage.atomic import read_json, replacing, write_json


def test_a_file_appears_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "new" / "folder" / "file.txt"
    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_weights_get_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "new").touch()
    with replacing(tmp_path / "weights") as temporary:
        save_file({"weight": torch.zeros(2)}, temporary)
    assert (tmp_path / "weights").stat().st_mode == (tmp_path / "new").stat().st_mode


def test_old_content_is_replaced(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old and longer")
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_a_reader_of_the_old_file_can_read_to_its_end(tmp_path):
    """The old file is replaced by a rename, not overwritten."""
    path = tmp_path / "file.txt"
    path.write_text("old")
    with path.open() as reader:
        with replacing(path) as temporary:
            temporary.write_text("new")
        assert reader.read() == "old"


@pytest.mark.parametrize("raised", [RuntimeError, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("old", [None, "old"])
def test_an_interrupted_writer_keeps_the_old_file(tmp_path, raised, old):
    path = tmp_path / "file.txt"
    if old:
        path.write_text(old)
    with pytest.raises(raised), replacing(path) as temporary:
        temporary.write_text("half")
        raise raised
    assert [p.read_text() for p in tmp_path.iterdir()] == ([old] if old else [])


def test_a_full_disk_is_a_user_error_that_names_the_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    message = r"file\.txt: cannot be written.*No space"
    with pytest.raises(UserError, match=message), replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_a_writer_that_wrote_nothing_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="nothing"), replacing(tmp_path / "nothing"):
        pass


@pytest.mark.parametrize("below", ["file.json", "folder/file.json"])
def test_a_file_in_place_of_the_folder_is_a_user_error(tmp_path, below):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match=r"taken/.*cannot be written"):
        write_json(tmp_path / "taken" / below, {})
    assert (tmp_path / "taken").read_text() == "a file"


def test_a_folder_in_place_of_the_file_is_a_user_error(tmp_path):
    (tmp_path / "taken" / "inside").mkdir(parents=True)
    with pytest.raises(UserError, match="taken: cannot be written"):
        write_json(tmp_path / "taken", {})
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_two_writers_do_not_share_a_temporary_name(tmp_path):
    path = tmp_path / "file.txt"
    with replacing(path) as one, replacing(path) as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert path.read_text() == "one"  # whose block ends last


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_of_nan_and_infinity_is_refused(tmp_path, value):
    path = tmp_path / "results.json"
    write_json(path, {"mAP": 0.5})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"mAP": [0.1, value]})
    assert read_json(path) == {"mAP": 0.5}
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_read_as_it_was_written(tmp_path):
    value = {"name": "visible→infrared", "rows": [1, 0.1, None, True], "empty": {}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "visible→infrared" in text and text.endswith("\n")


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe\x00", b"{} {}"])
def test_damaged_json_is_a_user_error_that_names_the_file(tmp_path, content):
    path = tmp_path / "damaged.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged\.json: not a JSON file"):
        read_json(path)


def test_missing_json_is_a_user_error_that_names_the_file(tmp_path):
    with pytest.raises(UserError, match=r"absent\.json: cannot be read \(No such file"):
        read_json(Path(tmp_path) / "absent.json")
