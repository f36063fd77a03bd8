"""What goes into a saved model comes out again, copies included; what can't come out is not let in."""

import hashlib
import json
import os
import re
import struct
import subprocess
import sys

import msgspec
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from saved_model import HEADER, message_of, only_file_in, same, tensors
from transfer_core.model_file.format import (
    BackboneSource,
    read_header,
    read_model,
    without_backbone,
    write_model,
)
from transfer_core.runtime.errors import ConfigurationError, ModelFileError

# What goes in comes out.


def test_header_and_tensors_come_back(saved):
    header, arrays, _ = read_model(saved)
    assert header == HEADER
    assert read_header(saved) == HEADER
    same(arrays, tensors())


def test_a_regression_comes_back(tmp_path):
    header = msgspec.structs.replace(
        HEADER,
        task="regression",
        labels=("age",),
        state={"type": "regression", "mean": [38.5], "scale": [12.25]},
    )
    write_model(tmp_path / "age.transfer", tensors(), header)
    assert read_header(tmp_path / "age.transfer") == header


def test_torch_tensors_are_saved_as_they_are(tmp_path):
    linear = torch.nn.Linear(5, 3)
    given = {f"head.{name}": tensor for name, tensor in linear.named_parameters()}
    given["head.transposed"] = linear.weight.t()
    write_model(tmp_path / "m.transfer", given, HEADER)
    _, arrays, _ = read_model(tmp_path / "m.transfer")
    same(arrays, {name: tensor.detach().numpy() for name, tensor in given.items()})
    assert torch.equal(torch.from_numpy(arrays["head.transposed"]), linear.weight.t())


def test_row_order_and_byte_order_do_not_matter(tmp_path):
    plain = np.arange(6, dtype=np.float32).reshape(2, 3)
    odd = {"a": np.asfortranarray(plain), "b": plain.astype(">f4"), "c": plain[:, ::-1]}
    write_model(tmp_path / "m.transfer", odd, HEADER)
    same(read_model(tmp_path / "m.transfer")[1], {"a": plain, "b": plain, "c": plain[:, ::-1]})


def test_the_same_model_gives_the_same_bytes(saved, tmp_path):
    again = tmp_path / "again.transfer"
    write_model(again, dict(reversed(tensors().items())), HEADER)
    assert again.read_bytes() == saved.read_bytes()


def test_safetensors_itself_reads_the_file(saved, tmp_path):
    same(load_file(saved), tensors())
    write_model(tmp_path / "empty.transfer", {}, HEADER)
    assert load_file(tmp_path / "empty.transfer") == {}


def test_tensors_are_aligned_to_their_types(saved):
    data = saved.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    table = json.loads(data[8 : 8 + length])
    del table["__metadata__"]
    bits = {name: int(re.sub(r"\D", "", place["dtype"]) or 8) for name, place in table.items()}
    assert len(set(bits.values())) == 4
    assert all((8 + length + table[name]["data_offsets"][0]) * 8 % bits[name] == 0 for name in table)


def test_the_format_is_readable_from_its_description_alone(saved):
    data = saved.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    table = json.loads(data[8 : 8 + length])
    entry = table.pop("__metadata__")["transfer"]
    checked, digest = entry[: -len(',"sha256":""}') - 64], entry[-66:-2]
    assert hashlib.sha256(checked.encode()).hexdigest() == digest
    fields = json.loads(entry)
    assert fields["format_version"] == 2
    assert tuple(fields["labels"]) == HEADER.labels
    assert fields["metrics"]["accuracy"] == 0.1 + 0.2
    every = hashlib.sha256()
    for name, place in sorted(table.items()):
        begin, end = (8 + length + offset for offset in place["data_offsets"])
        shape = ",".join(str(n) for n in place["shape"])
        every.update(f"{name}\n{place['dtype']}\n{shape}\n".encode() + data[begin:end])
    assert every.hexdigest() == fields["tensors_sha256"]


def test_reading_a_header_takes_no_torch_and_no_tensor(saved):
    program = (
        "import sys; from transfer_core.model_file.format import read_header; "
        "print(read_header(sys.argv[1]).embedding_width, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(saved)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": "python"},
        timeout=30,
    )
    assert done.stdout == "1280 False\n", done.stderr
    data = bytearray(saved.read_bytes())
    data[-1] ^= 1
    saved.write_bytes(data)
    assert read_header(saved) == HEADER


def test_nan_in_the_metrics_becomes_null(tmp_path):
    write_model(tmp_path / "m.transfer", {}, msgspec.structs.replace(HEADER, metrics={"loss": float("nan")}))
    assert read_header(tmp_path / "m.transfer").metrics == {"loss": None}


# What can't be saved.


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (
            torch.zeros(2, dtype=torch.bfloat16),
            'can\'t save the tensor "head.w" of torch.bfloat16: '
            "a model file holds float64, float32, float16, int64, int32, int16, int8, uint8, bool",
        ),
        (
            np.array(["text"]),
            'can\'t save the tensor "head.w" of <U4: '
            "a model file holds float64, float32, float16, int64, int32, int16, int8, uint8, bool",
        ),
    ],
)
def test_a_tensor_of_another_type_is_refused(tmp_path, tensor, message):
    assert (
        message_of(ModelFileError, write_model, tmp_path / "m.transfer", {"head.w": tensor}, HEADER)
        == message
    )
    assert only_file_in(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embedding_width": None}, "embedding_width: expected `int`, got `null` (got nothing)"),
        ({"metrics": {"accuracy": np.float32(1)}}, "Encoding objects of type numpy.float32 is unsupported"),
        ({"embedding_width": 0}, "embedding_width: expected `int` >= 1 (got 0)"),
        ({"modality": "sound"}, "modality: invalid enum value 'sound' (got \"sound\")"),
    ],
)
def test_a_header_that_could_not_be_read_back_is_refused(tmp_path, change, message):
    header = msgspec.structs.replace(HEADER, **change)
    said = message_of(ModelFileError, write_model, tmp_path / "m.transfer", tensors(), header)
    assert said == f"this header can't be saved: {message}"
    assert only_file_in(tmp_path) == []


def test_a_header_that_is_too_long_is_refused(tmp_path):
    header = msgspec.structs.replace(HEADER, warnings=("x" * 50_000_000,))
    # Both digests with their names take 160 bytes more than the header alone.
    size = len(msgspec.json.encode(header)) + 160
    assert message_of(ModelFileError, write_model, tmp_path / "m.transfer", {}, header) == (
        f"this header can't be saved: it has {size:,} bytes, at most 50,000,000 fit; "
        "a confusion matrix of very many labels is the usual cause"
    )


# Small files.


def test_the_header_of_a_small_file():
    small = without_backbone(HEADER, "small.transfer")
    assert small.backbone == BackboneSource(
        name="mobilenet_v2", weights="IMAGENET1K_V1", weights_digest="b0353104", inside=False
    )
    assert msgspec.structs.replace(small, backbone=HEADER.backbone) == HEADER


@pytest.mark.parametrize(
    ("change", "why"),
    [({"fine_tuned": True}, "was fine-tuned"), ({"weights": "random"}, "has random weights")],
)
def test_a_backbone_that_exists_nowhere_else_stays_inside(change, why):
    backbone = msgspec.structs.replace(HEADER.backbone, **change)
    header = msgspec.structs.replace(HEADER, backbone=backbone)
    assert message_of(ConfigurationError, without_backbone, header, "small.transfer") == (
        f"can't save small.transfer without the backbone: mobilenet_v2 {why}, so its weights "
        "exist only in this model; save it with the backbone"
    )
