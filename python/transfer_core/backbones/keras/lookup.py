"""Where the weights of `keras.applications` are on this machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from transfer_core.backbones.download import DownloadFailed, download
from transfer_core.backbones.facts import BackboneFacts, WeightsFacts
from transfer_core.backbones.keras.published import Published
from transfer_core.backbones.weights import FoundWeights, sha256
from transfer_core.errors import ConfigurationError, ModelFileError, WeightsNotFound
from transfer_core.paths import home, offline
from transfer_core.progress import Progress

SUFFIXES = (".h5", ".hdf5", ".keras")


def is_file(weights: str) -> bool:
    """Whether a recipe's `weights` say a path, and no name."""
    return weights.endswith(SUFFIXES) or os.sep in weights or weights.startswith("~")


def own_file(facts: BackboneFacts, path: Path) -> FoundWeights:
    """The user's own file of weights.

    Raises
    ------
    WeightsNotFound
        If there is none.
    """
    if not path.is_file():
        raise WeightsNotFound(f"weights: there is no file {path.absolute()}")
    if path.suffix not in SUFFIXES:
        raise ModelFileError(f"weights: {path} is no file of Keras' weights (.weights.h5, .h5, .keras)")
    facts_of_file = replace(
        facts.default_weights,
        **{
            "name": str(path.absolute()),
            "file": path.name,
            "url": "",
            "sha256": "",
            "bytes": path.stat().st_size,
        },
        **{"license": "unknown", "license_url": "", "trained_on": "unknown"},
        terms="the file is yours: its terms are too",
    )
    return FoundWeights(path, facts_of_file, sha256(path))


def published_file(known: Published, progress: Progress) -> FoundWeights:
    """The published file: a copy on this machine, or else the publisher's download.

    Copies are looked for in the folder `TRANSFER_WEIGHTS`, in Keras' cache and among our own downloads. One
    whose digest is not the published one is left out with a warning.

    Raises
    ------
    WeightsNotFound
        With the places that were looked at.
    ConfigurationError
        If `TRANSFER_WEIGHTS` is no folder.
    """
    weights = known.weights
    for _, folder in _places():
        path = folder / known.file if folder else None
        if path and path.is_file():
            found = _digest(path, known.digest)
            if found == known.digest:
                return FoundWeights(path, weights, sha256(path))
            progress.warning(f"left out {path}: its digest is {found}, not {known.digest}")
    if offline():
        raise WeightsNotFound(_not_found(known, weights, "not tried, TRANSFER_OFFLINE is set"))
    try:
        path = download(weights, _downloads(), progress)
    except DownloadFailed as error:
        raise WeightsNotFound(_not_found(known, weights, str(error))) from error
    if (found := _digest(path, known.digest)) != known.digest:
        path.unlink()
        raise WeightsNotFound(_not_found(known, weights, f"its digest is {found}, not {known.digest}"))
    return FoundWeights(path, weights, sha256(path))


def _digest(path: Path, published: str) -> str:
    """The file's digest of the kind that was published; nothing if none was."""
    if not published:
        return ""
    if len(published) == 64:
        return sha256(path)
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _places() -> Iterator[tuple[str, Path | None]]:
    """What to call the places, and the folders, in the order of looking."""
    if chosen := os.environ.get("TRANSFER_WEIGHTS"):
        folder = Path(chosen).expanduser()
        if not folder.is_dir():
            raise ConfigurationError(f"TRANSFER_WEIGHTS is {chosen}, which is not a folder")
        yield f"TRANSFER_WEIGHTS: {folder}", folder
    else:
        yield "TRANSFER_WEIGHTS: not set", None
    cache = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"
    yield f"Keras' cache: {cache}", cache
    yield f"earlier downloads: {_downloads()}", _downloads()


def _downloads() -> Path:
    return home() / "weights"


def _not_found(known: Published, weights: WeightsFacts, download_result: str) -> str:
    looked = [title for title, _ in _places()] + [f"{weights.url}: {download_result}"]
    network = "unset TRANSFER_OFFLINE" if offline() else "a working network"
    return "\n".join(
        [
            f"no weights for keras/{known.name} ({known.file}); looked at",
            *(f"  {place}" for place in looked),
            "ways out",
            "  TRANSFER_WEIGHTS=folder   with this file in it",
            '  weights: "path/to/file"   a .weights.h5, .h5 or .keras file of your own',
            f"  {network:<24}  downloads it",
        ]
    )
