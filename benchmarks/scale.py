"""A cost model of training on a frozen backbone at sizes that can't be run here, and a simulation of shards.

    .venv/bin/python -m benchmarks.scale             # the tables of docs/internals/scale.md
    .venv/bin/python -m benchmarks.scale --measure   # the rates of this machine that the model starts from

The model counts decoding, forward passes, bytes over network and storage, and passes of L-BFGS; the slowest
resource is the bottleneck. The simulation assigns shards to workers as they become free, with shards of
unequal duration and workers that are lost, which no formula covers.
"""

from __future__ import annotations

import argparse
import heapq
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

WIDTH = 1280
SHARD = 512


@dataclass(frozen=True)
class Rates:
    """Costs of one unit.

    Attributes
    ----------
    decode_ms
        Reading, decoding and resizing a photo on a core.
    forward_per_s
        Forward passes per second of an accelerator, or of a core without one.
    photo_bytes
        Mean size of a file.
    storage_bytes_per_s
        Reads per second of the shared storage by a node, at most its network.
    storage_total
        Reads per second of the shared storage by all nodes together.
    task_ms
        Time of the driver per task: submission, result, merge of a shard's rows.
    head_bytes_per_s
        Bytes of features per second and core that one evaluation of loss and gradient reads.
    evaluations
        Evaluations of L-BFGS until convergence, all strengths of the penalty together.
    """

    decode_ms: float
    forward_per_s: float
    photo_bytes: float
    storage_bytes_per_s: float
    storage_total: float
    task_ms: float
    head_bytes_per_s: float
    evaluations: int = 150


@dataclass(frozen=True)
class Cluster:
    """Nodes with accelerators (0: cores compute) and cores."""

    accelerators: int
    cores_per_accelerator: int
    accelerators_per_node: int = 8

    @property
    def nodes(self) -> int:
        return max(1, self.accelerators // self.accelerators_per_node)

    @property
    def cores(self) -> int:
        return self.accelerators * self.cores_per_accelerator


# Measured on a core of an AMD EPYC (`--measure`): decoding of 1600 x 1200, rows of a shard, an evaluation of
# a head of 10 classes. Assumed: an accelerator with 10,000 passes of MobileNetV2 a second, nodes of 8 with
# 25 Gbit/s, a storage with 100 GB/s for all, photos of 300 kB.
ASSUMED = Rates(
    decode_ms=5.0,
    forward_per_s=10_000,
    photo_bytes=300_000,
    storage_bytes_per_s=25e9 / 8,
    storage_total=100e9,
    task_ms=20.0,
    head_bytes_per_s=2.8e9,
)


def embedding_seconds(photos: float, cluster: Cluster, rates: Rates) -> dict[str, float]:
    """The seconds that each resource needs to embed `photos`; the largest is the bottleneck."""
    network = min(cluster.nodes * rates.storage_bytes_per_s, rates.storage_total)
    return {
        "decoding": photos * rates.decode_ms / 1000 / cluster.cores,
        "forward passes": photos / (rates.forward_per_s * cluster.accelerators),
        "reading photos": photos * rates.photo_bytes / network,
        "driver": photos / SHARD * rates.task_ms / 1000,
    }


def head_seconds(photos: float, cluster: Cluster, rates: Rates) -> dict[str, float]:
    """The seconds of a linear head on shards: the first reading of features, and the evaluations."""
    features = photos * WIDTH * 4
    network = min(cluster.nodes * rates.storage_bytes_per_s, rates.storage_total)
    return {
        "reading features": features / network,
        "evaluations": rates.evaluations * features / (rates.head_bytes_per_s * cluster.cores),
    }


def makespan(
    durations: Sequence[float],
    workers: int,
    losses: Sequence[float] = (),
    replaced_after: float | None = None,
) -> float:
    """Seconds until all shards are done by workers that take the next shard when they are free.

    Parameters
    ----------
    durations
        Seconds of each shard.
    workers
        Their number at the start.
    losses
        Times at which a worker is lost, with the shard in its hands, which is queued again.
    replaced_after
        Seconds until a lost worker is replaced; None: never.

    Raises
    ------
    ValueError
        If shards are left when no worker is.
    """
    waiting = list(reversed(durations))
    free = [(0.0, number) for number in range(workers)]
    heapq.heapify(free)
    running: dict[int, tuple[float, float]] = {}  # worker: start and duration of its shard
    lost: set[int] = set()
    pending = sorted(losses)
    end, latest = 0.0, workers
    while free:
        now, worker = heapq.heappop(free)
        while pending and pending[0] <= now:
            at = pending.pop(0)
            busy = [one for one, (start, took) in running.items() if start <= at < start + took]
            if not busy:
                continue
            gone = busy[0]
            waiting.append(running.pop(gone)[1])
            lost.add(gone)
            if replaced_after is not None:
                heapq.heappush(free, (at + replaced_after, latest))
                latest += 1
        if worker in lost:
            if waiting and not free:
                raise ValueError(f"{len(waiting)} shards are left, and no worker")
            continue
        if worker in running:
            end = max(end, now)
            del running[worker]
        if waiting:
            took = waiting.pop()
            running[worker] = (now, took)
            heapq.heappush(free, (now + took, worker))
        elif pending and running:
            continue
    if waiting:
        raise ValueError(f"{len(waiting)} shards are left, and no worker")
    return end


def efficiency(shards: int, workers: int, spread: float, lost: float, seed: int = 0) -> float:
    """Share of the ideal speed.

    `spread` is the standard deviation of the logarithm of a shard's duration, and `lost` the share of workers
    that are lost at times drawn evenly; each is replaced after the time of 20 shards.
    """
    rng = np.random.default_rng(seed)
    durations = rng.lognormal(-(spread**2) / 2, spread, shards)
    ideal = durations.sum() / workers
    losses = rng.uniform(0, ideal, round(lost * workers))
    return float(ideal / makespan(durations.tolist(), workers, losses.tolist(), 20.0))


def span(seconds: float) -> str:
    """`2 min`, `3.4 h`, `12 days`."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.2g} {unit}" if seconds < 100 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.2g} s"


def bottleneck(costs: dict[str, float]) -> tuple[str, float]:
    name = max(costs, key=lambda one: costs[one])
    return name, costs[name]


def print_tables() -> None:
    for photos in (10e6, 1e9):
        print(f"\n{photos:,.0f} photos; features {photos * WIDTH * 4 / 1e9:,.0f} GB\n")
        print("| GPUs | cores | embedding | bottleneck | head | bottleneck |\n|---|---|---|---|---|---|")
        for gpus in (8, 64, 512):
            cluster = Cluster(gpus, 16)
            cells = [str(gpus), f"{cluster.cores:,}"]
            for costs in (embedding_seconds, head_seconds):
                name, seconds = bottleneck(costs(photos, cluster, ASSUMED))
                cells += [span(seconds), name]
            print(f"| {' | '.join(cells)} |")
    print("\nPhotos of 30 kB, beside the same GPUs:\n")
    for gpus in (8, 64, 512):
        name, seconds = bottleneck(
            embedding_seconds(1e9, Cluster(gpus, 16), replace(ASSUMED, photo_bytes=30_000))
        )
        print(f"- {gpus} GPUs, 1,000,000,000 photos: {span(seconds)}, bound by {name}")
    print("\nSimulated shards:\n")
    print("| shards | workers | spread | lost workers | share of the ideal speed |\n|---|---|---|---|---|")
    for shards, workers, spread, lost in (
        (20_000, 128, 0.3, 0.0),
        (20_000, 8_192, 0.3, 0.0),
        (2_000_000, 8_192, 0.3, 0.0),
        (2_000_000, 8_192, 0.3, 0.1),
        (20_000, 128, 1.0, 0.1),
        (256, 128, 1.0, 0.0),
    ):
        share = efficiency(shards, workers, spread, lost)
        print(f"| {shards:,} | {workers:,} | {spread} | {lost:.0%} | {share:.0%} |")


def measure(count: int = 200) -> dict[str, float]:
    """Rates of one core here: decoding, rows written to the store of embeddings, evaluations of a head."""
    from PIL import Image

    from transfer_core.cache import RowStore

    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (60, 80, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((1600, 1200)).save(buffer, "JPEG", quality=90)

    def decode() -> None:
        image = Image.open(io.BytesIO(buffer.getvalue()))
        image.draft("RGB", (256, 256))
        image.resize((341, 256))

    with tempfile.TemporaryDirectory() as folder:
        store = RowStore(Path(folder) / "rows.sqlite")
        rows = rng.random((SHARD, WIDTH), np.float32)
        numbers = iter(range(10**9))

        def write() -> None:
            store.add("owner", [f"{next(numbers):064d}" for _ in range(SHARD)], rows)

        features = rng.random((20_000, WIDTH), np.float32)
        weights = rng.random((WIDTH, 10), np.float32)

        def evaluate() -> None:
            (features @ weights).T @ features

        return {
            "decode_ms": 1000 * fastest(decode, count),
            "write_ms_per_shard": 1000 * fastest(write, 10),
            "head_gigabytes_per_s": features.nbytes / 1e9 / fastest(evaluate, 10),
        }


def fastest(work: Callable[[], None], times: int) -> float:
    """CPU seconds of the fastest call, which other programs distort least."""
    found = []
    for _ in range(times):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measure", action="store_true")
    if parser.parse_args().measure:
        import torch

        torch.set_num_threads(1)
        for name, value in measure().items():
            print(f"{name}: {value:.3g}")
    else:
        print_tables()


if __name__ == "__main__":
    main()
