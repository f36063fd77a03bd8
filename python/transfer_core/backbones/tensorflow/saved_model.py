"""TensorFlow's SavedModel as a directory of files. No TensorFlow here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from transfer_core.backbones.weights import sha256
from transfer_core.runtime.errors import ModelFileError

GRAPH = "saved_model.pb"
# A `foreign_network.DeclaredPreprocessing`, in the directory that the format reserves for users.
PREPARATION = "assets.extra/preprocessing.json"

_FILES = (GRAPH, "tfhub_module.pb", "fingerprint.pb")
_FOLDERS = ("variables", "assets", "assets.extra")


def is_saved_model(folder: Path) -> bool:
    """Whether the directory has a graph; other files may be damaged."""
    return (folder / GRAPH).is_file()


def read_files(folder: Path) -> dict[str, bytes]:
    """Read the files of a SavedModel, by their relative names (`variables/variables.index`)."""
    return {name: path.read_bytes() for name, path in _paths(folder)}


def folder_digest(folder: Path) -> str:
    """sha256 over the names and digests of the files, in hexadecimal; fast for unchanged files."""
    return _digest((name, sha256(path)) for name, path in _paths(folder))


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files to a directory, as `read_files` read them.

    Raises
    ------
    ModelFileError
        For a name that is outside the directory, or not one of the format's.
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
    """The path of a file in `folder`; raises `ModelFileError` if the name is outside of it."""
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts or "\\" in name:
        raise ModelFileError(f'a SavedModel with the file "{name}" is refused: it is outside its directory')
    return folder.joinpath(*parts)


def preparation(content: bytes, origin: str) -> dict[str, Any]:
    """Parse the file `PREPARATION`; raises `ModelFileError` if it is not a JSON object."""
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ModelFileError(f"{origin}: {PREPARATION} is not a JSON object: {error}") from None


def files_digest(files: Mapping[str, bytes]) -> str:
    """The `folder_digest` of a directory with these files."""
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
