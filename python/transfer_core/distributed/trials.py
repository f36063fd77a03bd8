"""Independent calculations as tasks on the nodes of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from transfer_core.distributed import nodes
from transfer_core.distributed.embedding import current_storage, on_cluster
from transfer_core.distributed.storage import Storage
from transfer_core.runtime.devices import at_most_cores
from transfer_core.runtime.progress import Progress

A = TypeVar("A")
B = TypeVar("B")

_POLL_S = 1.0


def at_once() -> int:
    """The number of tasks that the cluster runs at the same time; 1 outside of `on_cluster`."""
    if current_storage() is None:
        return 1
    return max(1, int(nodes.import_ray().cluster_resources().get("CPU", 1)))


def map_tasks(work: Callable[[A, Progress], B], items: Sequence[A], progress: Progress) -> list[B]:
    """Apply `work`, a function of a module, to each item, on one core of a node each; in this process outside
    of `on_cluster`.

    Returns
    -------
    The results in the order of the items, whatever the order in which they end. A lost task is repeated.

    Raises
    ------
    Cancelled
        If the user asked to stop; the tasks are ended.
    """
    storage = current_storage()
    if storage is None:
        return [work(item, progress) for item in items]
    ray = nodes.import_ray()
    task = ray.remote(num_cpus=1, max_retries=-1)(_perform)
    running = [task.remote(work, item, storage.location) for item in items]
    try:
        pending = running
        while pending:
            progress.check()
            _, pending = ray.wait(pending, num_returns=len(pending), timeout=_POLL_S)
        found: list[B] = ray.get(running)
        return found
    finally:
        for one in running:
            ray.cancel(one, force=True)


def _perform(work: Callable[[Any, Progress], Any], item: Any, location: str) -> Any:
    with at_most_cores(1), on_cluster(Storage(location)):
        return work(item, Progress())
