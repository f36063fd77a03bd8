"""The saved model: what goes in comes out, what was damaged is noticed, and a failure leaves no trace."""

import hashlib
import json
import os
import pickle
import struct
import subprocess
import sys
import threading
import zipfile

import msgspec
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from transfer_core.errors import ConfigurationError, ModelFileError
from transfer_core.model_file import (
    BackboneSource,
    ModelHeader,
    TargetScaling,
    copy_model,
    copy_without_backbone,
    read_header,
    read_model,
    write_model,
)

HEADER = ModelHeader(
    task="classification",
    labels=("naïve", 'quo"te', "back\\slash", "日本", "\x01"),
    label_counts=(1, 2, 3, 1, 1),
    recipe={
        "backbone": "mobilenet_v2",
        "steps": [{"type": "train", "learning_rate": 1e-3}],
        "preset": "fast",
    },
    backbone=BackboneSource(name="mobilenet_v2", weights="IMAGENET1K_V1", weights_digest="b0353104"),
    embedding_width=1280,
    preprocessing={"size": 224, "mean": [0.485, 0.456, 0.406]},
    temperature=1.0 / 3.0,
    metrics={"accuracy": 0.1 + 0.2, "confusion_matrix": [[1, 2], [3, 4]]},
    history=({"number": 1, "loss": 5e-324},),
    sizes={"train": 8, "valid": 2, "test": 3},
    warnings=("few examples",),
    versions={"torch": "2.4.0"},
    data_fingerprint="c0ffee",
    created_at="2025-01-01T00:00:00Z",
)


def tensors():
    rng = np.random.default_rng(0)
    return {
        "head.weight": rng.normal(size=(3, 5)).astype(np.float32),
        "head.bias": np.zeros(3, np.float32),
        "backbone.bn.num_batches_tracked": np.array(7),
        "backbone.bn.mean": rng.normal(size=4).astype(np.float16),
        "backbone.empty": np.zeros((0, 3)),
        "backbone.mask": np.array([True, False]),
    }


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "signs.transfer"
    write_model(path, tensors(), HEADER)
    return path


def same(left, right):
    assert left.keys() == right.keys()
    for name, array in right.items():
        assert (left[name].dtype, left[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(left[name], array)


def only_file_in(folder):
    return [entry.name for entry in folder.iterdir()]


def message_of(error, call, *arguments):
    with pytest.raises(error) as raised:
        call(*arguments)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def entry_of(path):
    """The JSON entry as any safetensors reader sees it."""
    with safe_open(path, framework="np") as file:
        return file.metadata()["transfer"]


def resealed(entry, **changes):
    """The entry with other fields and a digest that is right again, as a newer writer would make it."""
    fields = json.loads(entry) | changes
    del fields["sha256"]
    sealed = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))[:-1]
    return sealed + f',"sha256":"{hashlib.sha256(sealed.encode()).hexdigest()}"}}'


# What goes in comes out.


def test_header_and_tensors_come_back(saved):
    header, arrays = read_model(saved)
    assert header == HEADER
    assert read_header(saved) == HEADER
    same(arrays, tensors())


def test_a_regression_comes_back(tmp_path):
    header = msgspec.structs.replace(
        HEADER, task="regression", labels=("age",), target_scaling=TargetScaling(mean=(38.5,), scale=(12.25,))
    )
    write_model(tmp_path / "age.transfer", tensors(), header)
    assert read_header(tmp_path / "age.transfer") == header


def test_torch_tensors_are_saved_as_they_are(tmp_path):
    linear = torch.nn.Linear(5, 3)
    given = {f"head.{name}": tensor for name, tensor in linear.named_parameters()}
    given["head.transposed"] = linear.weight.t()
    write_model(tmp_path / "m.transfer", given, HEADER)
    _, arrays = read_model(tmp_path / "m.transfer")
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


def test_the_format_is_readable_from_its_description_alone(saved):
    data = saved.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    table = json.loads(data[8 : 8 + length])
    entry = table.pop("__metadata__")["transfer"]
    sealed, digest = entry[: -len(',"sha256":""}') - 64], entry[-66:-2]
    assert hashlib.sha256(sealed.encode()).hexdigest() == digest
    fields = json.loads(entry)
    assert fields["format_version"] == 1
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
        "import sys; from transfer_core.model_file import read_header; "
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
        ({"temperature": float("nan")}, "Expected `float`, got `null` - at `$.temperature`"),
        ({"metrics": {"accuracy": np.float32(1)}}, "Encoding objects of type numpy.float32 is unsupported"),
        ({"task": "clustering"}, "Invalid enum value 'clustering' - at `$.task`"),
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


# Where it can't be saved.


def test_a_missing_folder_is_named(tmp_path):
    path = tmp_path / "no" / "m.transfer"
    assert message_of(ConfigurationError, write_model, path, tensors(), HEADER) == (
        f"can't save to {path}: there is no folder {tmp_path / 'no'}; make it first"
    )


def test_a_folder_is_not_overwritten(tmp_path):
    assert message_of(ConfigurationError, write_model, tmp_path, tensors(), HEADER) == (
        f"can't save to {tmp_path}: it is a folder; add the name of a file"
    )


def test_a_name_that_is_too_long_is_refused(tmp_path):
    path = tmp_path / ("x" * 300)
    assert message_of(ConfigurationError, write_model, path, tensors(), HEADER) == (
        f"can't save to {path}: File name too long"
    )
    assert only_file_in(tmp_path) == []


IN_A_CHILD = """
import os, resource, sys
import numpy as np
from tests_header import HEADER
from transfer_core.errors import TransferError
from transfer_core.model_file import write_model
{limit}
try:
    write_model(sys.argv[1], {{"head.weight": np.zeros(1_000_000, np.float32)}}, HEADER)
except TransferError as error:
    print(type(error).__name__, error, sep=": ")
"""


def write_in_a_child(path, limit, scratch):
    """Save 4 MB from a process that is held back by `limit`; its one line of output."""
    (scratch / "tests_header.py").write_text(
        "import msgspec\nfrom transfer_core.model_file import ModelHeader\n"
        f"HEADER = msgspec.json.decode({msgspec.json.encode(HEADER)!r}, type=ModelHeader)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CHILD.format(limit=limit), str(path)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": f"python{os.pathsep}{scratch}"},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("scratch")


def test_a_disk_without_room_leaves_the_old_file(saved, scratch):
    before = saved.read_bytes()
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))"
    said = write_in_a_child(saved, limit, scratch)
    assert said.startswith(f"ConfigurationError: can't save to {saved}: ")
    assert "File too large (os error 27)" in said
    assert saved.read_bytes() == before
    assert only_file_in(saved.parent) == ["signs.transfer"]


def test_a_folder_without_permission_is_named(tmp_path, scratch):
    # Permissions don't bind root, so the child becomes someone else.
    limit = "os.chmod(os.path.dirname(sys.argv[1]), 0o500); os.getuid() or os.setuid(65534)"
    path = tmp_path / "m.transfer"
    said = write_in_a_child(path, limit, scratch)
    tmp_path.chmod(0o700)
    assert said == f"ConfigurationError: can't save to {path}: Permission denied\n"
    assert only_file_in(tmp_path) == []


def test_an_unfinished_save_leaves_nothing(saved, monkeypatch):
    def interrupted(source, target):
        raise KeyboardInterrupt

    before = saved.read_bytes()
    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_model(saved, {}, HEADER)
    assert saved.read_bytes() == before
    assert only_file_in(saved.parent) == ["signs.transfer"]


def test_a_reader_sees_the_old_or_the_new_model_never_half_of_one(saved):
    models = [tensors() | {"head.big": np.full(50_000, n, np.float32)} for n in range(10)]
    writer = threading.Thread(target=lambda: [write_model(saved, model, HEADER) for model in models])
    writer.start()
    reads = 0
    while writer.is_alive():
        assert read_header(saved) == HEADER
        reads += 1
    writer.join()
    assert reads > 0
    same(read_model(saved)[1], models[-1])
    assert only_file_in(saved.parent) == ["signs.transfer"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_model(tmp_path / "m.transfer", {}, HEADER)
    finally:
        os.umask(before)
    assert (tmp_path / "m.transfer").stat().st_mode & 0o777 == mode


def test_a_link_stays_a_link(saved, tmp_path):
    link = tmp_path / "latest.transfer"
    link.symlink_to(saved)
    write_model(link, {}, HEADER)
    assert link.is_symlink()
    assert read_model(saved)[1] == {}


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
            "this version reads up to 1: upgrade transfer-rb"
        )


def test_new_fields_of_the_same_format_are_ignored(saved):
    entry = resealed(entry_of(saved), colour="blue", labels=["a", "b"])
    save_file(tensors(), saved, metadata={"transfer": entry})
    header, arrays = read_model(saved)
    assert header == msgspec.structs.replace(HEADER, labels=("a", "b"))
    same(arrays, tensors())


def test_a_sealed_header_that_lacks_a_field_is_damage(saved):
    save_file(tensors(), saved, metadata={"transfer": resealed(entry_of(saved), labels=None)})
    assert message_of(ModelFileError, read_model, saved) == (
        f"{saved} is damaged: Expected `array`, got `null` - at `$.labels`"
    )


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


# Copies.


def test_a_copy_is_the_same_bytes_in_a_file_of_its_own(saved, tmp_path):
    copy = tmp_path / "copy.transfer"
    copy_model(saved, copy)
    assert copy.read_bytes() == saved.read_bytes()
    assert copy.stat().st_ino != saved.stat().st_ino
    saved.unlink()
    assert read_header(copy) == HEADER


def test_a_copy_onto_itself_changes_nothing(saved):
    before = saved.read_bytes()
    copy_model(saved, saved)
    assert saved.read_bytes() == before


def test_a_damaged_model_is_not_copied(saved, tmp_path):
    data = bytearray(saved.read_bytes())
    data[-1] ^= 1
    saved.write_bytes(data)
    assert message_of(ModelFileError, copy_model, saved, tmp_path / "copy.transfer") == (
        f"{saved} is damaged: its weights are not those that were saved"
    )
    assert only_file_in(tmp_path) == ["signs.transfer"]


def test_a_copy_without_the_backbone_keeps_the_head(saved, tmp_path):
    small = tmp_path / "small.transfer"
    copy_without_backbone(saved, small)
    header, arrays = read_model(small)
    assert header.backbone == BackboneSource(
        name="mobilenet_v2", weights="IMAGENET1K_V1", weights_digest="b0353104", inside=False
    )
    assert msgspec.structs.replace(header, backbone=HEADER.backbone) == HEADER
    same(arrays, {name: array for name, array in tensors().items() if name.startswith("head.")})
    copy_without_backbone(small, tmp_path / "again.transfer")
    assert (tmp_path / "again.transfer").read_bytes() == small.read_bytes()


@pytest.mark.parametrize(
    ("change", "why"),
    [({"fine_tuned": True}, "was fine-tuned"), ({"weights": "random"}, "has random weights")],
)
def test_a_backbone_that_exists_nowhere_else_stays_inside(tmp_path, change, why):
    backbone = msgspec.structs.replace(HEADER.backbone, **change)
    source, target = tmp_path / "m.transfer", tmp_path / "small.transfer"
    write_model(source, tensors(), msgspec.structs.replace(HEADER, backbone=backbone))
    assert message_of(ConfigurationError, copy_without_backbone, source, target) == (
        f"can't save {target} without the backbone: mobilenet_v2 {why}, so its weights "
        "exist only in this model; save it with the backbone"
    )
    assert only_file_in(tmp_path) == ["m.transfer"]
