"""Fine-tuning by processes on several nodes of a Ray cluster: the driver is process 0, tasks are the others.

The driver writes the checkpoints and reports progress as on one machine. If a task ends, all begin again at
the last checkpoint; if the driver ends, its job is submitted again (`client`).
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from torch import distributed
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

from transfer_core.distributed import nodes
from transfer_core.distributed.fine_tuning import Job, Result, train_part
from transfer_core.distributed.launch import MOST_RESTARTS
from transfer_core.runs.checkpoints import PhaseCheckpointer
from transfer_core.runtime.errors import ConfigurationError, TransferError
from transfer_core.runtime.progress import Progress
from transfer_core.training.checkpointer import Checkpointer, Snapshot
from transfer_core.training.processes import LostProcess, Processes

_POLL_S = 0.2
# Seconds in which the end of a task shows why the driver lost it.
_SETTLE_S = 10


def train_on_nodes(count: int, job: Job, progress: Progress, checkpointer: Checkpointer) -> Result:
    """Train in `count` processes on the nodes; return what `train_part` does.

    Raises
    ------
    ConfigurationError
        If tasks were lost too often.
    TransferError
        As `fine_tune` does.
    """
    packed = pickle.dumps(dict(job))
    for restarts in range(MOST_RESTARTS + 1):
        try:
            return _attempt(count, packed, progress, checkpointer)
        except LostProcess:
            if restarts == MOST_RESTARTS:
                raise ConfigurationError(
                    f"a process on a node was lost, after {restarts} restarts. Fix: check the nodes of the "
                    "cluster, and resume the run"
                ) from None
            # Not a warning, which the model would keep: it is the same.
            progress.stage("fine_tune", "a process on a node was lost: all restart from the last checkpoint")
    raise AssertionError


@dataclass(frozen=True)
class _Begun:
    """A checkpointer that begins with `saved`; `keep` saves further states."""

    saved: Snapshot | None
    keep: Callable[[Callable[[], Snapshot]], None] | None = None

    def load(self) -> Snapshot | None:
        return self.saved

    def save(self, snapshot: Callable[[], Snapshot]) -> None:
        if self.keep:
            self.keep(snapshot)


def _attempt(count: int, packed: bytes, progress: Progress, checkpointer: Checkpointer) -> Result:
    ray = nodes.import_ray()
    begun = _Begun(None)
    if isinstance(checkpointer, PhaseCheckpointer):
        own = pickle.loads(pickle.dumps(checkpointer)).in_process(0, progress)
        begun = _Begun(own.load(), own.save)
    job = pickle.loads(packed)
    gpus = 1 if job["machine"].device.type == "cuda" else 0
    host = ray.util.get_node_ip_address()
    store = TCPStore(host, 0, is_master=True, wait_for_workers=False)
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0, scheduling_strategy="SPREAD")(_part_on_node)
    shared, saved = ray.put(packed), ray.put(begun.saved)
    address = (host, store.port)
    tasks = [task.remote(shared, saved, address, Processes(rank, count)) for rank in range(1, count)]
    try:
        while not store.check([_ready(rank) for rank in range(1, count)]):
            progress.check()
            if ray.wait(tasks, timeout=_POLL_S)[0]:
                raise LostProcess
        with _joined(host, store, Processes(0, count)):
            return train_part(job, begun, Processes(0, count), progress)
    except LostProcess:
        _raise_error_of(tasks)
        raise
    finally:
        for one in tasks:
            with suppress(Exception):  # it has ended
                ray.cancel(one, force=True)


def _part_on_node(
    packed: bytes, saved: Snapshot | None, address: tuple[str, int], processes: Processes
) -> None:
    """Compute the part of a process, in a task."""
    store = TCPStore(*address, is_master=False)
    store.set(_ready(processes.rank), "1")
    with _joined(address[0], store, processes):
        train_part(pickle.loads(packed), _Begun(saved), processes, Progress())


@contextmanager
def _joined(host: str, store: Store, processes: Processes) -> Iterator[None]:
    """Join the default group for the block."""
    if host.startswith("127."):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    import torch

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        distributed.init_process_group(backend, store=store, rank=processes.rank, world_size=processes.count)
    except RuntimeError as error:
        raise LostProcess(str(error)) from error
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _raise_error_of(tasks: list[Any]) -> None:
    """Raise the error of a task that has one of its own."""
    ray = nodes.import_ray()
    for one in tasks:
        try:
            ray.get(one, timeout=_SETTLE_S)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, TransferError):
                raise error.cause from None
            if not isinstance(error.cause, LostProcess):
                raise
        except ray.exceptions.RayError:
            continue


def _ready(rank: int) -> str:
    return f"ready/{rank}"
