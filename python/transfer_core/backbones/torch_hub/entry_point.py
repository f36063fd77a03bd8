"""Entry points of a repository's `hubconf.py`: check dependencies, import, call."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Any
from urllib.error import URLError

import torch
from torch import nn

from transfer_core.backbones.torch_hub.repository_clone import Clone
from transfer_core.backbones.torch_hub.torch_hub_preprocessing import published_weights
from transfer_core.runtime.errors import DependencyError, Problem, RecipeError, WeightsNotFound, did_you_mean
from transfer_core.runtime.paths import offline

# The names of the modules that a repository has imported from its folder.
_imported_before: set[str] = set()
_turn = RLock()


@contextmanager
def entry_point(clone: Clone) -> Iterator[tuple[Callable[..., Any], Callable[[], str]]]:
    """Context in which the entry point can import the repository's files.

    Yields
    ------
    entry : callable
        Makes the model.
    code : callable
        Returns the sha256 of the files imported so far.

    Raises
    ------
    RecipeError
        At `backbone`, if the repository has no such model, or no `hubconf.py`.
    DependencyError
        If a package that it needs is not installed.
    """
    if not clone.hubconf.is_file():
        raise _refusal(f"{clone.folder} has no hubconf.py: it is not a repository for PyTorch Hub")
    for package in _dependencies(clone.hubconf):
        if not _is_installed(package):
            raise DependencyError(clone.name, package)
    folder = clone.folder.resolve()
    with _on_the_path(folder) as files:
        hubconf = _imported(clone)
        known = [
            name for name in dir(hubconf) if not name.startswith("_") and callable(getattr(hubconf, name))
        ]
        if clone.model not in known:
            nearest = did_you_mean(clone.model, known)
            raise _refusal(f"{clone.hubconf} has no {clone.model}{nearest} (it has: {', '.join(known)})")
        yield (
            getattr(hubconf, clone.model),
            lambda: _digest(folder, {folder / clone.hubconf.name, *files().values()}),
        )


def _dependencies(hubconf: Path) -> list[str]:
    """The packages in the file's line `dependencies = […]`, without running the file."""
    with suppress(SyntaxError, ValueError):
        for statement in ast.parse(hubconf.read_bytes()).body:
            names = statement.targets if isinstance(statement, ast.Assign) else []
            if any(isinstance(name, ast.Name) and name.id == "dependencies" for name in names):
                assert isinstance(statement, ast.Assign)
                return [str(package) for package in ast.literal_eval(statement.value)]
    return []


def _is_installed(package: str) -> bool:
    return package in sys.modules or importlib.util.find_spec(package.split(".")[0]) is not None


def _imported(clone: Clone) -> Any:
    spec = importlib.util.spec_from_file_location("hubconf", clone.hubconf)
    assert spec
    assert spec.loader
    hubconf = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(hubconf)
    except Exception as error:
        raise _refusal(f"{clone.hubconf} fails: {type(error).__name__}: {error}") from error
    return hubconf


@contextmanager
def _on_the_path(folder: Path) -> Iterator[Callable[[], dict[str, Path]]]:
    """Context in which modules are imported from `folder`; yields a call that returns their files by name.

    One repository at a time: many have modules `models` or `utils`, and each must import its own.
    """
    with _turn:
        for name in _imported_before:
            sys.modules.pop(name, None)
        _imported_before.clear()
        others = set(sys.modules)
        sys.path.insert(0, str(folder))
        try:
            yield lambda: _files(folder, others)
        finally:
            sys.path.remove(str(folder))
            _imported_before.update(_files(folder, others))


def _files(folder: Path, others: Set[str]) -> dict[str, Path]:
    """Files of the modules in `folder` other than `others`, by name, without installed packages."""
    modules = list(sys.modules.items())  # another thread may be importing
    files = {name: Path(getattr(module, "__file__", None) or "") for name, module in modules}
    return {
        name: file
        for name, file in files.items()
        if name not in others and folder in file.parents and not _is_installed_in(folder, file)
    }


def _is_installed_in(folder: Path, file: Path) -> bool:
    """Whether the file belongs to a Python environment inside the directory."""
    python = Path(sys.base_prefix)
    return "site-packages" in file.relative_to(folder).parts or (
        folder in python.parents and python in file.parents
    )


def _digest(folder: Path, files: Iterable[Path]) -> str:
    """sha256 over the names and contents of files."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(folder)} ".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def made(entry: Callable[..., Any], clone: Clone, weights: str) -> nn.Module:
    """Call the entry point; returns the network in eval mode, random weights drawn from a fixed seed.

    Parameters
    ----------
    entry
        The entry point.
    clone
        The repository, for errors.
    weights
        `pretrained`, `random`, or a name if the entry point has a parameter `weights`.

    Raises
    ------
    RecipeError
        At `weights`, if it accepts no names or not this one; at `backbone`, if it fails.
    WeightsNotFound
        If its weights can't be downloaded.
    """
    options = _options(entry, clone, weights)
    try:
        with torch.random.fork_rng(devices=[]), _downloads_if_allowed():
            torch.manual_seed(0)
            network = entry(**options)
    except URLError as error:
        remedy = f"weights: a .pth file, or a copy in {torch.hub.get_dir()}/checkpoints"
        message = f"{clone.name} could not download its weights ({error.reason}). Fix: {remedy}"
        raise WeightsNotFound(message) from error
    except Exception as error:
        raise _refusal(f"{clone.name} fails: {type(error).__name__}: {error}") from error
    if not isinstance(network, nn.Module):
        raise _refusal(f"{clone.name} returns {type(network).__name__}, expected a network")
    return network.cpu().eval()


def _options(entry: Callable[..., Any], clone: Clone, weights: str) -> dict[str, Any]:
    """Arguments of the entry point: `pretrained`, or `weights` as in torchvision."""
    parameters = inspect.signature(entry).parameters
    if "weights" in parameters:
        return {"weights": _member(entry, weights)}
    if weights not in ("pretrained", "random"):
        message = f"{clone.name} accepts no names of weights. Fix: pretrained, random or a path"
        raise RecipeError([Problem("weights", message)])
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return {"pretrained": weights == "pretrained"} if "pretrained" in parameters or takes_any else {}


def _member(entry: Callable[..., Any], weights: str) -> Any:
    if weights == "random":
        return None
    name = "DEFAULT" if weights == "pretrained" else weights
    known = published_weights(entry)
    if known is None:
        return name
    if name not in known.__members__:
        nearest = did_you_mean(name, list(known.__members__))
        message = f'unknown weights "{name}"{nearest} (one of: {", ".join(known.__members__)})'
        raise RecipeError([Problem("weights", message)])
    return known[name]


@contextmanager
def _downloads_if_allowed() -> Iterator[None]:
    """Context in which torch.hub downloads nothing if `TRANSFER_OFFLINE` is set."""
    usual = torch.hub.download_url_to_file
    if offline():
        torch.hub.download_url_to_file = _refuse_download
    try:
        yield
    finally:
        torch.hub.download_url_to_file = usual


def _refuse_download(url: str, *_: Any, **__: Any) -> None:
    raise URLError(f"TRANSFER_OFFLINE is set, {url} was not tried")


def _refusal(message: str) -> RecipeError:
    return RecipeError([Problem("backbone", message)])
