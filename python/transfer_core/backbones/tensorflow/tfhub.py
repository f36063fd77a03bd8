"""Find SavedModels: directories of the user, copies of TF Hub's modules, or their downloads."""

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
    """Find the directory of a SavedModel.

    Copies of TF Hub's modules are searched in the directory `TRANSFER_WEIGHTS`, in TF Hub's cache
    (`TFHUB_CACHE_DIR`) and among our own downloads; a module that is not found is downloaded.

    Parameters
    ----------
    name
        `tensorflow:FOLDER`, `tfhub:HANDLE` or the address of a module.
    progress
        Receives the progress of the download.

    Raises
    ------
    WeightsNotFound
        With the places that were searched.
    ModelFileError
        If the directory exists and is not a SavedModel.
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
    """The address that identifies a module at TF Hub.

    >>> handle_of("tfhub:google/imagenet/mobilenet_v2_100_224/feature_vector/4")
    'https://tfhub.dev/google/imagenet/mobilenet_v2_100_224/feature_vector/4'
    """
    return name if name.startswith("http") else SITE + bare_name(name).strip("/")


def cache_name(handle: str) -> str:
    """The name of a module's directory in TF Hub's cache: the sha1 of its handle in hexadecimal.

    As in `tensorflow_hub.compressed_module_resolver`.
    """
    return hashlib.sha1(handle.encode()).hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar.gz into a directory.

    Raises
    ------
    ModelFileError
        If it is damaged, or contains anything but files within the directory: a link, a device, `..`.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                if member.isdir():
                    continue
                content = tar.extractfile(member) if member.isfile() else None
                if content is None:
                    raise ModelFileError(f'a SavedModel with "{member.name}" is refused: it is not a file')
                path = inside(folder, member.name)
                path.parent.mkdir(parents=True, exist_ok=True)
                with content, path.open("wb") as file:
                    shutil.copyfileobj(content, file)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ModelFileError(f"can't unpack {archive.name}: {error}") from error


def _folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise WeightsNotFound(f"backbone: the directory {folder.absolute()} does not exist")
    if not is_saved_model(folder):
        raise ModelFileError(f"{folder.absolute()} is not a SavedModel: it has no file saved_model.pb")
    return folder


def _places() -> Iterator[Place]:
    """Directories that may contain copies, in the order of the search."""
    return in_order([_tfhub_cache()], _downloads())


def _tfhub_cache() -> Place:
    cache = Path(os.environ.get("TFHUB_CACHE_DIR") or f"{tempfile.gettempdir()}/tfhub_modules").expanduser()
    # The default directory is in one that all users can write to.
    if cache.is_dir() and cache.stat().st_uid not in (os.geteuid(), 0):
        return Place(f"TF Hub's cache: {cache} belongs to another user", None)
    return Place(f"TF Hub's cache: {cache}", cache)


def _inner_names(handle: str) -> Iterator[str]:
    """Names of the directories that may contain a copy of the module."""
    yield cache_name(handle)
    yield cache_name(_address(handle))  # of a module loaded by the address of its download
    yield urlparse(handle).path.strip("/")


def _downloads() -> Path:
    return downloads() / "tfhub"


def _address(handle: str) -> str:
    return f"{handle}{'&' if '?' in handle else '?'}{_COMPRESSED}"


def _fetched(handle: str, progress: Progress) -> Path:
    """Download a module; its directory exists only once it is complete."""
    archive = WeightsFacts(name=handle, file="module.tar.gz", url=_address(handle))
    target = _downloads() / cache_name(handle)
    try:
        make_directory(_downloads())
        with tempfile.TemporaryDirectory(dir=_downloads(), prefix=".") as name:
            unfinished = Path(name) / "module"
            unpack(download(archive, Path(name), progress), unfinished)
            if not is_saved_model(unfinished):
                raise ModelFileError(f"{handle} is not a SavedModel: it has no file saved_model.pb")
            if not is_saved_model(target):  # another process may have downloaded it meanwhile
                unfinished.rename(target)
    except OSError as error:
        reason = f"can't write to {_downloads()}: {error.strerror}"
        raise ConfigurationError(f"{reason}. Fix: set TRANSFER_HOME to a directory of yours") from error
    return target


def _not_found(handle: str, download_result: str) -> str:
    path = urlparse(handle).path.strip("/")
    network = "unset TRANSFER_OFFLINE" if offline() else "a working network"
    return "\n".join(
        [
            f"no copy of {handle}. Searched:",
            *(f"  {place.title}" for place in _places()),
            f"  {_address(handle)}: {download_result}",
            "Fix, one of:",
            f"  TRANSFER_WEIGHTS=folder      a directory with the SavedModel at {path}",
            f"  TFHUB_CACHE_DIR=folder       a directory with the SavedModel at {cache_name(handle)}",
            '  backbone "tensorflow:folder" a SavedModel of your own',
            f"  {network:<28} downloads it",
        ]
    )
