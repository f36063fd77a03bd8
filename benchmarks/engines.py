"""Frozen inference by engine and precision: CPU time per image on one core, and agreement with eager torch
in float32.

    .venv/bin/python benchmarks/engines.py mobilenet_v2 resnet18 resnet50 vit_b_16

Weights are the published ones where they are on this machine, else random. Each figure is the median of three
passes over sixteen photos, after one that is not counted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch

from transfer_core import backbones
from transfer_core.features.engines.choice import Choice, open_engine
from transfer_core.features.engines.engine import Array, Unusable
from transfer_core.features.engines.reference import Reference
from transfer_core.features.image_tensors import normalize, to_batch
from transfer_core.features.parallel import on_one_core
from transfer_core.features.probe import probe_photos
from transfer_core.runtime.devices import Device
from transfer_core.runtime.errors import WeightsNotFound

CPU, BATCH, REPETITIONS = Device("cpu"), 4, 3
ENGINES = (
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("onnxruntime", "float32"),
    ("torch", "float32"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+")
    for name in parser.parse_args().names:
        on_one_core(lambda name=name: compare(name))  # type: ignore[misc]


@torch.no_grad()
def compare(name: str) -> None:
    try:
        backbone = backbones.load(name)
    except WeightsNotFound:
        backbone = backbones.build(name)
    photos = np.stack(probe_photos(backbone.preprocessing.crop_size))
    images = normalize(to_batch(list(photos)), backbone.preprocessing, torch.float32).contiguous()
    expected, eager = timed(lambda part: backbone(images[part]).numpy(), len(photos))
    print(f"{name}: eager torch, float32: {1000 * eager:.1f} ms", flush=True)
    reference = Reference(backbone, lambda: photos, CPU)
    for engine, precision in ENGINES:
        try:
            run = open_engine(Choice(engine, "", precision, BATCH), backbone, reference, CPU).run
            found, seconds = timed(lambda part, run=run: run(photos[part]), len(photos))  # type: ignore[misc]
        except Unusable as error:
            print(f"  {engine}, {precision}: {error}")
            continue
        lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
        cosine = ((found * expected).sum(axis=1) / lengths).min()
        speedup = f"{1000 * seconds:.1f} ms, {eager / seconds:.2f} times as fast"
        print(f"  {engine}, {precision}: {speedup}, lowest cosine {cosine:.5f}", flush=True)


def timed(run: Callable[[slice], Array], count: int) -> tuple[Array, float]:
    """The embeddings of all photos, and seconds of CPU time per photo."""
    parts = [slice(start, start + BATCH) for start in range(0, count, BATCH)]
    found, seconds = np.concatenate([run(part) for part in parts]), []
    for _ in range(REPETITIONS):
        started = time.process_time()
        for part in parts:
            run(part)
        seconds.append((time.process_time() - started) / count)
    return found, median(seconds)


if __name__ == "__main__":
    main()
