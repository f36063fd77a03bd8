"""Access to the Keras package, which is imported at the first call."""

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

# Names and values of each layer's variables, by the path of the layer in nested models.
Variables: TypeAlias = dict[tuple[str, ...], list[tuple[str, Array]]]

T = TypeVar("T")


def keras() -> Any:
    """Import Keras, on the torch backend unless it was imported before or `KERAS_BACKEND` is set.

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
    finally:  # Keras sets variables for TensorFlow, which child processes would inherit
        for name in os.environ.keys() - before.keys():
            del os.environ[name]


def on_torch(layer: Sequence[str]) -> Any:
    """Import Keras for running a layer on the torch backend.

    Raises
    ------
    ConfigurationError
        If it runs on another backend in this process.
    """
    library = keras()
    if library.config.backend() != "torch":
        raise ConfigurationError(
            f"the layer {'/'.join(layer)} is run by Keras itself, which uses the backend "
            f"{library.config.backend()} in this process. Fix: KERAS_BACKEND=torch before Keras is imported"
        )
    return library


def application_config(name: str, size: int) -> Config:
    """The configuration of `keras.applications.NAME` without its classifier, for images of this size."""
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
    """Read the variables of a model of `keras.applications` from a file, with or without its classifier.

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
            # Unnamed layers have other numbers there, but the same order.
            whole = _loaded(_application(name, size, include_top=True), path)
            return dict(zip(variables(headless), whole.values(), strict=False))
        raise


def file_config(path: Path) -> Config:
    """Read the configuration in a `.keras` file without running it.

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
    """Read the variables of the model in a `.keras` file.

    Parameters
    ----------
    path
        The file of the model.
    weights
        The file of the weights; may be the same.
    trust
        Whether code in the file may run.

    Raises
    ------
    ModelFileError
        If Keras can't create the model, or the weights don't fit.
    """
    library = keras()
    check_self_contained(path)
    with library.device("cpu"), _as_model_file_error(f"Keras can't load {path}"):
        model = library.saving.load_model(path, compile=False, safe_mode=not trust)
    return variables(model) if weights == path else _loaded(model, weights)


def made_layer(node: Node, trust: bool) -> Any:
    """Create the layer or the function of a node.

    Raises
    ------
    RecipeError
        At `backbone`, if Keras can't create it.
    """
    library = keras()
    try:
        with library.device("cpu"):
            return library.saving.deserialize_keras_object(node.entry, safe_mode=not trust)
    except (ValueError, TypeError, ImportError) as error:
        message = f"Keras can't create its layer {'/'.join(node.layer)}: {_first_line(error)}"
        raise RecipeError([Problem("backbone", message)]) from error


def made(constant: Config) -> Any:
    """Create a constant among the arguments of a call: a slice, an array."""
    with keras().device("cpu"):
        return keras().saving.deserialize_keras_object(constant, safe_mode=True)


def value(variable: Any) -> Array:
    """The values of a variable, on any backend."""
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
    """Call `make` in a new thread: Keras numbers unnamed layers and stores dtype policies per thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(make).result()


def _loaded(model: Any, path: Path) -> Variables:
    check_self_contained(path)
    with keras().device("cpu"), _as_model_file_error(f"{path} does not fit {model.name}"):
        model.load_weights(path)
    return variables(model)


def variables(model: Any, path: tuple[str, ...] = ()) -> Variables:
    """The variables of a model's layers, including nested models; makes all layers trainable."""
    found: Variables = {}
    for layer in model.layers:
        name = (*path, layer.name)
        if hasattr(layer, "layers"):
            found |= variables(layer, name)
        else:
            found[name] = [(variable.name, value(variable)) for variable in in_order(layer)]
    return found


def in_order(layer: Any) -> list[Any]:
    """The variables of a layer, trainable ones first; a function has none."""
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
    """Context in which Keras does not import TensorFlow, which takes seconds, for type checks."""
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
