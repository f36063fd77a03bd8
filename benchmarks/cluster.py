"""Training on a Ray cluster beside one core of one machine: wall time of all and of embedding.

    .venv/bin/python benchmarks/cluster.py --photos 2000

Each way starts with empty caches of embeddings; the choice of the engine is measured before. Nodes are
processes of this machine with one CPU each: run it on a machine with three free cores. The first run of a
cluster starts the processes of its nodes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import transfer_core
from photos import class_folder
from ray_cluster import TOKEN, RayCluster


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--backbone", default="mobilenet_v2")
    given = parser.parse_args()
    os.environ.update(TRANSFER_OFFLINE="1", TRANSFER_THREADS="1", RAY_AUTH_TOKEN=TOKEN)
    with tempfile.TemporaryDirectory(prefix="transfer-benchmark-") as name:
        compare(Path(name), given.photos, given.backbone)


def compare(folder: Path, photos: int, backbone: str) -> None:
    data = class_folder(folder / "photos", per_class=photos // 3)
    os.environ["TRANSFER_HOME"] = str(folder / "home")
    words: dict[str, Any] = {"backbone": backbone, "data": data}
    transfer_core.train(**{**words, "data": class_folder(folder / "few", 8, first_seed=10**6)})
    choice = folder / "home" / "cache" / "measurements.json"
    report("one core", lambda events: transfer_core.train(**words, on_event=events))
    for nodes in (1, 2):
        cluster = RayCluster()
        try:
            cluster.start_head()
            if nodes == 2:
                cluster.start_worker()
                time.sleep(10)  # its processes start in the background
            for round in ("first run", "second run"):
                storage = folder / f"storage-{nodes}-{round[:5]}"
                storage.mkdir(0o700)
                shutil.copy(choice, storage)
                on = {"engine": cluster.engine, "storage": str(storage)}
                for home in cluster.homes:
                    (home / "cache" / "features.sqlite").unlink(missing_ok=True)
                report(
                    f"{nodes} node{'s' * (nodes - 1)}, {round}",
                    lambda events, on=on: transfer_core.train(**words, **on, on_event=events),
                )
        finally:
            cluster.end()


def report(title: str, train: Callable[[Any], Any]) -> None:
    """Print the wall time of a training, that of its embedding, and the load of the machine."""
    began = time.monotonic()
    stages: dict[str, float] = {}

    def events(event: dict[str, Any]) -> None:
        if event["event"] == "stage":
            stages.setdefault(event["step"], time.monotonic())

    train(events)
    embedding = stages["head"] - stages["freeze"]
    wall, load = time.monotonic() - began, os.getloadavg()[0]
    print(f"{title}: wall {wall:.1f} s, of it embedding {embedding:.1f} s (load {load:.1f})", flush=True)


if __name__ == "__main__":
    main()
