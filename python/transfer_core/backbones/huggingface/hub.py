"""List and download the files of a model of the Hugging Face hub; published digests are checked."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

from transfer_core.backbones.download import DownloadFailed, download, reason
from transfer_core.runtime.progress import Progress

_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class HubFile:
    """See `download.Published`."""

    url: str
    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Listing:
    """The files of a model at a commit, by their relative paths."""

    commit: str
    files: dict[str, HubFile]


def listed(model: str, revision: str) -> Listing:
    """List the files of a model at a revision: a branch, a tag or a commit.

    Raises
    ------
    DownloadFailed
        If the hub can't be reached, or the model does not exist or is not public.
    """
    path = f"api/models/{quote(model)}/revision/{quote(revision, safe='')}?blobs=true"
    answer = _answer(f"{_endpoint()}/{path}")
    commit = str(answer["sha"])
    files = {}
    for entry in answer.get("siblings", ()):
        name, large = entry["rfilename"], entry.get("lfs") or {}
        url = f"{_endpoint()}/{quote(model)}/resolve/{commit}/{quote(name)}"
        size = large.get("size") or entry.get("size") or 0
        files[name] = HubFile(url, PurePosixPath(name).name, large.get("sha256", ""), size)
    return Listing(commit, files)


def fetch(listing: Listing, name: str, folder: Path, progress: Progress) -> None:
    """Download a file of the listing into `folder`, at its relative path.

    Raises
    ------
    DownloadFailed, ConfigurationError
        See `download`.
    """
    if ".." in PurePosixPath(name).parts or name.startswith("/"):
        raise DownloadFailed(f"the hub lists the file {name}, which is outside the model's directory")
    download(listing.files[name], (folder / name).parent, progress, _token())


def _answer(url: str) -> Any:
    request = Request(url, headers={"User-Agent": "transfer-core"})
    if token := _token():
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urlopen(request, timeout=_TIMEOUT_S) as response:
            return json.load(response)
    except (OSError, HTTPException, ValueError) as error:
        raise DownloadFailed(f"{url}: failed, {reason(error)}") from error


def _endpoint() -> str:
    """The address of the hub or, as in huggingface_hub, of a mirror."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _token() -> str:
    """The user's access token, for models that are not public."""
    return os.environ.get("HF_TOKEN", "")
