"""Where the weights of `keras.applications` are on this machine."""

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
    """The user's own file of weights.

    Raises
    ------
    WeightsNotFound
        If there is none.
    ModelFileError
        If it is none of Keras'.
    """
    found = own_file(facts, path)
    if found.path.suffix not in _SUFFIXES:
        raise ModelFileError(f"weights: {found.path} is no file of Keras' weights (.weights.h5, .h5, .keras)")
    return found


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
    for place in _places():
        for path in place.copies(weights):
            found = _digest(path, known.digest)
            if found == known.digest:
                return FoundWeights(path, weights, sha256(path))
            progress.warning(f"left out {path}: its digest is {found}, not {known.digest}")
    if offline():
        raise WeightsNotFound(_not_found(known, weights, "not tried, TRANSFER_OFFLINE is set"))
    try:
        path = download(weights, downloads(), progress)
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


def _places() -> Iterator[Place]:
    """Where copies may be, in the order of looking."""
    cache = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"
    return in_order([Place(f"Keras' cache: {cache}", cache)], downloads())


def _not_found(known: Published, weights: WeightsFacts, download_result: str) -> str:
    looked = [place.title for place in _places()] + [f"{weights.url}: {download_result}"]
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
