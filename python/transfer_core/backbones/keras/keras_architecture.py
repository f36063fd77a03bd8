"""The architecture of a Keras model, from `keras.applications` or from a file."""

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

# For models that accept images of any size.
USUAL_SIZE = 224


@dataclass(frozen=True)
class Architecture:
    """A model's configuration, its layers with and without its classifier, and the size of its images."""

    config: Config
    whole: Graph
    graph: Graph
    size: int


def architecture(config: Config, title: str) -> Architecture:
    """Read a configuration; raises `RecipeError` at `backbone` for an unsupported one, named `title`."""
    whole = read_graph(config, title)
    return Architecture(config, whole, without_classifier(whole), whole.shape[0] or USUAL_SIZE)


@lru_cache(maxsize=8)
def of_application(name: str) -> Architecture:
    """The architecture of `keras/NAME`; raises `RecipeError` or `DependencyError`."""
    known = published(bare_name(name))
    return architecture(keras_library.application_config(known.name, known.image_size), name)


def of_file(path: Path, trust: bool) -> Architecture:
    """The architecture in a `.keras` file.

    Raises
    ------
    WeightsNotFound
        If the file does not exist.
    RecipeError
        At `trust`, if it contains code; at `backbone`, if it is not supported.
    ModelFileError
        If it is damaged.
    """
    if not path.is_file():
        raise WeightsNotFound(f"backbone: the file {path.absolute()} does not exist")
    config = keras_library.file_config(path)
    check_trust(config, str(path), trust)
    return architecture(config, str(path))


def file_named(name: str) -> Path | None:
    """The path of the file in a backbone's name; None for a model of `keras.applications`."""
    if not name.endswith(".keras"):
        return None
    whole, bare = Path(name).expanduser(), Path(bare_name(name)).expanduser()
    return bare if bare.is_file() and not whole.is_file() else whole
