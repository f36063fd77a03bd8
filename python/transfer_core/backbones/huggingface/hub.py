"""Asks the Hugging Face hub what a model is made of, and fetches its files: checked, where it has digests."""

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
    """The files of a model by their paths in it, at a commit."""

    commit: str
    files: dict[str, HubFile]


def listed(model: str, revision: str) -> Listing:
    """What the hub has of a model at a revision: a branch, a tag or a commit.

    Raises
    ------
    DownloadFailed
        If it can't be reached, or has none or keeps it from us; the message says which.
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
    """Put a file of the listing into `folder`, at its own path in it.

    Raises
    ------
    DownloadFailed, ConfigurationError
        As `download` does.
    """
    if ".." in PurePosixPath(name).parts or name.startswith("/"):
        raise DownloadFailed(f"the hub names a file {name}, which would lie elsewhere")
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
    """The hub or, as huggingface_hub has it, a mirror of it."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _token() -> str:
    """What lets its owner read models that are not for everybody."""
    return os.environ.get("HF_TOKEN", "")
