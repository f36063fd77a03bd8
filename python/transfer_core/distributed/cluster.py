"""The cluster of a training: address of its job server, and the storage that all its nodes share."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from transfer_core.recipe.schema import PathSource, Recipe, Source, Splits
from transfer_core.runtime.errors import Problem, RecipeError

_ADDRESS = re.compile(r"(ray|ray\+https)://([\w.-]+|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?/?", re.ASCII)
_PORT = ":8265"
_SCHEMES = {"ray": "http", "ray+https": "https"}


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster.

    Parameters
    ----------
    url
        Of the job server: `http://head:8265`.
    storage
        A directory that this machine and all nodes see under the same path, or a URL that fsspec opens
        (`s3://bucket/transfer`).
    """

    url: str
    storage: str


def cluster_of(engine: str | None, storage: str | None) -> Cluster | None:
    """The cluster of a call; None: this machine.

    Parameters
    ----------
    engine
        `ray://head:8265`, `ray+https://head`, or `local`. None: `TRANSFER_ENGINE`. The address comes from the
        caller, never from a file.
    storage
        See `Cluster`. None: `TRANSFER_STORAGE`.

    Raises
    ------
    RecipeError
        At `engine` or `storage`.
    """
    engine = engine or os.environ.get("TRANSFER_ENGINE") or "local"
    if engine == "local":
        return None
    found = _ADDRESS.fullmatch(engine)
    if not found:
        message = f'expected "ray://HOST:PORT", "ray+https://HOST:PORT" or "local" (got "{engine}")'
        raise RecipeError([Problem("engine", message)])
    storage = storage or os.environ.get("TRANSFER_STORAGE")
    if not storage:
        message = (
            "the engine ray needs storage that all nodes share. Fix: set storage (TRANSFER_STORAGE) to a "
            "directory that this machine and all nodes see, or to a URL such as s3://bucket/transfer"
        )
        raise RecipeError([Problem("storage", message)])
    if "://" not in storage:
        storage = os.path.abspath(os.path.expanduser(storage))
    scheme, host, port = found.groups()
    return Cluster(f"{_SCHEMES[scheme]}://{host}{port or _PORT}", storage)


def check_sources(recipe: Recipe) -> None:
    """Raise `RecipeError` for rows, which the nodes of a cluster can't read."""
    sources = {"data": recipe.data, "source": recipe.source, "unlabelled": recipe.unlabelled}
    problems = [
        Problem(word, "rows stay here, in this process. Fix: give a path that all nodes of the cluster see")
        for word, source in sources.items()
        if source and not all(isinstance(part, PathSource) for part in _parts(source))
    ]
    if problems:
        raise RecipeError(problems)


def _parts(source: Source) -> list[object]:
    if isinstance(source, Splits):
        return [part for part in (source.train, source.valid, source.test) if part]
    return [source]
