import os
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from transfer_core.backbones.weights_reader import fit, read_tensors
from transfer_core.runtime.errors import ModelFileError


class Malicious:
    """Creates a file when it is unpickled, if anything lets it."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def network():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def names():
    return {f"published.{name}": name for name in network().state_dict()}


def test_reads_what_torch_saves(tmp_path):
    path = tmp_path / "x.pth"
    torch.save(network().state_dict(), path)
    assert list(read_tensors(path)) == list(network().state_dict())


def test_reads_safetensors(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.arange(3.0)}, path)
    assert torch.equal(read_tensors(path)["a"], torch.arange(3.0))


def test_reads_the_old_format_of_torch(tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"a": torch.arange(3.0)}, path, _use_new_zipfile_serialization=False)
    assert torch.equal(read_tensors(path)["a"], torch.arange(3.0))


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_reads_what_training_scripts_wrap_and_prefix(tmp_path, wrapper):
    path = tmp_path / "x.pth"
    torch.save({wrapper: {"module.a": torch.arange(3.0)}, "epoch": 7}, path)
    assert list(read_tensors(path)) == ["a"]


@pytest.mark.parametrize("how", ["zip", "old torch", "bare pickle"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, how):
    path, marker = tmp_path / "evil.pth", tmp_path / "marker"
    content = {"a": torch.zeros(1), "b": Malicious(marker)}
    if how == "bare pickle":
        path.write_bytes(pickle.dumps(Malicious(marker), protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
        assert zipfile.is_zipfile(path) == (how == "zip")
    with pytest.raises(ModelFileError) as raised:
        read_tensors(path)
    assert not marker.exists()
    assert str(raised.value) == (
        f"{path} is refused: it contains a pickled object ({os.system.__module__}.system), not only tensors. "
        "Fix: save the weights with torch.save(model.state_dict(), path) or as .safetensors"
    )
    pickle.loads(pickle.dumps(Malicious(marker)))  # the same object does its harm where pickle is trusted
    assert marker.exists()


def test_a_whole_model_is_refused(tmp_path):
    path = tmp_path / "model.pth"
    torch.save(network(), path)
    with pytest.raises(ModelFileError, match=r"pickled object \(torch\.nn\.modules\.container\.Sequential\)"):
        read_tensors(path)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 cut short"])
def test_other_files_are_errors_that_name_the_file(tmp_path, suffix, content):
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelFileError) as raised:
        read_tensors(path)
    assert str(raised.value).startswith(f"{path} ")
    assert "\n" not in str(raised.value)


def test_a_truncated_file_is_an_error(tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ModelFileError, match=r"x\.pth can't be read as weights: "):
        read_tensors(path)


@pytest.mark.parametrize("content", [torch.zeros(3), {"a": 1}, [torch.zeros(3)]])
def test_what_is_no_state_dict_is_an_error(tmp_path, content):
    path = tmp_path / "x.pth"
    torch.save(content, path)
    with pytest.raises(ModelFileError) as raised:
        read_tensors(path)
    remedy = "save the weights with torch.save(model.state_dict(), path)"
    assert str(raised.value) == f"{path} contains no state dict. Fix: {remedy}"


def test_fit_renames_converts_and_leaves_out():
    tensors = {f"published.{name}": t.half() for name, t in network().state_dict().items()}
    fitting = fit(network(), names(), {**tensors, "published.classifier": torch.zeros(9)}, "x")
    assert list(fitting) == list(network().state_dict())
    assert fitting["0.weight"].dtype == torch.float32  # torchvision publishes some files in float16
    assert fitting["1.num_batches_tracked"].dtype == torch.int64
    assert torch.equal(fitting["0.weight"], tensors["published.0.weight"].float())


def test_fit_understands_the_networks_own_names():
    tensors = network().state_dict()
    assert fit(network(), names(), tensors, "x").keys() == tensors.keys()


def test_fit_needs_no_counter_of_batches():
    tensors = network().state_dict()
    del tensors["1.num_batches_tracked"]
    assert fit(network(), names(), tensors, "x")["1.num_batches_tracked"] == 0


def test_fit_names_the_first_misfits():
    tensors = {"published.0.weight": torch.zeros(4, 2), "published.1.weight": torch.zeros(3)}
    with pytest.raises(ModelFileError) as raised:
        fit(network(), names(), tensors, "x.pth does not fit net")
    assert str(raised.value) == (
        "x.pth does not fit net: published.0.weight is (4, 2), not (3, 2), published.0.bias is missing, "
        "published.1.bias is missing, and 2 more"
    )
