"""Exported models in Ruby without Python: parity on a thousand photos of all formats, start, memory, size.

Usage: python -m benchmarks.without_python FOLDER; keeps its photos and models in FOLDER.
"""

from __future__ import annotations

import io
import json
import os
import random
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.environment import HERE, ROOT
from benchmarks.photos import quickstart

ROUNDS = 3


def main(folder: Path) -> None:
    """Print the measured numbers as JSON."""
    import transfer_core

    folder.mkdir(exist_ok=True)
    sources = quickstart()
    inputs = [write(folder, number, path) for number, path in enumerate(sources * ROUNDS)]
    model = transfer_core.train(backbone="mobilenet_v2", data=str(sources[0].parents[1]), precision="float32")
    report = model.export(folder / "photos.onnx", loader="python")
    predict = runpy.run_path(str(report.loader))["predict"]
    expected = model.predict([str(path) for path in inputs])
    found = {
        "onnxruntime": [predict(path) for path in inputs],
        "ruby": [one["scores"] for one in in_ruby(folder, "parity", inputs)],
    }
    numbers: dict[str, Any] = {
        "inputs": len(inputs),
        "formats": sorted({path.name.split("_")[1] for path in inputs}),
    }
    for name, scores in found.items():
        numbers[name] = compared(inputs, expected, scores)
    numbers["resources"] = in_ruby(folder, "resources", inputs[:64])
    print(json.dumps(numbers, indent=1))


def compared(
    inputs: list[Path], expected: list[dict[str, Any]], scores: list[dict[str, float]]
) -> dict[str, Any]:
    """Largest differences of probabilities, and equal labels."""
    apart = [
        max(abs(own[label] - value) for label, value in one["scores"].items())
        for one, own in zip(expected, scores, strict=True)
    ]
    same = [max(own, key=own.__getitem__) == one["label"] for one, own in zip(expected, scores, strict=True)]
    worst = np.argsort(apart)[::-1][:10]
    return {
        "max": max(apart),
        "above_1e-4": sum(each > 1e-4 for each in apart),
        "same_labels": sum(same),
        "worst": {inputs[number].name: apart[number] for number in worst},
    }


def in_ruby(folder: Path, task: str, inputs: list[Path]) -> Any:
    """The answer of benchmarks/peers/without_python.rb, in a process where no Python is found."""
    (folder / "inputs.json").write_text(json.dumps([str(path) for path in inputs]))
    environment = {**os.environ, "TRANSFER_PYTHON": "/nowhere/python"}
    command = ["ruby", "-I", ROOT / "gem" / "lib", HERE / "peers" / "without_python.rb", task, folder]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def write(folder: Path, number: int, source: Path) -> Path:
    """A photo in one of the formats that Ruby reads, in its number's turn."""
    chance = random.Random(number)
    image = Image.open(source).convert("RGBA")
    kind = list(KINDS)[number % len(KINDS)]
    side = chance.choice([None, None, 64, 700, 1500])
    if side:
        scale = side / max(image.size)
        image = image.resize([max(1, round(length * scale)) for length in image.size])
    path = folder / f"{number}_{kind}_{'.'.join(('photo', KINDS[kind][0]))}"
    path.write_bytes(KINDS[kind][1](image, chance))
    return path


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def _turned(image: Image.Image, chance: random.Random) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = chance.randint(1, 8)
    return _saved(image.convert("RGB"), "JPEG", exif=exif, quality=chance.randint(40, 95))


def _deep(image: Image.Image, chance: random.Random) -> bytes:
    grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
    return _saved(Image.fromarray(grey ^ chance.randint(0, 255)), "PNG")


def _plain(form: str, **options: Any) -> Callable[[Image.Image, random.Random], bytes]:
    return lambda image, _: _saved(image.convert("RGB"), form, **options)


def _mode(mode: str, form: str) -> Callable[[Image.Image, random.Random], bytes]:
    return lambda image, _: _saved(image.convert("RGB").convert(mode), form)


KINDS: dict[str, tuple[str, Callable[[Image.Image, random.Random], bytes]]] = {
    "jpeg": ("jpg", _plain("JPEG", quality=60)),
    "progressive": ("jpg", _plain("JPEG", progressive=True, subsampling=0)),
    "cmyk": ("jpg", _mode("CMYK", "JPEG")),
    "grey": ("jpg", _mode("L", "JPEG")),
    "turned": ("jpg", _turned),
    "png": ("png", lambda image, _: _saved(image, "PNG")),
    "rgb": ("png", _plain("PNG")),
    "palette": ("png", _mode("P", "PNG")),
    "bits": ("png", _mode("1", "PNG")),
    "deep": ("png", _deep),
    "webp": ("webp", lambda image, chance: _saved(image, "WEBP", quality=chance.randint(40, 95))),
    "lossless": ("webp", _plain("WEBP", lossless=True)),
    "gif": ("gif", _plain("GIF")),
    "bmp": ("bmp", _plain("BMP")),
}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
