"""What is asked of the Keras package itself; it is imported when something is."""

from __future__ import annotations

import importlib
import json
import os
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch

from transfer_core.backbones.keras.keras_graph import Config, Node
from transfer_core.backbones.keras.keras_hdf5 import check_self_contained
from transfer_core.backbones.keras.keras_weights import Array
from transfer_core.runtime.errors import (
    ConfigurationError,
    DependencyError,
    ModelFileError,
    Problem,
    RecipeError,
)

# Names and numbers of each layer's variables, by the layer's name after those of the models that it is in.
Variables: TypeAlias = dict[tuple[str, ...], list[tuple[str, Array]]]

T = TypeVar("T")


def keras() -> Any:
    """The package, on its torch backend unless it was imported with another or `KERAS_BACKEND` says so.

    Raises
    ------
    DependencyError
        If it is not installed.
    """
    if "keras" in sys.modules:
        return sys.modules["keras"]
    before = dict(os.environ)
    os.environ.setdefault("KERAS_BACKEND", "torch")
    try:
        return importlib.import_module("keras")
    except ModuleNotFoundError as error:
        raise DependencyError("a Keras backbone", error.name or "keras", "keras") from error
    finally:  # its own choices for TensorFlow are none of other programs' business
        for name in os.environ.keys() - before.keys():
            del os.environ[name]


def on_torch(layer: Sequence[str]) -> Any:
    """The package, on its torch backend, which computes this layer.

    Raises
    ------
    ConfigurationError
        If it runs on another.
    """
    library = keras()
    if library.config.backend() != "torch":
        raise ConfigurationError(
            f"the layer {'/'.join(layer)} is computed by Keras itself, which runs on "
            f"{library.config.backend()} in this process: set KERAS_BACKEND=torch before Keras is imported"
        )
    return library


def application_config(name: str, size: int) -> Config:
    """The configuration of one of `keras.applications` without its classifier, for images of this size."""
    library = keras()

    def configured() -> Config:
        with library.device("meta" if library.config.backend() == "torch" else "cpu"):
            model = getattr(library.applications, name)(
                weights=None, include_top=False, pooling="avg", input_shape=(size, size, 3)
            )
        with tensorflow_left_alone():
            return dict(json.loads(model.to_json()))

    return _in_a_new_session(configured)


def application_variables(name: str, size: int, path: Path) -> Variables:
    """The variables of one of `keras.applications` from a file of its weights, with classifier or without.

    Raises
    ------
    ModelFileError
        If the file fits neither.
    """
    headless = _application(name, size, include_top=False, pooling="avg")
    try:
        return _loaded(headless, path)
    except ModelFileError:
        with suppress(ModelFileError):
            # Layers without a name of their own are numbered otherwise there, but come in the same order.
            whole = _loaded(_application(name, size, include_top=True), path)
            return dict(zip(variables(headless), whole.values(), strict=False))
        raise


def file_config(path: Path) -> Config:
    """The configuration in a `.keras` file; nothing of it is run.

    Raises
    ------
    ModelFileError
        If it is damaged, or another kind of file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return dict(json.loads(archive.read("config.json")))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ModelFileError(f"{path} is not a .keras file that can be read: {error}") from error


def file_variables(path: Path, weights: Path, trust: bool) -> Variables:
    """The variables of the model in a `.keras` file; from the file `weights`, if that is another.

    Raises
    ------
    ModelFileError
        If Keras can't make the model, or the weights don't fit.
    """
    library = keras()
    check_self_contained(path)
    with library.device("cpu"), _as_model_file_error(f"Keras can't load {path}"):
        model = library.saving.load_model(path, compile=False, safe_mode=not trust)
    return variables(model) if weights == path else _loaded(model, weights)


def made_layer(node: Node, trust: bool) -> Any:
    """The layer, or the function, of a node.

    Raises
    ------
    RecipeError
        At `backbone`, if Keras can't make it.
    """
    library = keras()
    try:
        with library.device("cpu"):
            return library.saving.deserialize_keras_object(node.entry, safe_mode=not trust)
    except (ValueError, TypeError, ImportError) as error:
        message = f"Keras can't make its layer {'/'.join(node.layer)}: {_first_line(error)}"
        raise RecipeError([Problem("backbone", message)]) from error


def made(constant: Config) -> Any:
    """A constant among the arguments of a call: a slice, an array."""
    with keras().device("cpu"):
        return keras().saving.deserialize_keras_object(constant, safe_mode=True)


def value(variable: Any) -> Array:
    """The numbers of a variable, on whatever backend."""
    numbers = variable.value
    if isinstance(numbers, torch.Tensor):
        numbers = (numbers.float() if numbers.is_floating_point() else numbers).detach().cpu().numpy()
    return np.asarray(numbers)


def _application(name: str, size: int, **options: Any) -> Any:
    library = keras()

    def made() -> Any:
        with library.device("cpu"):
            return getattr(library.applications, name)(weights=None, input_shape=(size, size, 3), **options)

    return _in_a_new_session(made)


def _in_a_new_session(make: Callable[[], T]) -> T:
    """What Keras makes where nothing was made before: it numbers a thread's layers that have no name, and
    keeps the caller's policies for types per thread, too."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(make).result()


def _loaded(model: Any, path: Path) -> Variables:
    check_self_contained(path)
    with keras().device("cpu"), _as_model_file_error(f"{path} does not fit {model.name}"):
        model.load_weights(path)
    return variables(model)


def variables(model: Any, path: tuple[str, ...] = ()) -> Variables:
    """The variables of a model's layers, and of those of models within; from then on all may train."""
    found: Variables = {}
    for layer in model.layers:
        name = (*path, layer.name)
        if hasattr(layer, "layers"):
            found |= variables(layer, name)
        else:
            found[name] = [(variable.name, value(variable)) for variable in in_order(layer)]
    return found


def in_order(layer: Any) -> list[Any]:
    """The variables of a layer, those that can train before those that can't; a function has none."""
    if not hasattr(layer, "trainable_variables"):
        return []
    layer.trainable = True
    return [*layer.trainable_variables, *layer.non_trainable_variables]


@contextmanager
def _as_model_file_error(complaint: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, KeyError, OSError, ImportError) as error:
        raise ModelFileError(f"{complaint}: {_first_line(error)}") from error


@contextmanager
def tensorflow_left_alone() -> Iterator[None]:
    """Within, Keras does not import TensorFlow, which takes seconds, to ask whether something is its own."""
    lazy = getattr(sys.modules.get("keras.src.utils.module_utils"), "tensorflow", None)
    if lazy is None or "tensorflow" in sys.modules:
        yield
        return
    known, lazy._available = getattr(lazy, "_available", None), False
    try:
        yield
    finally:
        lazy._available = known


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
