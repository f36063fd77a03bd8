"""Find the weights of `keras.applications` on this machine, or download them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from transfer_core.backbones.download import DownloadFailed, download
from transfer_core.backbones.facts import BackboneFacts, WeightsFacts
from transfer_core.backbones.keras.keras_published import Published
from transfer_core.backbones.places import Place, downloads, in_order
from transfer_core.backbones.weights import FoundWeights, own_file, sha256
from transfer_core.runtime.errors import ModelFileError, WeightsNotFound
from transfer_core.runtime.paths import offline
from transfer_core.runtime.progress import Progress

_SUFFIXES = (".h5", ".hdf5", ".keras")


def own_keras_file(facts: BackboneFacts, path: str) -> FoundWeights:
    """Describe the user's own file of weights.

    Raises
    ------
    WeightsNotFound
        If the file does not exist.
    ModelFileError
        If it is not in one of Keras' formats.
    """
    found = own_file(facts, path)
    if found.path.suffix not in _SUFFIXES:
        raise ModelFileError(f"weights: {found.path} is not a file of Keras (.weights.h5, .h5, .keras)")
    return found


def published_file(known: Published, progress: Progress) -> FoundWeights:
    """Find the published file on this machine, or download it.

    The directory `TRANSFER_WEIGHTS`, Keras' cache and our own downloads are searched. A copy whose digest is
    not the published one is skipped with a warning.

    Raises
    ------
    WeightsNotFound
        With the places that were searched.
    ConfigurationError
        If `TRANSFER_WEIGHTS` is not a directory.
    """
    weights = known.weights
    for place in _places():
        for path in place.copies(weights):
            found = _digest(path, known.digest)
            if found == known.digest:
                return FoundWeights(path, weights, sha256(path))
            progress.warning(f"skipped {path}: its digest is {found}, expected {known.digest}")
    if offline():
        raise WeightsNotFound(_not_found(known, weights, "not tried, TRANSFER_OFFLINE is set"))
    try:
        path = download(weights, downloads(), progress)
    except DownloadFailed as error:
        raise WeightsNotFound(_not_found(known, weights, str(error))) from error
    if (found := _digest(path, known.digest)) != known.digest:
        path.unlink()
        raise WeightsNotFound(_not_found(known, weights, f"its digest is {found}, expected {known.digest}"))
    return FoundWeights(path, weights, sha256(path))


def _digest(path: Path, published: str) -> str:
    """The file's digest of the published kind; empty if none is published."""
    if not published:
        return ""
    if len(published) == 64:
        return sha256(path)
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _places() -> Iterator[Place]:
    """Directories that may contain copies, in the order of the search."""
    cache = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"
    return in_order([Place(f"Keras' cache: {cache}", cache)], downloads())


def _not_found(known: Published, weights: WeightsFacts, download_result: str) -> str:
    searched = [place.title for place in _places()] + [f"{weights.url}: {download_result}"]
    network = "unset TRANSFER_OFFLINE" if offline() else "a working network"
    return "\n".join(
        [
            f"no weights for keras/{known.name} ({known.file}). Searched:",
            *(f"  {place}" for place in searched),
            "Fix, one of:",
            "  TRANSFER_WEIGHTS=folder   a directory with this file",
            '  weights: "path/to/file"   a .weights.h5, .h5 or .keras file of your own',
            f"  {network:<24}  downloads it",
        ]
    )
