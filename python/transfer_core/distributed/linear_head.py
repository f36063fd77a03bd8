"""The default head on shards of embeddings in files, computed by one or several processes of this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from transfer_core.distributed.launch import Member, run_in_processes
from transfer_core.heads.cross_validated import LinearFit, fit_linear
from transfer_core.heads.rows import Rows
from transfer_core.heads.shards import LocalShards, Placed, ShardedFeatures
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import Array
from transfer_core.training.processes import Processes


def fit_on_shards(
    paths: Sequence[str],
    rows: Rows,
    outputs: int,
    folds: int,
    seed: int,
    progress: Progress,
    processes: int = 1,
) -> LinearFit:
    """Fit the default head on embeddings that are not gathered; memory does not grow with their number.

    Parameters
    ----------
    paths
        Files of numpy (`.npy`), float32 (n, D) each, one below the other; they are memory-mapped.
    rows
        Targets and weights of all rows; its features are not used.
    outputs, folds, seed, progress
        As for `fit_linear`.
    processes
        Their number; each reads its own files. The result does not depend on it.

    Raises
    ------
    TransferError
        As `fit_linear` and `run_in_processes` do.
    """
    if processes == 1:
        shards = LocalShards([_opened(path) for path in paths])
        return fit_linear(replace(rows, features=ShardedFeatures(shards)), outputs, folds, seed, progress)
    light = replace(rows, features=np.empty((0, 0), np.float32))
    work = partial(_fit_in_group, list(paths), light, outputs, folds, seed)
    fit: LinearFit = run_in_processes(processes, work, progress)
    return fit


@dataclass(frozen=True)
class GroupShards(LocalShards):
    """Shards of which process r of n computes the numbers r, r + n, …; every process gets all results."""

    processes: Processes

    def place(self, make: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> Placed:
        """See `Shards.place`; objects of other processes are not made."""
        own = range(self.processes.rank, len(self.features), self.processes.count)
        return _InGroup({i: make(self.features[i], *arguments[i]) for i in own}, self.processes)


@dataclass(frozen=True)
class _InGroup:
    own: dict[int, Any]
    processes: Processes

    def call(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        found = {i: getattr(one, method)(*arguments[i]) for i, one in self.own.items()}
        everyone = {i: result for part in self.processes.everyone(found) for i, result in part.items()}
        return [everyone[i] for i in range(len(arguments))]


def _fit_in_group(
    paths: list[str], rows: Rows, outputs: int, folds: int, seed: int, member: Member, progress: Progress
) -> LinearFit:
    from transfer_core.distributed.group import open_group

    with open_group(member):
        shards = GroupShards([_opened(path) for path in paths], Processes(member.rank, member.count))
        return fit_linear(replace(rows, features=ShardedFeatures(shards)), outputs, folds, seed, progress)


def _opened(path: str) -> Array:
    features: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return features
