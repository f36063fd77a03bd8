"""Embedding in shards: tasks of Ray fill the store of embeddings before it is read.

A shard is a part of the inputs, chosen by their digests alone. Its task writes ordinary rows of the cache
into one file of the shared storage, named after the content: a shard whose file exists is not computed again,
whatever task, node or job was lost. A task holds one shard in memory.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from transfer_core.backbones.frozen import open_backbone
from transfer_core.cache import RowStore
from transfer_core.data import Dataset
from transfer_core.data.near_images import WIDTH
from transfer_core.distributed import nodes
from transfer_core.distributed.storage import Storage
from transfer_core.features import Extractor, FeatureStore, Views, build_extractor, embed_dataset
from transfer_core.features.engines.choice import Choice, installed_engines
from transfer_core.features.network import NetworkExtractor
from transfer_core.features.thumbnails import thumbnail_store
from transfer_core.recipe.schema import Recipe, TextOptions
from transfer_core.runtime.devices import Device, at_most_cores
from transfer_core.runtime.errors import ConfigurationError, TransferError
from transfer_core.runtime.progress import Progress

# Inputs per shard: a thirty-second of all, so that few nodes are loaded evenly, within these bounds.
_PARTS, _FEWEST, _MOST = 32, 16, 512
# Shards in flight per core: one computes, one waits.
_AHEAD = 2
# Seconds without any core in the cluster before the training ends.
_PATIENCE_S = 60.0
_POLL_S = 1.0

_STORAGE: ContextVar[Storage | None] = ContextVar("cluster_storage", default=None)


@contextmanager
def on_cluster(storage: Storage) -> Iterator[None]:
    """Within the block, `fill` computes on the cluster that this process is a driver of."""
    token = _STORAGE.set(storage)
    try:
        yield
    finally:
        _STORAGE.reset(token)


def current_storage() -> Storage | None:
    """The storage of the cluster; None outside of `on_cluster`."""
    return _STORAGE.get()


@dataclass(frozen=True)
class Network:
    """An extractor, as a task rebuilds it: `choice` and `fingerprint` are those of the driver."""

    backbone: str
    weights: str
    trust: bool
    text: TextOptions
    device: str
    precision: str
    choice: Choice
    fingerprint: str


@dataclass(frozen=True)
class Order:
    """How to embed: the same for all shards of a data set.

    Parameters
    ----------
    width
        D, the numbers in an embedding.
    noun
        What the inputs are called in messages.
    thumbnails
        The owner of the rows of thumbnails; empty: none are made.
    """

    network: Network
    views: Views
    width: int
    noun: str
    thumbnails: str


def fill(
    dataset: Dataset,
    views_of: Sequence[int],
    views: Views,
    extractor: Extractor,
    recipe: Recipe,
    thumbnails: str,
    noun: str,
    progress: Progress,
) -> None:
    """Compute missing embeddings of `dataset` on the cluster, and add them to the stores of this machine.

    Inputs that can't be read are left out: the caller reads them again and reports them. Nothing happens
    outside of `on_cluster`, nor for a backbone that only this process has: fitted, or of random weights.

    Parameters
    ----------
    views_of
        The number of views of each input.
    extractor
        The extractor of this process.
    recipe
        Names backbone and weights.
    thumbnails
        The owner of the thumbnails, which are stored as well; empty: none.
    noun
        What the inputs are called in messages.
    progress
        Progress events and cancellation.

    Raises
    ------
    ConfigurationError
        With the node and the remedy.
    """
    storage = _STORAGE.get()
    only_here = recipe.reuse or recipe.start or recipe.weights == "random"
    if storage is None or only_here or not isinstance(extractor, NetworkExtractor):
        return
    network = Network(
        recipe.backbone,
        recipe.weights,
        recipe.trust,
        recipe.text,
        extractor.device,
        recipe.precision,
        extractor.choice,
        extractor.fingerprint,
    )
    order = Order(network, views, extractor.width, noun, thumbnails)
    shards = [shard for shard in _shards(dataset, views_of, order) if not _known(shard, order)]
    total = sum(len(shard.data) for shard in shards)
    done = 0
    for shard in _stored_first(shards, order, storage, progress):
        _take(shard, order, storage)
        done += len(shard.data)
        progress.advance("freeze", done, total, noun)


@dataclass(frozen=True)
class Shard:
    """Inputs with their numbers of views; `name` is the file of their rows."""

    data: Dataset
    views_of: tuple[int, ...]
    name: str

    def keys(self, views: Views) -> list[str]:
        """The keys of the rows in the store of embeddings."""
        return [
            views.key(digest, view)
            for digest, count in zip(self.data.digests, self.views_of, strict=True)
            for view in range(count)
        ]


def _shards(dataset: Dataset, views_of: Sequence[int], order: Order) -> list[Shard]:
    """Cut the inputs in shards, in the order of their digests."""
    first: dict[str, int] = {}
    for row, (digest, count) in enumerate(zip(dataset.digests, views_of, strict=True)):
        if count and (digest not in first or count > views_of[first[digest]]):
            first[digest] = row
    rows = [first[digest] for digest in sorted(first)]
    size = min(_MOST, max(_FEWEST, -(-len(rows) // _PARTS)))
    found = []
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        shard = Shard(dataset.take(some), tuple(views_of[row] for row in some), "")
        content = "\n".join([order.network.fingerprint, order.thumbnails, *shard.keys(order.views)])
        digest = hashlib.sha256(content.encode()).hexdigest()[:40]
        name = f"shards/{order.network.fingerprint[:16]}/{digest}.sqlite"
        found.append(replace(shard, name=name))
    return found


def _known(shard: Shard, order: Order) -> bool:
    """Whether this machine has all rows of a shard."""
    keys = shard.keys(order.views)
    into = np.empty((len(keys), order.width), np.float32)
    if not FeatureStore().read(order.network.fingerprint, keys, into).all():
        return False
    if not order.thumbnails:
        return True
    thumbnails = np.empty((len(shard.data), WIDTH), np.uint8)
    return bool(thumbnail_store().read(order.thumbnails, shard.data.digests, thumbnails).all())


def _stored_first(
    shards: Sequence[Shard], order: Order, storage: Storage, progress: Progress
) -> Iterator[Shard]:
    """Yield the shards that the storage has, then the others as they are computed."""
    missing = []
    for shard in shards:
        if storage.exists(shard.name):
            yield shard
        else:
            missing.append(shard)
    if missing:
        yield from _computed(missing, order, storage, progress)


def _computed(shards: Sequence[Shard], order: Order, storage: Storage, progress: Progress) -> Iterator[Shard]:
    """Yield each shard once its file is in the storage; a lost task is repeated on another node."""
    ray = nodes.import_ray()
    gpus = 1 if order.network.device.startswith("cuda") else 0
    # A process of a GPU serves many shards: its backbone stays loaded.
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=-1, max_calls=0)(embed_shard)
    waiting, running = deque(shards), dict[Any, Shard]()
    order_ref = ray.put(order)
    idle_s, names = 0.0, {node["NodeID"]: _name(node) for node in nodes.alive()}
    while waiting or running:
        progress.check()
        cores = int(ray.cluster_resources().get("CPU", 0))
        while waiting and len(running) < max(1, _AHEAD * cores):
            shard = waiting.popleft()
            running[task.remote(order_ref, shard, storage.location)] = shard
        ended, _ = ray.wait(list(running), timeout=_POLL_S)
        names = _report_lost(names, progress)
        idle_s = 0.0 if ended or cores else idle_s + _POLL_S
        if idle_s > _PATIENCE_S:
            raise ConfigurationError(
                "no node of the cluster has a core that is free for tasks. Fix: start nodes (ray start "
                "--address=HEAD), and resume the run"
            )
        for one in ended:
            if problem := ray.get(one):
                raise ConfigurationError(problem)
            yield running.pop(one)


def _report_lost(before: dict[str, str], progress: Progress) -> dict[str, str]:
    now = {node["NodeID"]: _name(node) for node in nodes.alive()}
    for id in before.keys() - now.keys():
        # Not a warning, which the model would keep: its embeddings are the same.
        progress.stage("freeze", f"{before[id]} was lost: other nodes compute its part")
    return now


def _name(node: dict[str, Any]) -> str:
    return nodes.name_of(node["NodeManagerAddress"], node["NodeID"])


def _take(shard: Shard, order: Order, storage: Storage) -> None:
    """Add the rows of a shard's file to the stores of this machine."""
    with tempfile.TemporaryDirectory(prefix="transfer-") as folder:
        path = Path(folder) / "rows.sqlite"
        if not storage.get(shard.name, path):
            return
        rows = RowStore(path)
        keys = shard.keys(order.views)
        into = np.empty((len(keys), order.width), np.float32)
        _add(FeatureStore(), order.network.fingerprint, keys, into, rows)
        if order.thumbnails:
            thumbnails = np.empty((len(shard.data), WIDTH), np.uint8)
            _add(thumbnail_store(), order.thumbnails, shard.data.digests, thumbnails, rows)


def _add(store: RowStore, owner: str, keys: Sequence[str], into: Any, source: RowStore) -> None:
    found = source.read(owner, keys, into)
    store.add(owner, [key for key, known in zip(keys, found, strict=True) if known], into[found])


def embed_shard(order: Order, shard: Shard, location: str) -> str | None:
    """Compute a shard and write its file, in a task on a node; returns the problem of the node, if any."""
    node = nodes.this_node()
    try:
        storage = Storage(location)
        if storage.exists(shard.name):
            return None
        _require_inputs(shard.data)
        with at_most_cores(1), tempfile.TemporaryDirectory(prefix="transfer-") as folder:
            path = Path(folder) / "rows.sqlite"
            seen: dict[str, Any] | None = {} if order.thumbnails else None
            embed_dataset(
                shard.data,
                shard.views_of,
                order.views,
                _extractor(order.network),
                FeatureStore(path),
                Progress(),
                on_bad_input="skip",
                noun=order.noun,
                seen=seen,
            )
            if seen:
                RowStore(path).add(order.thumbnails, list(seen), np.stack(list(seen.values())))
            if path.exists():  # else no input can be read
                storage.put(path, shard.name)
    except TransferError as error:
        return f"{node}: {error}"
    return None


def _require_inputs(data: Dataset) -> None:
    """Raise `ConfigurationError` if a file, which the driver has read, is missing on this node."""
    for path in data.stamps.keys() & set(data.inputs):
        if not os.path.exists(path):
            raise ConfigurationError(
                f"there is no file {path}. Fix: put the data where all nodes see it under the same path"
            )


@lru_cache(maxsize=1)
def _extractor(network: Network) -> Extractor:
    """The extractor of the driver, which stays loaded in the process of a node."""
    device = Device(network.device)
    backbone = open_backbone(network.backbone, network.weights, Progress(), network.trust)
    found = build_extractor(backbone, device, network.precision, network.text, network.choice)
    if (
        found.fingerprint != network.fingerprint
        or installed_engines().get(network.choice.engine) != network.choice.version
    ):
        raise ConfigurationError(
            "it would compute other embeddings than the driver. Fix: install the same versions of Pillow, "
            f"{network.choice.engine} and the weights of {network.backbone} on every node"
        )
    return found
