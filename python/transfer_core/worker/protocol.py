"""Frames and messages: bytes to checked values and back. Specification: `docs/reference/protocol.md`."""

from __future__ import annotations

import os
import reprlib
import sys
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

import msgpack

from transfer_core.runtime.errors import ProtocolError
from transfer_core.worker.decoded_size import check_decoded_size
from transfer_core.worker.tensors import Tensor, TensorBlock, from_numpy, parse_extension, render_extension

VERSION = 1
LARGEST_FRAME = 64 * 1024 * 1024
LARGEST_ID = 2**32 - 1

REQUEST, RESPONSE, NOTIFICATION = 0, 1, 2


@dataclass(frozen=True)
class Request:
    """A request, which expects exactly one response with the same `id`."""

    id: int
    method: str
    params: dict[str, Any]


@dataclass(frozen=True)
class Response:
    """A response; `error` is None on success, else the error map of `docs/reference/protocol.md`."""

    id: int
    error: dict[str, Any] | None
    result: Any


@dataclass(frozen=True)
class Notification:
    """A message without a response."""

    method: str
    params: dict[str, Any]


Message: TypeAlias = Request | Response | Notification


def read_frame(stream: BinaryIO) -> bytes | None:
    """Read the content of the next frame; None at the end of the stream.

    Raises
    ------
    ProtocolError
        For an empty frame, one of more than 64 MiB, or a stream that ends inside a frame.
    """
    header = stream.read(4)
    if not header:
        return None
    size = int.from_bytes(header, "big")
    if len(header) < 4:
        raise ProtocolError("the stream ended inside the length of a frame")
    if size == 0:
        raise ProtocolError("empty frame")
    if size > LARGEST_FRAME:
        raise ProtocolError(f"frame of {size} bytes, at most {LARGEST_FRAME} are allowed")
    content = stream.read(size)
    if len(content) < size:
        raise ProtocolError(f"the stream ended after {len(content)} of the {size} bytes of a frame")
    return content


def parse_message(content: bytes) -> Message:
    """Parse and validate the content of a frame.

    Raises
    ------
    ProtocolError
        If it is not MessagePack, or none of the three message shapes.
    """
    value = _unpack(content)
    # True == 1 and 0.0 == 0, so the type of the kind is checked, too.
    if type(value) is list and value and type(value[0]) is int:
        match value:
            case [0, id, method, params]:
                return Request(_check_id(id), _check_method(method), _check_params(params))
            case [1, id, error, result]:
                return Response(_check_id(id), _check_error(error, result), result)
            case [2, method, params]:
                return Notification(_check_method(method), _check_params(params))
    raise ProtocolError(f"not a message: {_excerpt(value)}")


def render_request(id: int, method: str, params: dict[str, Any]) -> bytes:
    """Serialize a request to a frame."""
    return _frame([REQUEST, id, method, params])


def render_response(id: int, error: dict[str, Any] | None, result: Any) -> bytes:
    """Serialize a response to a frame."""
    return _frame([RESPONSE, id, error, result])


def render_notification(method: str, params: dict[str, Any]) -> bytes:
    """Serialize a notification to a frame."""
    return _frame([NOTIFICATION, method, params])


def _unpack(content: bytes) -> Any:
    check_decoded_size(content)
    try:
        return msgpack.unpackb(
            content, raw=False, strict_map_key=True, ext_hook=parse_extension, object_hook=_check_keys
        )
    except UnicodeDecodeError:
        raise ProtocolError("a string is not valid UTF-8") from None
    except msgpack.ExtraData as error:
        raise ProtocolError(f"{len(error.extra)} bytes too many in a frame") from None
    except msgpack.StackError:
        raise ProtocolError("a value is nested too deeply") from None
    except (ValueError, msgpack.UnpackException) as error:
        raise ProtocolError(f"not MessagePack: {error}") from None


def _frame(message: list[Any]) -> bytes:
    # File names that are not UTF-8 reach us as lone surrogates; the wire must stay valid UTF-8.
    content: bytes = msgpack.packb(message, default=_render_other, unicode_errors="backslashreplace")
    if len(content) > LARGEST_FRAME:
        raise ValueError(f"a message of {len(content)} bytes can't be sent, at most {LARGEST_FRAME}")
    return len(content).to_bytes(4, "big") + content


def _render_other(value: Any) -> Any:
    """Convert values that MessagePack lacks: tensors, arrays, NumPy scalars, paths."""
    if isinstance(value, Tensor | TensorBlock):
        return render_extension(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    # An array can only exist if numpy is imported; importing it here would delay the handshake.
    if numpy := sys.modules.get("numpy"):
        if isinstance(value, numpy.ndarray):
            return render_extension(from_numpy(value))
        if isinstance(value, numpy.generic):
            return value.item()
    raise TypeError(f"a {type(value).__name__} can't be sent")


def _check_keys(pairs: dict[Any, Any]) -> dict[str, Any]:
    for key in pairs:
        if type(key) is not str:
            raise ProtocolError(f"the key of a map is {type(key).__name__}, expected str")
    return pairs


def _check_id(id: Any) -> int:
    if type(id) is not int or not 0 <= id <= LARGEST_ID:
        raise ProtocolError(f"the id of a message is {_excerpt(id)}, expected an unsigned 32-bit integer")
    return id


def _check_method(method: Any) -> str:
    if not isinstance(method, str) or not method:
        raise ProtocolError(f"the method of a message is {_excerpt(method)}, expected a name")
    return method


def _check_params(params: Any) -> dict[str, Any]:
    if not isinstance(params, dict):
        raise ProtocolError(f"the params of a message are {_excerpt(params)}, expected a map")
    return params


def _check_error(error: Any, result: Any) -> dict[str, Any] | None:
    if error is None:
        return None
    texts = (error.get("type"), error.get("message")) if isinstance(error, dict) else ()
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ProtocolError(
            f"the error of a response is {_excerpt(error)}, expected a map with type, message"
        )
    if result is not None:
        raise ProtocolError("a response has an error and a result")
    return error  # type: ignore[no-any-return]


def _excerpt(value: Any) -> str:
    return reprlib.repr(value)
