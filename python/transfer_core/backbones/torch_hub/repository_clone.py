"""Copies of PyTorch Hub's repositories on this machine."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch

from transfer_core.backbones.registry import bare_name
from transfer_core.runtime.errors import Problem, RecipeError, WeightsNotFound
from transfer_core.runtime.paths import offline

_REPOSITORY = re.compile(r"(?P<owner>[\w.-]+)/(?P<repo>[\w.-]+):(?P<ref>.+)/(?P<model>\w+)")
_FOLDER = re.compile(r"(?P<folder>[/.~].*):(?P<model>\w+)")


@dataclass(frozen=True)
class Clone:
    """A repository's files in `folder`, and one of the models in its `hubconf.py`; `origin` is
    OWNER/REPO:REF, or empty for a folder of the user's own."""

    name: str
    origin: str
    folder: Path
    model: str

    @property
    def hubconf(self) -> Path:
        """The file that says which models there are."""
        return self.folder / "hubconf.py"

    @property
    def url(self) -> str:
        """Where the code is shown; empty for a folder."""
        repository, _, ref = self.origin.partition(":")
        return f"https://github.com/{repository}/tree/{ref}" if ref else ""


def clone_named(name: str) -> Clone:
    """`torchhub:OWNER/REPO:REF/MODEL`, or `torchhub:FOLDER:MODEL` where FOLDER begins with `/`, `.` or `~`.

    Raises
    ------
    RecipeError
        At `backbone`, with what is missing.
    """
    bare = bare_name(name)
    if found := _FOLDER.fullmatch(bare):
        return Clone(name, "", Path(found["folder"]).expanduser(), found["model"])
    if found := _REPOSITORY.fullmatch(bare):
        origin = f"{found['owner']}/{found['repo']}:{found['ref']}"
        # As torch.hub names its copies.
        folder = f"{found['owner']}_{found['repo']}_{found['ref'].replace('/', '_')}"
        return Clone(name, origin, Path(torch.hub.get_dir()) / folder, found["model"])
    message = (
        f'"{name}" is not torchhub:OWNER/REPO:REF/MODEL, where REF is a tag or a commit of the code that is '
        "to be run, nor torchhub:./FOLDER:MODEL"
    )
    raise RecipeError([Problem("backbone", message)])


def check_trust(clone: Clone, trust: bool) -> None:
    """Raises `RecipeError` at `trust`, naming the code that would run, unless it is trusted.

    Of a folder that is not there, `WeightsNotFound`.
    """
    if not trust:
        if not clone.origin:
            fetch(clone)
        where = f" ({clone.origin})" if clone.origin else ""
        message = f"{clone.name} runs the code in {clone.hubconf}{where}; say `trust: true` if you trust it"
        raise RecipeError([Problem("trust", message)])


def fetch(clone: Clone) -> None:
    """Bring the repository into torch's folder, unless it is there.

    Raises
    ------
    WeightsNotFound
        If it can't be fetched, or may not be.
    """
    if clone.folder.is_dir():
        return
    if not clone.origin:
        raise WeightsNotFound(f"{clone.name}: there is no folder {clone.folder.absolute()}")
    result = "not tried, TRANSFER_OFFLINE is set"
    if not offline():
        try:
            with suppress(ImportError):  # told better when it is imported for use
                torch.hub.list(  # type: ignore[no-untyped-call]
                    clone.origin, skip_validation=True, trust_repo=True, verbose=False
                )
            return
        except (URLError, OSError, ValueError) as error:
            result = f"failed, {error}"
    raise WeightsNotFound(
        f"{clone.name}: no copy at {clone.folder}, and the download of {clone.origin}: {result}"
    )
