"""Every vector of docs/reference/protocol_vectors.json, read and written."""

from __future__ import annotations

import importlib.util
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transfer_core.runtime.errors import ProtocolError
from transfer_core.worker import protocol
from transfer_core.worker.protocol import Message, Notification, Request, Response
from transfer_core.worker.tensors import Tensor, TensorBlock

FILE = Path(__file__).parents[2] / "docs" / "reference" / "protocol_vectors.json"
VECTORS = json.loads(FILE.read_text("utf-8"))
GOOD = [vector for vector in VECTORS if "value" in vector]
MALFORMED = [vector for vector in VECTORS if "error" in vector]


def by_name(vectors: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


def read(data: bytes) -> Message:
    content = protocol.read_frame(io.BytesIO(data))
    assert content is not None
    return protocol.parse_message(content)


def to_list(message: Message) -> list[Any]:
    match message:
        case Request(id, method, params):
            return [0, id, method, params]
        case Response(id, error, result):
            return [1, id, error, result]
        case Notification(method, params):
            return [2, method, params]


def from_notation(value: Any) -> Any:
    match value:
        case {"$bin": digits}:
            return bytes.fromhex(digits)
        case {"$float": name}:
            return float(name)
        case {"$tensor": {"dtype": dtype, "shape": shape, "bytes": digits}}:
            return Tensor(dtype, tuple(shape), bytes.fromhex(digits))
        case {"$tensor_block": {"dtype": dtype, "shape": shape, "offset": offset}}:
            return TensorBlock(dtype, tuple(shape), offset)
        case dict():
            return {key: from_notation(inner) for key, inner in value.items()}
        case list():
            return [from_notation(inner) for inner in value]
    return value


def assert_identical(actual: Any, expected: Any) -> None:
    """Equal and of the same type at every level; NaN equals NaN, -0.0 is not 0.0."""
    assert type(actual) is type(expected)
    match expected:
        case dict():
            assert list(actual) == list(expected)
            for key in expected:
                assert_identical(actual[key], expected[key])
        case list():
            assert len(actual) == len(expected)
            for left, right in zip(actual, expected, strict=True):
                assert_identical(left, right)
        case float():
            assert math.isnan(actual) if math.isnan(expected) else actual == expected
            assert math.copysign(1, actual) == math.copysign(1, expected)
        case _:
            assert actual == expected


def test_the_file_holds_every_vector() -> None:
    assert (len(GOOD), len(MALFORMED)) == (39, 43)
    assert len({vector["name"] for vector in VECTORS}) == len(VECTORS)


def test_the_file_is_what_the_script_writes() -> None:
    script = Path(__file__).with_name("make_protocol_vectors.py")
    spec = importlib.util.spec_from_file_location("make_protocol_vectors", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.FILE.read_text("utf-8") == module.render()


@by_name(GOOD)
def test_reads(vector: dict[str, Any]) -> None:
    assert_identical(to_list(read(bytes.fromhex(vector["hex"]))), from_notation(vector["value"]))


@by_name([vector for vector in GOOD if vector["canonical"]])
def test_writes(vector: dict[str, Any]) -> None:
    kind, *parts = from_notation(vector["value"])
    render = (protocol.render_request, protocol.render_response, protocol.render_notification)[kind]
    assert render(*parts).hex() == vector["hex"]


@by_name(MALFORMED)
def test_refuses(vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        read(bytes.fromhex(vector["hex"]))
    message = str(caught.value)
    if vector["error"].endswith("not MessagePack"):
        assert message.startswith(f"{vector['error']}: ")  # the library's own words follow
    else:
        assert message == vector["error"]


def test_the_end_of_the_stream_between_frames_is_no_error() -> None:
    assert protocol.read_frame(io.BytesIO(b"")) is None


def test_the_longest_frame_is_read() -> None:
    content = bytes(protocol.LARGEST_FRAME)
    data = protocol.LARGEST_FRAME.to_bytes(4, "big") + content
    assert protocol.read_frame(io.BytesIO(data)) == content


def test_a_longer_message_is_not_written() -> None:
    with pytest.raises(ValueError, match=r"^a message of 67108\d\d\d bytes can't be sent, at most 67108864$"):
        protocol.render_response(1, None, bytes(protocol.LARGEST_FRAME))


def test_lone_surrogates_of_file_names_are_escaped() -> None:
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    message = read(protocol.render_notification("event", {"path": name}))
    assert to_list(message)[2] == {"path": r"caf\udce9.jpg"}


def test_numpy_values_and_paths_are_plain_on_the_wire() -> None:
    value = {"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": Path("x/y"), "e": (1, 2)}
    result = to_list(read(protocol.render_response(1, None, value)))[3]
    assert_identical(result, {"a": 0.5, "b": 3, "c": True, "d": "x/y", "e": [1, 2]})


def test_other_objects_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"^a set can't be sent$"):
        protocol.render_response(1, None, {1})
    with pytest.raises(
        TypeError, match=r"^an array of float16 can't be sent, only float32, float64, int64, uint8$"
    ):
        protocol.render_response(1, None, np.zeros(2, np.float16))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
def test_arrays_of_any_layout_come_back_equal(dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    for view in (
        array,
        array.T,
        array[:, ::2],
        array.astype(array.dtype.newbyteorder(">")),
        array[0, 0, 0:0],
    ):
        tensor = to_list(read(protocol.render_response(1, None, view)))[3]
        back = tensor.to_numpy()
        assert back.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(back, view, strict=False)
        assert back.shape == view.shape
        assert back.flags.writeable
