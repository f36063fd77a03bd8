"""Local copies of PyTorch Hub's repositories."""

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
    """A copy of a repository, and one of the models in its `hubconf.py`.

    Parameters
    ----------
    name
        The backbone's name.
    origin
        OWNER/REPO:REF; empty for a directory of the user's.
    folder
        The directory of the copy.
    model
        Name of the entry point.
    """

    name: str
    origin: str
    folder: Path
    model: str

    @property
    def hubconf(self) -> Path:
        """The file that defines the models."""
        return self.folder / "hubconf.py"

    @property
    def url(self) -> str:
        """The web page of the code; empty for a directory of the user's."""
        repository, _, ref = self.origin.partition(":")
        return f"https://github.com/{repository}/tree/{ref}" if ref else ""


def clone_named(name: str) -> Clone:
    """Parse `torchhub:OWNER/REPO:REF/MODEL`, or `torchhub:FOLDER:MODEL` (FOLDER begins with `/`, `.` or `~`).

    Raises
    ------
    RecipeError
        At `backbone` for another form.
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
        f'"{name}" is neither torchhub:OWNER/REPO:REF/MODEL, where REF is a tag or a commit of the code, nor '
        "torchhub:./FOLDER:MODEL"
    )
    raise RecipeError([Problem("backbone", message)])


def check_trust(clone: Clone, trust: bool) -> None:
    """Raise `RecipeError` at `trust` with the code that would run, unless it is trusted.

    Raises `WeightsNotFound` for a directory that does not exist.
    """
    if not trust:
        if not clone.origin:
            fetch(clone)
        where = f" ({clone.origin})" if clone.origin else ""
        message = f"{clone.name} runs the code in {clone.hubconf}{where}. Fix: `trust: true` if you trust it"
        raise RecipeError([Problem("trust", message)])


def fetch(clone: Clone) -> None:
    """Download the repository to torch's directory, unless there is a copy.

    Raises
    ------
    WeightsNotFound
        If the download fails or is not allowed.
    """
    if clone.folder.is_dir():
        return
    if not clone.origin:
        raise WeightsNotFound(f"{clone.name}: the directory {clone.folder.absolute()} does not exist")
    result = "not tried, TRANSFER_OFFLINE is set"
    if not offline():
        try:
            with suppress(ImportError):  # reported when the entry point is imported
                torch.hub.list(  # type: ignore[no-untyped-call]
                    clone.origin, skip_validation=True, trust_repo=True, verbose=False
                )
            return
        except (URLError, OSError, ValueError) as error:
            result = f"failed, {error}"
    raise WeightsNotFound(
        f"{clone.name}: no copy at {clone.folder}, and the download of {clone.origin}: {result}"
    )
