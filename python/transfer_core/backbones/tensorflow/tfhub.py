"""Where SavedModels are on this machine: in a folder of the user's, or among TF Hub's, by their handle."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

from transfer_core.backbones.download import DownloadFailed, download
from transfer_core.backbones.facts import WeightsFacts
from transfer_core.backbones.places import Place, downloads, in_order
from transfer_core.backbones.registry import bare_name
from transfer_core.backbones.tensorflow.saved_model import inside, is_saved_model
from transfer_core.runtime.errors import ConfigurationError, ModelFileError, WeightsNotFound
from transfer_core.runtime.paths import offline
from transfer_core.runtime.permissions import make_directory
from transfer_core.runtime.progress import Progress

SITE = "https://tfhub.dev/"
_COMPRESSED = "tf-hub-format=compressed"


def find_saved_model(name: str, progress: Progress | None = None) -> Path:
    """The folder of the SavedModel: the one that `tensorflow:FOLDER` says, or a copy of the module that
    `tfhub:HANDLE` or its address stands for, or else its download.

    Copies are looked for in the folder `TRANSFER_WEIGHTS`, in TF Hub's cache (`TFHUB_CACHE_DIR`) and among
    our own downloads.

    Raises
    ------
    WeightsNotFound
        With the places that were looked at.
    ModelFileError
        If the folder is there, but is no SavedModel.
    """
    if name.startswith("tensorflow"):
        return _folder(Path(name.removeprefix("tensorflow:")).expanduser())
    handle = handle_of(name)
    for place in _places():
        for inner in _inner_names(handle):
            if place.folder and is_saved_model(place.folder / inner):
                return place.folder / inner
    if offline():
        raise WeightsNotFound(_not_found(handle, "not tried, TRANSFER_OFFLINE is set"))
    try:
        return _fetched(handle, progress or Progress())
    except DownloadFailed as error:
        raise WeightsNotFound(_not_found(handle, str(error))) from error


def handle_of(name: str) -> str:
    """The address that TF Hub knows a module by.

    >>> handle_of("tfhub:google/imagenet/mobilenet_v2_100_224/feature_vector/4")
    'https://tfhub.dev/google/imagenet/mobilenet_v2_100_224/feature_vector/4'
    """
    return name if name.startswith("http") else SITE + bare_name(name).strip("/")


def cache_name(handle: str) -> str:
    """The name of a module's folder in TF Hub's cache: the hex sha1 of its handle.

    So does `tensorflow_hub.compressed_module_resolver`.
    """
    return hashlib.sha1(handle.encode()).hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """The files of a tar.gz as a folder.

    Raises
    ------
    ModelFileError
        If it is damaged, or holds anything that is no file within the folder: a link, a device, `..`.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                if member.isdir():
                    continue
                content = tar.extractfile(member) if member.isfile() else None
                if content is None:
                    raise ModelFileError(f'a SavedModel with "{member.name}" is refused: it is no file')
                path = inside(folder, member.name)
                path.parent.mkdir(parents=True, exist_ok=True)
                with content, path.open("wb") as file:
                    shutil.copyfileobj(content, file)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ModelFileError(f"can't unpack {archive.name}: {error}") from error


def _folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise WeightsNotFound(f"backbone: there is no folder {folder.absolute()}")
    if not is_saved_model(folder):
        raise ModelFileError(f"{folder.absolute()} is no SavedModel: it has no file saved_model.pb")
    return folder


def _places() -> Iterator[Place]:
    """Where copies may be, in the order of looking."""
    return in_order([_tfhub_cache()], _downloads())


def _tfhub_cache() -> Place:
    cache = Path(os.environ.get("TFHUB_CACHE_DIR") or f"{tempfile.gettempdir()}/tfhub_modules").expanduser()
    # Where TF Hub's cache is if nobody says it, anybody may write.
    if cache.is_dir() and cache.stat().st_uid not in (os.geteuid(), 0):
        return Place(f"TF Hub's cache: {cache} belongs to somebody else", None)
    return Place(f"TF Hub's cache: {cache}", cache)


def _inner_names(handle: str) -> Iterator[str]:
    """The folders in which a copy of the module may be, at any place."""
    yield cache_name(handle)
    yield cache_name(_address(handle))  # for who gave TF Hub the address of the download itself
    yield urlparse(handle).path.strip("/")


def _downloads() -> Path:
    return downloads() / "tfhub"


def _address(handle: str) -> str:
    return f"{handle}{'&' if '?' in handle else '?'}{_COMPRESSED}"


def _fetched(handle: str, progress: Progress) -> Path:
    """The module's folder among our downloads, whole or not there at all."""
    archive = WeightsFacts(name=handle, file="module.tar.gz", url=_address(handle))
    target = _downloads() / cache_name(handle)
    try:
        make_directory(_downloads())
        with tempfile.TemporaryDirectory(dir=_downloads(), prefix=".") as name:
            unfinished = Path(name) / "module"
            unpack(download(archive, Path(name), progress), unfinished)
            if not is_saved_model(unfinished):
                raise ModelFileError(f"{handle} is no SavedModel: it has no file saved_model.pb")
            if not is_saved_model(target):  # another process may have fetched it meanwhile
                unfinished.rename(target)
    except OSError as error:
        reason = f"can't write to {_downloads()}: {error.strerror}"
        raise ConfigurationError(f"{reason}; set TRANSFER_HOME") from error
    return target


def _not_found(handle: str, download_result: str) -> str:
    path = urlparse(handle).path.strip("/")
    network = "unset TRANSFER_OFFLINE" if offline() else "a working network"
    return "\n".join(
        [
            f"no copy of {handle}; looked at",
            *(f"  {place.title}" for place in _places()),
            f"  {_address(handle)}: {download_result}",
            "ways out",
            f"  TRANSFER_WEIGHTS=folder      with the SavedModel at {path} in it",
            f"  TFHUB_CACHE_DIR=folder       with the SavedModel at {cache_name(handle)} in it",
            '  backbone "tensorflow:folder" for a SavedModel of your own',
            f"  {network:<28} downloads it",
        ]
    )
