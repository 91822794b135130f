"""A trained model in a file and back."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from tsme.errors import UserError
from tsme.models.checkpoint import (
    load_generators,
    load_model,
    read_provenance,
    save_generators,
    save_model,
)
from tsme.settings import override
from tsme.storage.tensors import DIGEST, save_tensors

CPU = torch.device("cpu")


@pytest.fixture
def saved(make_model, tmp_path: Path) -> Path:
    path = tmp_path / "trial01.safetensors"
    save_model(path, make_model())
    return path


def rewrite(path: Path, tensors=None, header=None) -> None:
    """Replace some of a file's tensors (None removes one) and of its header."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    state = {k: v for k, v in (load_file(path) | (tensors or {})).items() if v is not None}
    header = {k: v for k, v in (metadata | (header or {})).items() if v is not None and k != DIGEST}
    save_tensors(path, state, header)


def test_everything_returns_to_the_last_bit(make_model, saved):
    before, after = make_model(), load_model(saved, CPU)
    assert after.provenance == before.provenance == read_provenance(saved)
    for one, two in ((before.network, after.network), (before.generators, after.generators)):
        expected, got = one.state_dict(), two.state_dict()
        assert expected.keys() == got.keys()
        for name, value in expected.items():
            assert value.dtype == got[name].dtype and torch.equal(value, got[name]), name
    name = "streams.visible.0.backbone.bn1.num_batches_tracked"
    assert int(after.network.state_dict()[name]) == 11  # buffers too


def test_a_loaded_model_describes_as_the_saved_one(make_model, saved, noise):
    before, after = make_model(), load_model(saved, CPU)
    images = noise(3).float() / 127.5 - 1
    for modality in ("visible", "infrared"):
        pair = [m.network.embed(images, -images, modality) for m in (before, after)]
        torch.testing.assert_close(*pair, rtol=1e-5, atol=1e-6)
    pair = [m.generators.infrared_to_visible(images) for m in (before, after)]
    torch.testing.assert_close(*pair, rtol=1e-5, atol=1e-6)


def test_a_loaded_model_is_frozen_and_in_evaluation_mode(saved):
    model = load_model(saved, CPU)
    for network in (model.network, model.generators):
        assert not any(module.training for module in network.modules())
        assert not any(parameter.requires_grad for parameter in network.parameters())


def test_the_file_is_plain_safetensors(saved):
    """An 8-byte length and a JSON header, then numbers: nothing that is executed when read."""
    content = saved.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    metadata = header.pop("__metadata__")
    ends = [entry["data_offsets"][1] for entry in header.values()]
    assert len(content) == 8 + length + max(ends)
    assert json.loads(metadata["provenance"])["train_identities"] == [2, 5, 9]
    assert {name.split(".")[0] for name in header} == {"network", "generators"}


def test_saving_again_replaces_the_file_and_leaves_nothing_else(make_model, saved):
    save_model(saved, make_model(trial=4, identities=(1, 2)))
    assert read_provenance(saved).trial == 4
    assert list(saved.parent.iterdir()) == [saved]


def test_weights_that_would_be_fetched_are_not_needed_to_load(make_model, tmp_path):
    """A model trained from a weights file loads where that file is no longer."""
    model, path = make_model(), tmp_path / "model.safetensors"
    gone = {f"{stage}.backbone.weights": "/nowhere/resnet.safetensors" for stage in ("dsgan", "reid")}
    provenance = model.provenance.model_copy(update={"config": override(model.provenance.config, gone)})
    save_model(path, type(model)(provenance, model.network, model.generators))
    loaded = load_model(path, CPU)
    assert loaded.provenance == provenance
    weight = "streams.visible.0.backbone.conv1.weight"
    assert torch.equal(loaded.network.state_dict()[weight], model.network.state_dict()[weight])


@pytest.mark.parametrize("read", [read_provenance, lambda path: load_model(path, CPU)])
@pytest.mark.parametrize("keep", [0, 5, 200, 0.5, -1])
def test_a_truncated_file_is_a_user_error_that_names_it(saved, keep, read):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(keep * len(content)) if 0 < keep < 1 else keep])
    with pytest.raises(UserError, match=r"trial01\.safetensors"):
        read(saved)


@pytest.mark.parametrize("read", [read_provenance, lambda path: load_model(path, CPU)])
@pytest.mark.parametrize("content", [b"PK\x03\x04 a zip", b"\x80\x02}q\x00.", b"BM" + bytes(300)])
def test_another_kind_of_file_is_a_user_error_that_names_it(tmp_path, content, read):
    path = tmp_path / "picture.bmp"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"picture\.bmp"):
        read(path)


@pytest.mark.parametrize("read", [read_provenance, lambda path: load_model(path, CPU)])
def test_a_missing_file_or_a_folder_is_a_user_error_that_names_it(tmp_path, read):
    for path in (tmp_path / "absent.safetensors", tmp_path):
        with pytest.raises(UserError, match=f"{path.name}: no such file"):
            read(path)


@pytest.mark.parametrize(
    "header",
    [{"provenance": None}, {"provenance": "{}"}, {"provenance": "not json"}, {"format": "tsme-999"}],
)
def test_a_header_of_another_kind_is_a_user_error(saved, header):
    rewrite(saved, header=header)
    with pytest.raises(UserError, match=r"trial01\.safetensors: not a TSME trial model"):
        load_model(saved, CPU)


@pytest.mark.parametrize(
    "name",
    ["network.real_heads.0.classify.weight", "generators.infrared_to_visible.encoder.bn1.running_mean"],
)
@pytest.mark.parametrize("value", [None, torch.zeros(2, 7)])
def test_weights_that_do_not_fit_are_a_user_error(saved, name, value):
    rewrite(saved, tensors={name: value})
    with pytest.raises(UserError, match=r"trial01\.safetensors: weights do not fit"):
        load_model(saved, CPU)


def test_a_weight_too_many_is_a_user_error(saved):
    rewrite(saved, tensors={"network.eleventh_head.weight": torch.zeros(1)})
    with pytest.raises(UserError, match=r"trial01\.safetensors: weights do not fit"):
        load_model(saved, CPU)


def test_stage_one_returns_frozen_and_to_the_last_bit(make_model, tiny, noise, tmp_path):
    path, generators = tmp_path / "stage1.safetensors", make_model().generators
    generators.train().requires_grad_(True)
    images = {"visible": noise(5, 1), "infrared": noise(3, 2)}
    save_generators(path, generators, images)
    loaded, translations = load_generators(path, tiny, CPU)
    assert translations.keys() == images.keys()
    assert all(torch.equal(translations[m], images[m]) for m in images)
    for name, value in generators.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
    assert not any(module.training for module in loaded.modules())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_a_truncated_stage_one_file_is_a_user_error_that_names_it(make_model, tiny, noise, tmp_path):
    path = tmp_path / "stage1.safetensors"
    save_generators(path, make_model().generators, {"visible": noise(1), "infrared": noise(1)})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"stage1\.safetensors"):
        load_generators(path, tiny, CPU)
