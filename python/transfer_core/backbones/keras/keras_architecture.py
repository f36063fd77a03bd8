"""A Keras model without its weights, wherever its configuration comes from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from transfer_core.backbones.keras import keras_library
from transfer_core.backbones.keras.keras_code import check_trust
from transfer_core.backbones.keras.keras_graph import Config, Graph, read_graph, without_classifier
from transfer_core.backbones.keras.keras_published import published
from transfer_core.backbones.registry import bare_name
from transfer_core.runtime.errors import WeightsNotFound

# Where a model leaves the size of images open.
USUAL_SIZE = 224


@dataclass(frozen=True)
class Architecture:
    """A model's configuration, its layers with and without its classifier, and the size of its images."""

    config: Config
    whole: Graph
    graph: Graph
    size: int


def architecture(config: Config, title: str) -> Architecture:
    """That of a configuration; raises `RecipeError` at `backbone`, which says what is odd about `title`."""
    whole = read_graph(config, title)
    return Architecture(config, whole, without_classifier(whole), whole.shape[0] or USUAL_SIZE)


@lru_cache(maxsize=8)
def of_application(name: str) -> Architecture:
    """That of `keras/NAME`; raises `RecipeError` or `DependencyError`."""
    known = published(bare_name(name))
    return architecture(keras_library.application_config(known.name, known.image_size), name)


def of_file(path: Path, trust: bool) -> Architecture:
    """That of a `.keras` file.

    Raises
    ------
    WeightsNotFound
        If there is none.
    RecipeError
        At `trust`, if it brings code; at `backbone`.
    ModelFileError
        If it is damaged.
    """
    if not path.is_file():
        raise WeightsNotFound(f"backbone: there is no file {path.absolute()}")
    config = keras_library.file_config(path)
    check_trust(config, str(path), trust)
    return architecture(config, str(path))


def file_named(name: str) -> Path | None:
    """The file that a backbone's name says; None for one of `keras.applications`."""
    if not name.endswith(".keras"):
        return None
    said, bare = Path(name).expanduser(), Path(bare_name(name)).expanduser()
    return bare if bare.is_file() and not said.is_file() else said
