"""CPU time per image of Keras applications: Keras on its torch backend, and the same weights as torch layers.

    python -m benchmarks.keras_on_torch keras-last MobileNetV2 a.weights.h5  # writes the weights if missing
    python -m benchmarks.keras_on_torch layers MobileNetV2 a.weights.h5

Sides: `keras-last`, `keras-first` (channels), `layers` (our modules in float32), `plan` (fused, as in a
training). One thread, batches of 8, median of 8 batches after the first. `--save FILE` writes the embeddings.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

BATCH = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=["keras-last", "keras-first", "layers", "engine"])
    parser.add_argument("name")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--save", type=Path)
    said = parser.parse_args()
    os.environ["KERAS_BACKEND"] = "torch"
    torch.set_num_threads(1)
    images, run = prepared(said.side, said.name, said.weights)
    batches = list(images.split(BATCH))
    times, embeddings = [], []
    with torch.no_grad():
        run(batches[0])
        for batch in batches * 4:
            start = time.process_time()
            embeddings.append(run(batch).float().numpy())
            times.append((time.process_time() - start) / BATCH)
    print(f"{said.side} {said.name}: {1000 * float(np.median(times)):.1f} ms of CPU time per image")
    if said.save:
        np.save(said.save, np.concatenate(embeddings[: len(batches)]))


def prepared(side: str, name: str, weights: Path) -> tuple[Tensor, Callable[[Tensor], Any]]:
    """Random images after the application's own preprocessing, and the network."""
    from transfer_core.backbones.keras.keras_published import published

    known = published(name)
    images = torch.rand(
        2 * BATCH, 3, known.image_size, known.image_size, generator=torch.Generator().manual_seed(0)
    )
    mean, std = (torch.tensor(values)[:, None, None] for values in (known.mean, known.std))
    images = (images - mean) / std
    if side.startswith("keras"):
        images = images.flip(1) if known.blue_first else images
        last = side == "keras-last"
        model = keras_model(name, known.image_size, last, weights)
        return images.permute(0, 2, 3, 1).contiguous() if last else images, lambda x: model(x, training=False)
    from transfer_core import backbones
    from transfer_core.backbones.graph import onnx_graph
    from transfer_core.features.engines.openvino_engine import OpenVinoEngine

    backbone = backbones.load(f"keras/{name}", str(weights))
    engine = OpenVinoEngine(lambda: onnx_graph(backbone), "float32")
    return images, backbone if side == "layers" else lambda x: torch.from_numpy(engine.run(x.numpy()))


def keras_model(name: str, size: int, last: bool, weights: Path) -> Any:
    import keras

    keras.config.set_image_data_format("channels_last" if last else "channels_first")
    with keras.device("cpu"):
        keras.utils.set_random_seed(0)
        shape = (size, size, 3) if last else (3, size, size)
        make = getattr(keras.applications, name)
        model = make(weights=None, include_top=False, pooling="avg", input_shape=shape)
        model.load_weights(weights) if weights.exists() else model.save_weights(weights)
    return model


if __name__ == "__main__":
    main()
