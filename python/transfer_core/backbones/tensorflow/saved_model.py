"""TensorFlow's SavedModel as what it is on disk: a folder of files. No TensorFlow here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from transfer_core.backbones.weights import sha256
from transfer_core.runtime.errors import ModelFileError

GRAPH = "saved_model.pb"
# In the folder that the format leaves to users: how images are prepared, in the words of `foreign.Said`.
PREPARATION = "assets.extra/preprocessing.json"

_FILES = (GRAPH, "tfhub_module.pb", "fingerprint.pb")
_FOLDERS = ("variables", "assets", "assets.extra")


def is_saved_model(folder: Path) -> bool:
    """Whether the folder has a graph; its other files may still be damaged."""
    return (folder / GRAPH).is_file()


def read_files(folder: Path) -> dict[str, bytes]:
    """The files that belong to the SavedModel, by their names within it (`variables/variables.index`)."""
    return {name: path.read_bytes() for name, path in _paths(folder)}


def folder_digest(folder: Path) -> str:
    """Hex sha256 over the names and the digests of the files; quick for files that have not changed."""
    return _digest((name, sha256(path)) for name, path in _paths(folder))


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """A folder with the files that `read_files` gave.

    Raises
    ------
    ModelFileError
        For a name that leads out of the folder, or is none of a SavedModel's.
    """
    for name, content in files.items():
        path = inside(folder, name)
        if name not in _FILES and PurePosixPath(name).parts[0] not in _FOLDERS:
            raise ModelFileError(
                f'a SavedModel with the file "{name}" is refused: the format has no such file'
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def inside(folder: Path, name: str) -> Path:
    """The place of a file in `folder`; raises `ModelFileError` if its name leads out of it."""
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts or "\\" in name:
        raise ModelFileError(f'a SavedModel with the file "{name}" is refused: that is not within its folder')
    return folder.joinpath(*parts)


def preparation(content: bytes, origin: str) -> dict[str, Any]:
    """What the file `PREPARATION` says; raises `ModelFileError` if it is no JSON object."""
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ModelFileError(f"{origin}: {PREPARATION} is no JSON object: {error}") from None


def files_digest(files: Mapping[str, bytes]) -> str:
    """`folder_digest` of the folder with these files."""
    return _digest((name, hashlib.sha256(files[name]).hexdigest()) for name in sorted(files))


def _digest(digests: Iterable[tuple[str, str]]) -> str:
    return hashlib.sha256("".join(f"{digest} {name}\n" for name, digest in digests).encode()).hexdigest()


def _paths(folder: Path) -> Iterator[tuple[str, Path]]:
    """Sorted by name; raises `ModelFileError` for a link to a file elsewhere."""
    single = [folder / name for name in _FILES]
    nested = [path for name in _FOLDERS for path in (folder / name).rglob("*")]
    found = {path.relative_to(folder).as_posix(): path for path in (*single, *nested) if path.is_file()}
    for name, path in found.items():
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ModelFileError(f"{folder} can't be used: its file {name} is a link to a file elsewhere")
    yield from sorted(found.items())
