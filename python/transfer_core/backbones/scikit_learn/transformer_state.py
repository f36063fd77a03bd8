"""Serialize fitted estimators to plain numbers and texts. No pickle: the bytes contain no code.

The bytes are a safetensors file. Its tensor `state` has the attributes as JSON, in which `{"tensor": …}` is
an array. Reading creates only supported transformers and their parts, without calling their methods. skops
0.16 is not used: importing it imports all of scikit-learn (3.5 s), and by design its files may refer to any
estimator, method or function, which has allowed code execution more than once (CVE-2024-37065,
CVE-2025-54412, CVE-2025-54413).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from transfer_core.backbones.scikit_learn.transformer_names import TRANSFORMERS
from transfer_core.runtime.errors import ConfigurationError, ModelFileError

Array = npt.NDArray[Any]
Arrays = dict[str, Array]

# Classes other than transformers that transformers contain.
_PARTS = {"KernelCenterer": "preprocessing", "OneHotEncoder": "preprocessing", "Pipeline": "pipeline"}
_STATE = "state"
# Attributes that are addresses in this process's memory.
_ADDRESSES = {"_stop_words_id"}
# Limit of bytes per text in an array of texts, in which all take as many as the longest.
_LONGEST_TEXT = 1 << 16
_PLAIN = (bool, int, float, str)


class _Unknown(Exception):
    """A class or a kind of value that can't be serialized; the message names it."""


def to_bytes(value: Any) -> bytes:
    """Serialize plain data that may contain fitted estimators, deterministically.

    Raises
    ------
    ConfigurationError
        If an attribute is of another kind, such as a function.
    """
    arrays: Arrays = {}
    try:
        state = json.dumps(_encode(value, arrays))
    except _Unknown as unknown:
        raise ConfigurationError(
            f"this model of scikit-learn can't be saved, it contains {unknown}"
        ) from None
    return bytes(save({**arrays, _STATE: np.frombuffer(state.encode(), np.uint8)}))


def from_bytes(content: bytes) -> Any:
    """Deserialize the result of `to_bytes`.

    Raises
    ------
    ModelFileError
        If it contains anything but plain data and supported transformers.
    """
    try:
        arrays = load(content)
        return _decode(json.loads(arrays.pop(_STATE).tobytes()), arrays)
    except _Unknown as unknown:
        raise ModelFileError(f"a model of scikit-learn in the file contains {unknown}: refused") from None
    except (SafetensorError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"a model of scikit-learn in the file is damaged: {error}") from error


def _encode(value: Any, arrays: Arrays) -> Any:
    """Convert a value to JSON; a value that JSON can't represent becomes a dict with one key, its kind."""

    def all_of(values: Any) -> list[Any]:
        return [_encode(one, arrays) for one in values]

    if value is None or type(value) in _PLAIN:
        return value
    if isinstance(value, np.generic):
        return _encode(value.item(), arrays)
    if isinstance(value, list):
        return all_of(value)
    if isinstance(value, tuple):
        return {"tuple": all_of(value)}
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if isinstance(value, dict):
        return {"dict": [all_of(pair) for pair in value.items()]}
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return {"type" if isinstance(value, type) else "dtype": np.dtype(value).name}
    if isinstance(value, np.ndarray):
        return _encode_array(value, arrays, all_of)
    if isinstance(value, np.random.RandomState):
        return None  # only used for fitting
    if _is_sparse(value):
        rows = value.tocsr()
        return {"sparse": [*all_of([rows.data, rows.indices, rows.indptr]), list(rows.shape)]}
    name = type(value).__name__
    if type(value) is not _class(name):
        raise _Unknown(f"{type(value).__module__}.{name}")
    attributes = {word: own for word, own in vars(value).items() if word not in _ADDRESSES}
    return {"estimator": [name, _encode(attributes, arrays)]}


def _encode_array(value: Array, arrays: Arrays, all_of: Callable[[Any], list[Any]]) -> Any:
    if value.dtype.kind in "OU":
        return {"objects": [all_of(value.ravel().tolist()), list(value.shape), value.dtype.str]}
    if value.dtype.names or value.dtype.kind not in "biuf":
        raise _Unknown(f"an array of {value.dtype}")
    name = str(len(arrays))
    # The order in memory determines the order of sums, and so their last bit.
    order: Literal["C", "F"] = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    arrays[name] = value.ravel(order)
    return {"tensor": [name, list(value.shape), order]}


def _decode(state: Any, arrays: Arrays) -> Any:
    if state is None or type(state) in _PLAIN:
        return state
    if isinstance(state, list):
        return [_decode(one, arrays) for one in state]
    ((kind, content),) = state.items()
    if kind == "tensor":
        name, shape, order = content
        return arrays[name].reshape(shape, order=order).copy(order)
    if kind in ("dtype", "type"):
        dtype = np.dtype(str(content))
        return dtype if kind == "dtype" else dtype.type
    if kind == "slice":
        return slice(*content)
    if kind == "estimator":
        return _estimator(content[0], _decode(content[1], arrays))
    decoded = [_decode(one, arrays) for one in content]
    if kind == "tuple":
        return tuple(decoded)
    if kind == "dict":
        return dict(map(tuple, decoded))
    if kind == "objects":
        values, shape, dtype = decoded
        if np.dtype(dtype).kind not in "OU" or np.dtype(dtype).itemsize > _LONGEST_TEXT:
            raise _Unknown(f"texts of the type {dtype}")
        return _object_array(values).astype(dtype).reshape(shape)
    if kind == "sparse":
        return _sparse(*decoded)
    raise _Unknown(f'something called "{kind}"')


def _object_array(values: list[Any]) -> Array:
    """An array with one element per value, even if values are lists or arrays."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _estimator(name: str, attributes: dict[str, Any]) -> Any:
    known = _class(name)
    if known is None:
        raise _Unknown(f'something called "{name}"')
    estimator: Any = object.__new__(known)
    vars(estimator).update(attributes)
    if "_n_features_outs" in attributes:
        _check_places(estimator)
    return estimator


def _check_places(encoder: Any) -> None:
    """Check that the column of each category is within the width: the encoder's own code does not."""
    infrequent = getattr(encoder, "_default_to_infrequent_mappings", [None] * len(encoder.categories_))
    columns = zip(encoder.categories_, infrequent, encoder._n_features_outs, strict=True)
    for categories, places, width in columns:
        known = np.arange(len(categories)) if places is None else np.asarray(places)
        if len(known) != len(categories) or known.min() < 0 or known.max() >= width:
            raise ValueError("a category is outside of its columns")


def _class(name: str) -> type | None:
    module = {**TRANSFORMERS, **_PARTS}.get(name)
    return getattr(import_module(f"sklearn.{module}"), name) if module else None


def _is_sparse(value: Any) -> bool:
    return type(value).__module__.startswith("scipy.sparse")


def _sparse(data: Array, indices: Array, indptr: Array, shape: list[int]) -> Any:
    from scipy.sparse import csr_matrix

    matrix = csr_matrix((data, indices, indptr), shape=tuple(shape))
    matrix.check_format(full_check=True)  # scipy's C++ does not check indices
    return matrix
