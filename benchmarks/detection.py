"""Train a detector on frozen feature maps, compared with torchvision's loop on the same network.

    python -m benchmarks.detection SCENES [EPOCHS [IMAGES]]

SCENES is the folder that examples/scenes.py makes. The loop is that of torchvision's references/detection:
every epoch decodes, resizes and augments each image and runs the whole network, once with the backbone
frozen and once with its last three stages trained (torchvision's default for MobileNet). All use FCOS on
MobileNetV2 at 320 pixels, the same head, batches of 8 and AdamW with a cosine schedule. CPU seconds are
compared, since other programs disturb them less than wall seconds; the freezing is part of ours.
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
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torchvision.io import ImageReadMode, read_image
from torchvision.models.detection import FCOS
from torchvision.transforms import v2
from torchvision.tv_tensors import BoundingBoxes

from benchmarks.environment import OURS, ROOT, settings

Rows: TypeAlias = Sequence[dict[str, Any]]

SIZE, BATCH, RATE = 320, 8, 1e-3
FIRST_TRAINED = 7  # features_7: torchvision trains the last three of MobileNetV2's six stages


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


def reference(rows: Rows, epochs: int, frozen: bool) -> FCOS:
    """Train with torchvision's loop; returns the network."""
    from transfer_core import backbones
    from transfer_core.heads.detection.build import build_detector, maps_used
    from transfer_core.recipe.heads import FcosHead

    backbone = backbones.load("mobilenet_v2")
    labels = sorted({box["label"] for row in rows for box in row["boxes"]})
    detector = build_detector(FcosHead(), backbone.facts.feature_maps, SIZE, len(labels), 0)
    parts: Any = detector.detector
    trunk = Trunk(backbone, detector.pyramid, maps_used(backbone.facts.feature_maps))
    for number, block in enumerate(backbone.blocks):
        block.requires_grad_(not frozen and number >= FIRST_TRAINED)
    options = {"anchor_generator": parts.anchor_generator, "head": parts.head}
    model = FCOS(trunk, len(labels), min_size=SIZE, max_size=SIZE, **options).train()
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
    return model


def ours(rows: Rows, epochs: int) -> None:
    """Train with transfer-rb; nothing is held out, so that only the training is timed."""
    import transfer_core

    with tempfile.TemporaryDirectory() as home:
        os.environ["TRANSFER_HOME"] = home
        split = {"test": 0, "valid": 0}
        transfer_core.train(
            backbone="mobilenet_v2", data=rows, task="detection", epochs=epochs, split=split, image_size=SIZE
        )


PROGRAMS: dict[str, Callable[[Rows, int], Any]] = {
    "transfer-rb, frozen": ours,
    "torchvision's loop, frozen": partial(reference, frozen=True),
    "torchvision's loop, three stages trained": partial(reference, frozen=False),
}


def main(scenes: str, epochs: str = "15", images: str = "400", program: str = "") -> None:
    """Print CPU and wall seconds of each program, a process of its own, and their ratios."""
    if program:
        rows = list(rows_of(Path(scenes), "train"))[: int(images)]
        cpu, wall = time.process_time(), time.perf_counter()
        PROGRAMS[program](rows, int(epochs))
        print(time.process_time() - cpu, time.perf_counter() - wall)
        return
    first = 0.0
    for name in PROGRAMS:
        command = [OURS, "-m", "benchmarks.detection", scenes, epochs, images, name]
        said = subprocess.run(command, env=settings(), check=True, capture_output=True, text=True, cwd=ROOT)
        cpu, wall = map(float, said.stdout.splitlines()[-1].split())
        first = first or cpu
        print(f"{name}: {cpu:.1f} s CPU, {wall:.1f} s wall, {cpu / first:.1f} times", flush=True)


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
