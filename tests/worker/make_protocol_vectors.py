"""Writes docs/reference/protocol_vectors.json: `python tests/worker/make_protocol_vectors.py`.

Frames are put together from MessagePack and `struct` alone, without the code under test.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import msgpack

FILE = Path(__file__).parents[2] / "docs" / "reference" / "protocol_vectors.json"


def frame(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def to_wire(value: Any) -> Any:
    """The JSON notation of docs/reference/protocol.md as values that MessagePack packs."""
    match value:
        case {"$bin": str(digits)}:
            return bytes.fromhex(digits)
        case {"$float": str(name)}:
            return float(name)
        case {"$tensor": {"dtype": dtype, "shape": shape, "bytes": digits}}:
            return msgpack.ExtType(1, msgpack.packb([dtype, shape, bytes.fromhex(digits)]))
        case {"$tensor_block": {"dtype": dtype, "shape": shape, "offset": offset}}:
            return msgpack.ExtType(2, msgpack.packb([dtype, shape, offset]))
        case dict():
            return {key: to_wire(inner) for key, inner in value.items()}
        case list():
            return [to_wire(inner) for inner in value]
    return value


def good(name: str, value: Any, content: bytes | None = None) -> dict[str, Any]:
    """A frame that must be understood as `value`; with `content`, one that is never written so."""
    canonical = content is None
    data = frame(msgpack.packb(to_wire(value)) if content is None else content)
    return {"name": name, "hex": data.hex(), "value": value, "canonical": canonical}


def bad(name: str, data: bytes, error: str, receiver: str = "both") -> dict[str, Any]:
    return {"name": name, "hex": data.hex(), "error": error, "receiver": receiver}


def notify(params: Any) -> list[Any]:
    return [2, "event", {"call": 1, "event": params}]


MESSAGES = [
    good("hello", [0, 1, "hello", {"protocol": 1, "gem_version": "0.1.0"}]),
    good(
        "hello_result",
        [
            1,
            1,
            None,
            {
                "protocol": 1,
                "core_version": "0.1.0",
                "python": "3.11.7",
                "pid": 123,
                "capabilities": ["ping", "train"],
            },
        ],
    ),
    good("request_without_params", [0, 2, "ping", {}]),
    good("response", [1, 2, None, "pong"]),
    good("response_nil", [1, 2, None, None]),
    good("response_false", [1, 2, None, False]),
    good("smallest_id", [0, 0, "ping", {}]),
    good("largest_id", [0, 4294967295, "ping", {}]),
    good("id_written_long", [0, 7, "ping", {}], b"\x94\x00\xcf" + struct.pack(">Q", 7) + b"\xa4ping\x80"),
    good(
        "recipe_error",
        [
            1,
            3,
            {
                "type": "RecipeError",
                "message": "steps[1].epochs: expected `int` >= 1 (got 0)",
                "details": {
                    "problems": [{"path": "steps[1].epochs", "message": "expected `int` >= 1 (got 0)"}]
                },
            },
            None,
        ],
    ),
    good(
        "data_error",
        [
            1,
            4,
            {"type": "DataError", "message": "photos/a.jpg is empty", "details": {"path": "photos/a.jpg"}},
            None,
        ],
    ),
    good(
        "remote_error",
        [
            1,
            5,
            {
                "type": "RemoteError",
                "message": "division by zero",
                "details": {},
                "python_class": "ZeroDivisionError",
                "python_backtrace": ["/lib/a.py:3:in 'outer'", "/lib/b.py:7:in 'inner'"],
            },
            None,
        ],
    ),
    good("cancel", [2, "cancel", {"call": 3}]),
    good("stage_event", notify({"event": "stage", "step": "choose", "title": "Choosing mobilenet_v2"})),
    good(
        "progress_event",
        notify({"event": "progress", "step": "head", "done": 3, "total": 9, "unit": "images"}),
    ),
    good(
        "epoch_event",
        notify({"event": "epoch", "step": "train", "number": 1, "of": 5, "metrics": {"accuracy": 0.5}}),
    ),
    good("warning_event", notify({"event": "warning", "message": "only 3 photos of “stop”"})),
    good("next_rows", [0, 1, "next_rows", {"stream": "s1", "max": 64}]),
    good(
        "rows",
        [
            1,
            1,
            None,
            {
                "rows": [
                    {"input": "a.jpg", "label": "stop"},
                    {"input": {"$bin": "89504e47"}, "label": 0.5, "split": "train"},
                    {"input": "b.jpg", "label": [1, 2.5]},
                ],
                "done": False,
            },
        ],
    ),
    good("no_more_rows", [1, 1, None, {"rows": [], "done": True}]),
    good("predict", [0, 6, "predict", {"model": "m.transfer", "inputs": ["a.jpg", {"$bin": "ffd8ff"}]}]),
]

VALUES = [
    good("text", notify({"text": "naïve Füße 🛑", "empty": ""})),
    good("text_of_300_bytes", notify({"text": "x" * 300})),
    good("binary", notify({"binary": {"$bin": "00ff80"}, "empty": {"$bin": ""}})),
    good(
        "integers",
        notify(
            {
                "list": [
                    0,
                    -1,
                    127,
                    128,
                    -32,
                    -33,
                    255,
                    256,
                    65535,
                    65536,
                    -128,
                    -129,
                    2**31,
                    2**32,
                    -(2**31),
                    2**63 - 1,
                    -(2**63),
                    2**64 - 1,
                ]
            }
        ),
    ),
    good("floats", notify({"list": [0.0, -0.0, 1.0, 0.1, 1e300, 5e-324, -2.5]})),
    good("float_specials", notify({"list": [{"$float": "nan"}, {"$float": "inf"}, {"$float": "-inf"}]})),
    good(
        "float32_is_read",
        notify({"x": 0.5}),
        b"\x93\x02\xa5event\x82\xa4call\x01\xa5event\x81\xa1x\xca" + struct.pack(">f", 0.5),
    ),
    good("nothing_and_booleans", notify({"list": [None, True, False]})),
    good("nested_maps", notify({"a": {"b": {"c": {"d": [{}, [], [[1]]]}}}})),
    good("map_of_20", notify({f"k{i}": i for i in range(20)})),
    good(
        "tensor_float32",
        [
            1,
            1,
            None,
            {
                "$tensor": {
                    "dtype": "float32",
                    "shape": [2, 3],
                    "bytes": struct.pack("<6f", 0, 1, 2, 3, 4, -5).hex(),
                }
            },
        ],
    ),
    good(
        "tensor_float64",
        [
            1,
            1,
            None,
            {"$tensor": {"dtype": "float64", "shape": [2], "bytes": struct.pack("<2d", 0.1, math.pi).hex()}},
        ],
    ),
    good(
        "tensor_int64",
        [
            1,
            1,
            None,
            {"$tensor": {"dtype": "int64", "shape": [1, 2], "bytes": struct.pack("<2q", 1, -(2**40)).hex()}},
        ],
    ),
    good("tensor_uint8", [1, 1, None, {"$tensor": {"dtype": "uint8", "shape": [3], "bytes": "00ff7f"}}]),
    good(
        "tensor_scalar",
        [1, 1, None, {"$tensor": {"dtype": "float64", "shape": [], "bytes": struct.pack("<d", 2.0).hex()}}],
    ),
    good("tensor_empty", [1, 1, None, {"$tensor": {"dtype": "float32", "shape": [0, 1280], "bytes": ""}}]),
    good(
        "tensor_block",
        [1, 1, None, {"$tensor_block": {"dtype": "float32", "shape": [4000, 1280], "offset": 2**33}}],
    ),
    good(
        "tensors_among_params",
        [
            0,
            7,
            "compare",
            {
                "big": {"$tensor_block": {"dtype": "uint8", "shape": [9, 224, 224, 3], "offset": 0}},
                "small": {"$tensor": {"dtype": "uint8", "shape": [1], "bytes": "01"}},
            },
        ],
    ),
]


def ext(kind: int, parts: Any) -> bytes:
    payload = parts if isinstance(parts, bytes) else msgpack.packb(parts)
    return frame(msgpack.packb([1, 1, None, msgpack.ExtType(kind, payload)]))


def packed(value: Any) -> bytes:
    return frame(msgpack.packb(value))


MALFORMED = [
    bad("empty_frame", b"\0\0\0\0", "empty frame"),
    bad("frame_too_long", b"\x04\0\0\x01", "frame of 67108865 bytes, at most 67108864 are allowed"),
    bad("frame_far_too_long", b"\xff\xff\xff\xff", "frame of 4294967295 bytes, at most 67108864 are allowed"),
    bad(
        "longest_frame_cut_short",
        b"\x04\0\0\0\xc0",
        "the stream ended after 1 of the 67108864 bytes of a frame",
    ),
    bad("cut_short_in_length", b"\0\0", "the stream ended inside the length of a frame"),
    bad(
        "cut_short_in_content",
        packed([0, 1, "ping", {}])[:-3],
        "the stream ended after 6 of the 9 bytes of a frame",
    ),
    bad("content_ends_early", frame(b"\x94\x00\x01\xa4p"), "not MessagePack"),
    bad("unassigned_byte", frame(b"\xc1"), "not MessagePack"),
    bad(
        "trailing_bytes",
        frame(msgpack.packb([0, 1, "ping", {}]) + b"\xc0\xc0"),
        "2 bytes too many in a frame",
    ),
    bad(
        "text_protocol", b"GET / HTTP/1.1\r\n\r\n", "frame of 1195725856 bytes, at most 67108864 are allowed"
    ),
    bad(
        "invalid_utf8",
        frame(b"\x93\x02\xa5event\x81\xa1x\xa2\xff\xfe"),
        "a string is not valid UTF-8",
        "worker",
    ),
    bad(
        "integer_key",
        packed([2, "cancel", {1: 2}]),
        "not MessagePack",
        "worker",
    ),
    bad(
        "binary_key", packed([2, "cancel", {b"call": 2}]), "the key of a map is bytes, expected str", "worker"
    ),
    bad("nested_2000_deep", frame(b"\x91" * 2000 + b"\xc0"), "a value is nested too deeply"),
    bad("not_an_array", packed("ping"), "not a message: 'ping'"),
    bad("empty_array", packed([]), "not a message: []"),
    bad("unknown_kind", packed([3, 1, "ping", {}]), "not a message: [3, 1, 'ping', {}]"),
    bad("boolean_kind", packed([False, 1, "ping", {}]), "not a message: [False, 1, 'ping', {}]"),
    bad("request_too_short", packed([0, 1, "ping"]), "not a message: [0, 1, 'ping']"),
    bad("request_too_long", packed([0, 1, "ping", {}, 1]), "not a message: [0, 1, 'ping', {}, 1]"),
    bad(
        "negative_id",
        packed([0, -1, "ping", {}]),
        "the id of a message is -1, expected an unsigned 32-bit integer",
    ),
    bad(
        "id_of_33_bits",
        packed([0, 2**32, "ping", {}]),
        "the id of a message is 4294967296, expected an unsigned 32-bit integer",
    ),
    bad(
        "text_id",
        packed([0, "1", "ping", {}]),
        "the id of a message is '1', expected an unsigned 32-bit integer",
    ),
    bad(
        "boolean_id",
        packed([0, True, "ping", {}]),
        "the id of a message is True, expected an unsigned 32-bit integer",
    ),
    bad(
        "float_id",
        packed([1, 1.0, None, None]),
        "the id of a message is 1.0, expected an unsigned 32-bit integer",
    ),
    bad("empty_method", packed([0, 1, "", {}]), "the method of a message is '', expected a name"),
    bad("binary_method", packed([0, 1, b"ping", {}]), "the method of a message is b'ping', expected a name"),
    bad("params_list", packed([0, 1, "ping", []]), "the params of a message are [], expected a map"),
    bad("params_nil", packed([2, "cancel", None]), "the params of a message are None, expected a map"),
    bad(
        "error_text",
        packed([1, 1, "boom", None]),
        "the error of a response is 'boom', expected a map with type, message",
    ),
    bad(
        "error_without_message",
        packed([1, 1, {"type": "DataError"}, None]),
        "the error of a response is {'type': 'DataError'}, expected a map with type, message",
    ),
    bad(
        "error_and_result",
        packed([1, 1, {"type": "DataError", "message": "x"}, 1]),
        "a response has an error and a result",
    ),
    bad("unknown_extension", ext(5, b"x"), "unknown extension type 5, expected 1 or 2"),
    bad("tensor_not_msgpack", ext(1, b"\xc1"), "extension type 1 is not MessagePack"),
    bad("tensor_of_two_parts", ext(1, ["uint8", [1]]), "extension type 1 is not [dtype, shape, content]"),
    bad(
        "tensor_of_unknown_dtype",
        ext(1, ["float16", [1], b"ab"]),
        "unknown dtype 'float16', expected one of: float32, float64, int64, uint8",
    ),
    bad(
        "tensor_of_negative_shape",
        ext(1, ["uint8", [-1], b"a"]),
        "the shape of a tensor is not a list of non-negative integers",
    ),
    bad("tensor_too_short", ext(1, ["float32", [2], b"abcd"]), "tensor of 4 bytes does not hold float32 [2]"),
    bad("tensor_of_text", ext(1, ["uint8", [1], "a"]), "the content of a tensor is str, expected bytes"),
    bad(
        "tensor_of_33_dimensions",
        ext(1, ["uint8", [1] * 33, b"a"]),
        "a tensor of 33 dimensions, at most 32 are allowed",
    ),
    bad(
        "tensor_block_of_text",
        ext(2, ["uint8", [1], "/tmp/x"]),
        "the offset of a tensor is '/tmp/x', expected a non-negative integer",
    ),
    bad(
        "tensor_block_before_the_file",
        ext(2, ["uint8", [1], -64]),
        "the offset of a tensor is -64, expected a non-negative integer",
    ),
    bad(
        "tensor_block_of_a_boolean",
        ext(2, ["uint8", [1], True]),
        "the offset of a tensor is True, expected a non-negative integer",
    ),
]


def render() -> str:
    lines = ",\n".join(json.dumps(vector, ensure_ascii=False) for vector in [*MESSAGES, *VALUES, *MALFORMED])
    return f"[\n{lines}\n]\n"


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
