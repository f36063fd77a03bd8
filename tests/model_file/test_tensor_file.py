"""Containers that no writer of safetensors makes: each is refused, and none takes memory."""

import json
import os
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from saved_model import entry_of, message_of
from transfer_core.backbones.weights_reader import read_tensors
from transfer_core.model_file.format import read_header, read_model
from transfer_core.runtime.errors import ModelFileError


def container(header: str, tensors: bytes) -> bytes:
    raw = header.encode()
    return struct.pack("<Q", len(raw)) + raw + tensors


def tensor(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


A = tensor()
WRONG = {
    "an overlap": (
        {"a": A, "b": tensor(offsets=(4, 12))},
        12,
        'is damaged: the tensor "b" is at byte 4 instead of 8',
    ),
    "a gap": (
        {"a": A, "b": tensor(offsets=(12, 20))},
        20,
        'is damaged: the tensor "b" is at byte 12 instead of 8',
    ),
    "two at one place": ({"a": A, "b": A}, 8, 'is damaged: the tensor "b" is at byte 0 instead of 8'),
    "an end before its beginning": (
        {"a": tensor(offsets=(8, 0))},
        0,
        'is damaged: the tensor "a" is at byte 8 instead of 0',
    ),
    "another shape": (
        {"a": tensor(shape=(3,))},
        8,
        'is damaged: the tensor "a" has 8 bytes, F32 [3] 12',
    ),
    "a shape of 2^96 numbers": (
        {"a": tensor(shape=(2**48, 2**48))},
        8,
        f'is damaged: the tensor "a" has 8 bytes, F32 [{2**48}, {2**48}] {4 * 2**96:,}',
    ),
    "a negative size": (
        {"a": tensor(shape=(-1,))},
        8,
        'is damaged: the tensor "a": shape[0]: expected `int` >= 0 (got -1)',
    ),
    "a negative offset": (
        {"a": tensor(offsets=(-8, 8))},
        8,
        'is damaged: the tensor "a": data_offsets[0]: expected `int` >= 0 (got -8)',
    ),
    "an offset beyond the file": (
        {"a": tensor(shape=(2**40,), offsets=(0, 2**42))},
        8,
        "is cut short: {size:,} of {more:,} bytes are there",
    ),
    "33 dimensions": (
        {"a": tensor(shape=[1] * 33, offsets=(0, 4))},
        4,
        f'is damaged: the tensor "a": shape: expected `array` of length <= 32 (got {str([1] * 33)[:59]}…)',
    ),
    "a boolean of 2": (
        {"a": tensor("BOOL", (8,))},
        8,
        'is damaged: the tensor "a" of BOOL has values other than 0 and 1',
    ),
    "a type without a name": (
        {"a": tensor(7)},
        8,
        'is damaged: the tensor "a": dtype: expected `str`, got `int` (got 7)',
    ),
    "a place without a shape": (
        {"a": {"dtype": "F32", "data_offsets": [0, 8]}},
        8,
        'is damaged: the tensor "a": object missing required field `shape`',
    ),
    "metadata of numbers": (
        {"__metadata__": {"a": 1}},
        0,
        'is damaged: [...]: expected `str`, got `int` (got {{"a": 1}})',
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_container_that_contradicts_itself(kind, saved, tmp_path):
    """Under a header of ours and as a file of weights."""
    places, size, message = WRONG[kind]
    path = tmp_path / "odd.safetensors"
    if "__metadata__" not in places:
        places = {"__metadata__": {"transfer": entry_of(saved)}, **places}
    path.write_bytes(content := container(json.dumps(places), b"\2" * size))
    wanted = message.format(size=len(content), more=len(content) - size + 2**42)
    assert message_of(ModelFileError, read_model, path) == f"{path} {wanted}"
    assert message_of(ModelFileError, read_tensors, path) == f"{path} can't be read as weights: it {wanted}"


PLACE = '{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'


DEEP = "its lists and objects are nested too deeply"
GREEDY = {
    "a tensor twice": (f'{{"a":{PLACE},"a":{PLACE}}}', 'it has the name "a" twice'),
    "a field twice": (f'{{"a":{PLACE[:-1]},"dtype":"F32"}}}}', 'it has the name "dtype" twice'),
    "metadata twice": (
        f'{{"__metadata__":{{}},"a":{PLACE},"__metadata__":{{}}}}',
        'it has the name "__metadata__" twice',
    ),
    "deep lists": ('{"a":' + "[" * 50_000 + "]" * 50_000 + "}", DEEP),
    "deep objects": ('{"a":' + '{"b":' * 50_000 + "1" + "}" * 50_001, DEEP),
    "many objects": (
        "{" + ",".join(f'"{n}":{{}}' for n in range(500_000)) + "}",
        "it has 500,001 lists and objects, expected at most 500,000",
    ),
    "many names": (
        "{" + ",".join(f'"{n}":0' for n in range(1_000_001)) + "}",
        "its header has 1,000,001 fields, expected at most 1,000,000",
    ),
    "a large integer": (
        PLACE.join(['{"a":', "}"]).replace("[2]", f"[{10**30}]"),
        f"it has the integer {10**30}, which has more than 64 bits",
    ),
}


@pytest.mark.parametrize("kind", GREEDY)
def test_json_that_would_take_memory_or_that_readers_disagree_on(kind, tmp_path):
    header, what = GREEDY[kind]
    path = tmp_path / "odd.transfer"
    path.write_bytes(container(header, bytes(8)))
    for read in (read_header, read_model):
        assert message_of(ModelFileError, read, path) == f"{path} is damaged: {what}"


def test_special_files_are_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    for path in (tmp_path / "pipe.safetensors", tmp_path):
        assert "is not a file" in message_of(ModelFileError, read_model, path)
    what = message_of(ModelFileError, read_tensors, tmp_path / "pipe.safetensors")
    assert what.endswith("can't be read as weights: it is not a file")
    (tmp_path / "device.safetensors").symlink_to("/dev/zero")
    assert "is not a file" in message_of(ModelFileError, read_model, tmp_path / "device.safetensors")


def test_a_link_is_followed(saved, tmp_path):
    (tmp_path / "link.transfer").symlink_to(saved)
    assert read_model(tmp_path / "link.transfer")[0] == read_model(saved)[0]


def test_a_path_with_a_nul_is_no_file():
    for read in (read_header, read_model):
        assert message_of(ModelFileError, read, "a\0b") == "can't read a\\0b: the path has a NUL character"


def test_weights_of_all_types_are_read_as_safetensors_reads_them(tmp_path):
    from safetensors.torch import load_file

    generator = torch.Generator().manual_seed(0)
    floats = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    given = {f"f{i}": torch.randn(3, 5, generator=generator).to(dtype) for i, dtype in enumerate(floats)}
    given |= {f"e{i}": torch.ones(4).to(d) for i, d in enumerate((torch.float8_e4m3fn, torch.float8_e5m2))}
    whole = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
    given |= {f"i{i}": torch.tensor([[0], [1]]).to(dtype) for i, dtype in enumerate(whole)}
    given |= {"scalar": torch.tensor(7.0), "empty": torch.zeros(0, 3)}
    save_file(given, tmp_path / "w.safetensors")
    found, expected = read_tensors(tmp_path / "w.safetensors"), load_file(tmp_path / "w.safetensors")
    assert found.keys() == expected.keys() == given.keys()
    for name, tensor in found.items():
        assert (tensor.dtype, tensor.shape) == (expected[name].dtype, expected[name].shape)
        assert tensor.untyped_storage().tolist() == expected[name].untyped_storage().tolist()


def test_any_file_at_all_as_weights(tmp_path):
    rng = np.random.default_rng(0)
    contents = [b"", b"root:x:0:0", b"\x80\x02.", b"}q\0.", b"PK\3\4", *(rng.bytes(n) for n in range(1, 200))]
    for suffix in (".pth", ".safetensors"):
        for content in contents:
            path = tmp_path / f"w{suffix}"
            path.write_bytes(content)
            message_of(ModelFileError, read_tensors, path)
