"""Train a detector on frozen feature maps, compared with torchvision's loop on the same network.

    python -m benchmarks.detection SCENES [EPOCHS [IMAGES]]
    python -m benchmarks.detection --quick

SCENES is the folder that examples/scenes.py makes. The loop is that of torchvision's references/detection:
every epoch decodes, resizes and augments each image and runs the whole network, with the backbone frozen.
Both use FCOS on MobileNetV2 at 320 pixels, the same head, batches of 8 and AdamW with a cosine schedule, and
are measured by COCO's average precision on the test part. CPU seconds are compared, since other programs
disturb them less than wall seconds. The freezing is part of ours: seconds before the first epoch are given
apart from those of an epoch, so that the ratio for any number of epochs follows. `--quick` measures both on a
few small drawn photos: does everything work?
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.io import ImageReadMode, read_image
from torchvision.models.detection import FCOS
from torchvision.transforms import v2
from torchvision.tv_tensors import BoundingBoxes

from benchmarks.environment import OURS, ROOT, settings

Rows: TypeAlias = Sequence[dict[str, Any]]

SIZE, BATCH, RATE = 320, 8, 1e-3
USUAL_EPOCHS = 30  # of the presets


class Trunk(nn.Module):
    """A backbone and its pyramid, as torchvision takes them."""

    def __init__(self, backbone: Any, pyramid: Any, maps: Sequence[Any]) -> None:
        super().__init__()
        self.backbone, self.pyramid = backbone, pyramid
        self.out_channels = pyramid.fpn.layer_blocks[0][0].out_channels
        self._places = [backbone.facts.feature_maps.index(found) for found in maps]

    def train(self, mode: bool = True) -> Trunk:
        """Set the mode; BatchNorm keeps its statistics, as torchvision's FrozenBatchNorm2d."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """(N, 3, H, W) to levels by name."""
        maps = self.backbone.feature_maps(images)
        levels = self.pyramid([maps[place] for place in self._places])
        return OrderedDict((str(number), level) for number, level in enumerate(levels))


def reference(rows: Rows, test: Rows, epochs: int, size: int, ended: Callable[[], None]) -> float:
    """Train with torchvision's loop; returns the average precision on `test`."""
    from transfer_core import backbones
    from transfer_core.data.boxes import boxes_of, detections_of
    from transfer_core.heads.detection.build import build_detector, maps_used
    from transfer_core.metrics.average_precision import coco_metrics
    from transfer_core.recipe.heads import FcosHead

    backbone = backbones.load("mobilenet_v2")
    labels = sorted({box["label"] for row in rows for box in row["boxes"]})
    detector = build_detector(FcosHead(), backbone.facts.feature_maps, size, len(labels), 0)
    parts: Any = detector.detector
    trunk = Trunk(backbone, detector.pyramid, maps_used(backbone.facts.feature_maps))
    backbone.requires_grad_(False)
    options = {"anchor_generator": parts.anchor_generator, "head": parts.head}
    thresholds = {"score_thresh": 0.05, "nms_thresh": 0.5}
    model = FCOS(trunk, len(labels), min_size=size, max_size=size, **options, **thresholds).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(rows) // BATCH))
    augment = v2.Compose([v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True)])
    for _ in range(epochs):
        for some in torch.randperm(len(rows)).split(BATCH):
            loaded = [augment(*_example(rows[i], labels)) for i in some.tolist()]
            losses = model([image for image, _ in loaded], [target for _, target in loaded])
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
            schedule.step()
        ended()
    model.eval()
    found, truth = [], []
    with torch.no_grad():
        for row in test:
            image, target = _example(row, labels)
            [one] = model([image.float() / 255])
            found.append(detections_of(one["boxes"].numpy(), one["labels"].numpy(), one["scores"].numpy()))
            truth.append(boxes_of(target["boxes"].numpy(), target["labels"].numpy()))
    return coco_metrics(found, truth, len(labels)).mean_precision() or 0.0


def ours(rows: Rows, test: Rows, epochs: int, size: int, ended: Callable[[], None]) -> float:
    """Train with transfer-rb; nothing is held out. Returns the average precision on `test`."""
    import transfer_core

    with tempfile.TemporaryDirectory() as home, patch.dict(os.environ, TRANSFER_HOME=home):
        model = transfer_core.train(
            backbone="mobilenet_v2",
            data=rows,
            task="detection",
            epochs=epochs,
            split={"test": 0, "valid": 0},
            image_size=size,
            on_event=lambda event: ended() if event["event"] == "epoch" else None,
        )
        return float(model.evaluate(test)["average_precision"])


PROGRAMS: dict[str, Callable[[Rows, Rows, int, int, Callable[[], None]], float]] = {
    "transfer-rb": ours,
    "torchvision's loop": reference,
}


def main(scenes: str, epochs: str = "12", images: str = "400", program: str = "") -> None:
    """Print CPU seconds and average precision of each program, a process of its own, and their ratios."""
    if scenes == "--quick":
        with tempfile.TemporaryDirectory() as folder:
            draw_scenes(Path(folder))
            for name in PROGRAMS:
                print(f"{name}: {json.dumps(_measured(name, Path(folder), 2, 8, 96))}")
        return
    if program:
        print(json.dumps(_measured(program, Path(scenes), int(epochs), int(images))))
        return
    per_program = []
    for name in PROGRAMS:
        command = [OURS, "-m", "benchmarks.detection", scenes, epochs, images, name]
        done = subprocess.run(command, env=settings(), check=True, capture_output=True, text=True, cwd=ROOT)
        before, each, precision = json.loads(done.stdout.splitlines()[-1])
        per_program.append((before, each))
        print(f"{name}: {before:.1f} s CPU before, {each:.1f} s an epoch, AP {precision:.3f}", flush=True)
    (before, each), (loop_before, loop_each) = per_program
    for count in (int(epochs), USUAL_EPOCHS):
        ratio = (loop_before + count * loop_each) / (before + count * each)
        print(f"{count} epochs: the loop takes {ratio:.1f} times the CPU time")


def _measured(
    program: str, scenes: Path, epochs: int, images: int, size: int = SIZE
) -> tuple[float, float, float]:
    """CPU seconds before the first epoch, CPU seconds of an epoch, and average precision."""
    rows, test = list(rows_of(scenes, "train"))[:images], list(rows_of(scenes, "test"))
    start, ends = time.process_time(), []
    ended = lambda: ends.append(time.process_time() - start)  # noqa: E731
    precision = PROGRAMS[program](rows, test, epochs, size, ended)
    each = (ends[-1] - ends[0]) / (len(ends) - 1)
    return ends[0] - each, each, precision


def rows_of(scenes: Path, part: str) -> Iterator[dict[str, Any]]:
    """The images of a part of the COCO data set, as rows."""
    listed = json.loads((scenes / "annotations" / f"instances_{part}.json").read_text())
    names = {category["id"]: category["name"] for category in listed["categories"]}
    boxes: dict[int, list[dict[str, Any]]] = {}
    for one in listed["annotations"]:
        sides = dict(zip(("x", "y", "width", "height"), one["bbox"], strict=True))
        boxes.setdefault(one["image_id"], []).append({"label": names[one["category_id"]], **sides})
    for image in listed["images"]:
        path = scenes / "images" / part / image["file_name"]
        yield {"input": str(path), "boxes": boxes.get(image["id"], [])}


def draw_scenes(scenes: Path) -> None:
    """Write a few small photos with a square each, in the layout of examples/scenes.py."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 4)):
        folder = scenes / "images" / part
        folder.mkdir(parents=True)
        listed: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
        for number in range(count):
            pixels = rng.integers(60, 140, (64, 96, 3), np.uint8)
            x, y, side = (int(value) for value in rng.integers((0, 0, 20), (60, 30, 32)))
            pixels[y : y + side, x : x + side] = (220, 40, 40) if number % 2 else (40, 60, 230)
            Image.fromarray(pixels).save(folder / f"{number}.png")
            listed["images"].append({"id": number, "file_name": f"{number}.png"})
            box = {"image_id": number, "category_id": number % 2, "bbox": [x, y, side, side]}
            listed["annotations"].append(box)
        listed["categories"] = [{"id": 0, "name": "sky"}, {"id": 1, "name": "brick"}]
        file = scenes / "annotations" / f"instances_{part}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(listed))


def _example(row: dict[str, Any], labels: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
    image = read_image(row["input"], ImageReadMode.RGB)
    corners = [[b["x"], b["y"], b["x"] + b["width"], b["y"] + b["height"]] for b in row["boxes"]]
    size = (image.shape[1], image.shape[2])
    boxes = BoundingBoxes(torch.tensor(corners).reshape(-1, 4), format="XYXY", canvas_size=size)
    return image, {
        "boxes": boxes,
        "labels": torch.tensor([labels.index(b["label"]) for b in row["boxes"]], dtype=torch.int64),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
