"""What is no saved model, a newer one, or a damaged one is told as that."""

import json
import os
import pickle
import struct
import zipfile

import msgspec
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from saved_model import HEADER, entry_of, message_of, same, tensors, with_checksum
from transfer_core.model_file import format as model_file
from transfer_core.model_file.format import read_header, read_model, write_model
from transfer_core.runtime.errors import ModelFileError

# What is not a model.


def not_models(folder):
    made = {}

    def make(name, content):
        made[name] = folder / name
        made[name].write_bytes(content)

    make("text.transfer", b"hello, this is not a model, it only has the name of one")
    make("html.transfer", b"<html><body>404</body></html>")
    make("pickle.pth", pickle.dumps({"weight": [1.0, 2.0]}))
    torch.save({"weight": torch.zeros(2)}, folder / "torch.pth")
    made["torch.pth"] = folder / "torch.pth"
    made["archive.zip"] = folder / "archive.zip"
    with zipfile.ZipFile(made["archive.zip"], "w") as archive:
        archive.writestr("a.txt", "a")
    make("zeros.transfer", bytes(1000))
    make("no header.transfer", struct.pack("<Q", 0) + b"{" + bytes(100))
    make("short.transfer", b"\x10\0\0")
    make("header bomb.transfer", struct.pack("<Q", 2**62) + b'{"__metadata__":{}}')
    make("header of 2 GB.transfer", struct.pack("<Q", 2**31) + b"{" + bytes(100))
    return made


def test_other_files_are_refused(tmp_path):
    made = not_models(tmp_path)
    assert len(made) == 10
    for path in made.values():
        for read in (read_header, read_model):
            assert message_of(ModelFileError, read, path) == (
                f"{path} is not a saved model: it is no safetensors file, or cut short"
            )


def test_a_header_longer_than_its_file_is_refused(tmp_path):
    path = tmp_path / "m.transfer"
    path.write_bytes(struct.pack("<Q", 90_000_000) + b'{"__metadata__":{}}')
    assert message_of(ModelFileError, read_header, path) == (
        f"{path} is cut short: 19 of the header's 90,000,000 bytes are there"
    )


def test_missing_empty_and_special_files_are_named(tmp_path):
    missing, empty, pipe = tmp_path / "no.transfer", tmp_path / "empty.transfer", tmp_path / "pipe"
    empty.touch()
    os.mkfifo(pipe)
    assert message_of(ModelFileError, read_model, missing) == f"there is no file {missing}"
    assert message_of(ModelFileError, read_model, empty) == f"{empty} is empty"
    assert message_of(ModelFileError, read_model, pipe) == f"{pipe} is not a file, a saved model is one"
    assert (
        message_of(ModelFileError, read_model, tmp_path) == f"{tmp_path} is not a file, a saved model is one"
    )
    assert (
        message_of(ModelFileError, read_model, "/dev/zero") == "/dev/zero is not a file, a saved model is one"
    )
    below = empty / "m.transfer"
    assert message_of(ModelFileError, read_model, below) == f"can't read {below}: Not a directory"


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_a_safetensors_file_of_someone_else_is_told_apart(tmp_path, metadata):
    path = tmp_path / "other.safetensors"
    save_file({"w": np.zeros(3)}, path, metadata=metadata)
    assert message_of(ModelFileError, read_model, path) == (
        f"{path} is a safetensors file, but was not saved by Transfer"
    )


@pytest.mark.parametrize(
    "entry",
    ["", "{}", "[]", "null", "not json", '{"format_version":"1"}', "[" * 100_000, '{"a":' * 100_000],
    ids=["empty", "no fields", "list", "null", "text", "version of another type", "deep list", "deep object"],
)
def test_an_entry_that_is_not_ours_is_damage(tmp_path, entry):
    path = tmp_path / "m.transfer"
    save_file({"w": np.zeros(3)}, path, metadata={"transfer": entry})
    assert message_of(ModelFileError, read_header, path).startswith(f"{path} is damaged: ")


@pytest.mark.parametrize(
    "json_header", [b'{"a":' * 200_000, b'{"a":' + b"[" * 200_000, b'{"__metadata__":[]}']
)
def test_a_strange_json_header_is_damage(tmp_path, json_header):
    path = tmp_path / "m.transfer"
    json_header += b"}"
    path.write_bytes(struct.pack("<Q", len(json_header)) + json_header)
    assert message_of(ModelFileError, read_header, path).startswith(f"{path} is damaged: ")


# What is newer.


def test_a_newer_format_asks_for_an_upgrade(saved):
    save_file({}, saved, metadata={"transfer": '{"format_version":3,"all":"different"}'})
    for read in (read_header, read_model):
        assert message_of(ModelFileError, read, saved) == (
            f"{saved} was saved by a newer version (format 3); "
            "this version reads up to 2: upgrade transfer-rb"
        )


def test_new_fields_of_the_same_format_are_ignored(saved):
    entry = with_checksum(entry_of(saved), colour="blue", labels=["a", "b"])
    save_file(tensors(), saved, metadata={"transfer": entry})
    header, arrays, _ = read_model(saved)
    assert header == msgspec.structs.replace(HEADER, labels=("a", "b"))
    same(arrays, tensors())


def test_a_type_that_numpy_lacks_is_named(saved):
    entry = entry_of(saved)
    table = {
        "__metadata__": {"transfer": entry},
        "w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
    }
    raw = json.dumps(table).encode()
    saved.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(4))
    assert message_of(ModelFileError, read_model, saved) == (
        f"{saved} holds tensors of the type BF16, which this version can't read"
    )


# What was damaged.


def test_a_file_cut_anywhere_is_noticed(saved):
    data = saved.read_bytes()
    tensors_begin = 8 + struct.unpack("<Q", data[:8])[0]
    edges = {1, 7, 8, 9, tensors_begin - 1, tensors_begin, tensors_begin + 1, len(data) - 1}
    for length in edges | set(range(0, len(data), 13)):
        saved.write_bytes(data[:length])
        for read in (read_header, read_model):
            with pytest.raises(ModelFileError, match=r"is empty|cut short"):
                read(saved)


def test_a_file_with_more_at_its_end_is_noticed(saved):
    size = saved.stat().st_size
    with saved.open("ab") as file:
        file.write(b"more")
    assert message_of(ModelFileError, read_header, saved) == (
        f"{saved} is damaged: it has {size + 4:,} bytes instead of {size:,}"
    )


def test_a_byte_changed_anywhere_is_noticed(saved):
    data = saved.read_bytes()
    rng = np.random.default_rng(0)
    tensors_begin = 8 + struct.unpack("<Q", data[:8])[0]
    edges = {*range(12), *range(tensors_begin - 10, tensors_begin + 4), len(data) - 1}
    for position in edges | set(rng.choice(len(data), 300, replace=False).tolist()):
        # One bit, any other byte, and a blank: the change a JSON parser is most likely to overlook.
        for byte in {data[position] ^ (1 << int(rng.integers(8))), int(rng.integers(256)), 9} - {
            data[position]
        }:
            saved.write_bytes(data[:position] + bytes([byte]) + data[position + 1 :])
            with pytest.raises(ModelFileError):
                read_model(saved)


def test_an_altered_label_is_noticed_without_reading_the_tensors(saved):
    data = saved.read_bytes()
    saved.write_bytes(data.replace("日本".encode(), "日木".encode()))
    assert message_of(ModelFileError, read_header, saved) == (
        f"{saved} is damaged: its header is not the one that was saved"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t | {"head.bias": t["head.bias"] + 1},
        lambda t: t | {"head.bias": t["head.bias"].view(np.int32)},
        lambda t: t | {"head.weight": t["head.weight"].reshape(5, 3)},
        lambda t: t | {"head.more": np.zeros(1)},
        lambda t: {name: array for name, array in t.items() if name != "head.bias"},
        lambda t: {name.replace("head", "tail"): array for name, array in t.items()},
    ],
    ids=["value", "type", "shape", "one more", "one less", "names"],
)
def test_other_tensors_under_the_same_header_are_noticed(saved, change):
    save_file(change(tensors()), saved, metadata={"transfer": entry_of(saved)})
    assert message_of(ModelFileError, read_model, saved) == (
        f"{saved} is damaged: its weights are not those that were saved"
    )


def test_a_file_that_is_exchanged_while_it_is_read_is_read_to_its_end(saved, tmp_path, monkeypatch):
    other = tmp_path / "other.transfer"
    write_model(
        other,
        {"head.weight": np.ones(2)},
        msgspec.structs.replace(HEADER, labels=("a", "b")),
    )
    decode_entry = model_file.decode_entry

    def exchanged(entry, path):
        other.replace(saved)
        return decode_entry(entry, path)

    monkeypatch.setattr(model_file, "decode_entry", exchanged)
    header, arrays, _ = read_model(saved)
    assert header == HEADER
    same(arrays, tensors())
