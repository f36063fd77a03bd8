"""Novelty scores and heads for few examples, on embeddings of small real sets.

    python -m benchmarks.stored_embeddings novelty 0 1 2     AUROC of novelty scores, for these seeds
    python -m benchmarks.stored_embeddings few_shot 0 1 2    accuracy with 1, 2, 5 and 10 examples per class
    python -m benchmarks.stored_embeddings novelty --quick   8 x 8 digits alone, without a network

Stamps of the quickstart, emoji of Google and digits of two collections (`benchmarks.domains`), made-up noise,
and tweets (see `benchmarks.tweets`); MobileNetV2 and MiniLM, frozen.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from benchmarks import domains, photos
from benchmarks.tweets import tweets
from transfer_core.backbones.frozen import open_backbone
from transfer_core.features import build_extractor
from transfer_core.heads import fit_head, rows_of
from transfer_core.heads.novelty import transformed
from transfer_core.metrics.out_of_distribution import auroc, energy, mahalanobis
from transfer_core.recipe.heads import CosineHead, LinearHead, PrototypeHead
from transfer_core.recipe.schema import TextOptions
from transfer_core.recipe.steps import Train
from transfer_core.runtime.devices import choose_device
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import CrossEntropy

IMAGES, TEXTS = "mobilenet_v2", "hf/sentence-transformers/all-MiniLM-L6-v2"
HEADS = {"linear": LinearHead(), "prototype": PrototypeHead(), "cosine": CosineHead()}
SHOTS = (1, 2, 5, 10)
TESTED, LEFT_OUT = 1500, 3
Set = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def sets(quick: bool) -> dict[str, Set]:
    """Embeddings and classes by name."""
    if quick:
        digits, classes = load_digits(return_X_y=True)
        return {"digits": (digits.astype(np.float32), classes)}
    stamps = [(path.parent.name, str(path)) for path in photos.quickstart()]
    found = {
        "stamps": stamps,
        "emoji": _encoded(domains.emoji("google", 0, 0) + domains.emoji("google", 0, 1)),
    }
    found |= {name: _encoded(domains.digits(name, 0)) for name in ("uci", "mnist")}
    found["noise"] = _encoded(("noise", image) for image in _noise(100))
    embedded = {name: _embedded(IMAGES, pairs) for name, pairs in found.items()}
    said = [(tweet["label"], tweet["input"]) for tweet in tweets()[:6000]]
    return {**embedded, "tweets": _embedded(TEXTS, said)}


def novelty(data: dict[str, Set], seeds: list[int]) -> None:
    """Print the AUROC of each score: trained on one set without some classes, beside these and other sets."""
    for name, (rows, classes) in data.items():
        if len(np.unique(classes)) <= LEFT_OUT:
            continue
        found: dict[str, dict[str, list[float]]] = {}
        for seed in seeds:
            rng = np.random.default_rng(seed)
            out = np.isin(classes, rng.permutation(np.unique(classes))[:LEFT_OUT])
            others = {
                other: one
                for other, (one, _) in data.items()
                if other != name and one.shape[1] == rows.shape[1]
            }
            inside, labels = rows[~out], classes[~out]
            order = rng.permutation(len(inside))
            train, test = np.split(order, [int(0.8 * len(order))])
            scores = _scores(inside[train], labels[train])
            for other, outside in {"left-out classes": rows[out], **others}.items():
                for score, compute in scores.items():
                    area = auroc(compute(inside[test]), compute(outside))
                    found.setdefault(other, {}).setdefault(score, []).append(area)
        for other, areas in found.items():
            print(name, "|", other, {score: round(float(np.mean(each)), 3) for score, each in areas.items()})


def few_shot(data: dict[str, Set], seeds: list[int]) -> None:
    """Print the accuracy of each head by number of examples per class."""
    for name, (rows, named) in data.items():
        names, classes = np.unique(named, return_inverse=True)
        for shots in SHOTS if len(names) > 1 else ():
            found: dict[str, list[float]] = {}
            for seed in seeds:
                order = np.random.default_rng(seed).permutation(len(rows))
                train = np.concatenate([order[classes[order] == one][:shots] for one in range(len(names))])
                test = np.setdiff1d(order, train)[:TESTED]
                known = rows_of(rows[train], classes[train], np.ones(len(train), np.float32), CrossEntropy())
                for head, spec in HEADS.items():
                    how = Train(optimizer="lbfgs" if head == "linear" else None)
                    nothing = known.take(np.arange(0))
                    fit = fit_head(spec, how, known, nothing, len(names), seed, Progress())
                    right = fit.head(rows[test]).argmax(axis=1) == classes[test]
                    found.setdefault(head, []).append(float(right.mean()))
            print(name, shots, {head: round(float(np.mean(each)), 3) for head, each in found.items()})


def _scores(train: Any, labels: Any) -> dict[str, Any]:
    """Scores of embeddings, the higher, the more novel."""
    mean, scale = train.mean(axis=0), np.sqrt(train.var(axis=0).mean())
    linear = LogisticRegression(C=100 / len(train), max_iter=100).fit((train - mean) / scale, labels)
    centers = np.array([train[labels == one].mean(axis=0) for one in np.unique(labels)])
    residuals = train - centers[np.searchsorted(np.unique(labels), labels)]
    covariance = np.cov(residuals.T) + 0.1 * residuals.var() * np.eye(train.shape[1])
    root = np.linalg.cholesky(np.linalg.inv(covariance))

    def nearest(roots: bool, rows: Any) -> Any:
        known, new = (transformed(one, roots) for one in (train, rows))
        if not roots:
            known, new = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (known, new))
        return 1 - (new @ known.T).max(axis=1)

    return {
        "energy": lambda rows: energy(linear.decision_function((rows - mean) / scale)),
        "mahalanobis": lambda rows: mahalanobis(rows, centers, root),
        "cosine": partial(nearest, False),
        "cosine of roots": partial(nearest, True),
    }


def _embedded(backbone: str, pairs: Iterable[tuple[str, Any]]) -> Set:
    labels, inputs = zip(*pairs, strict=True)
    network = open_backbone(backbone, "pretrained", Progress(), False)
    extractor = build_extractor(network, choose_device("auto"), "auto", TextOptions())
    rows = np.empty((len(inputs), extractor.width), np.float32)
    for batch in extractor.embed_all([partial(extractor.load, one, None) for one in inputs]):
        for row, outcome in batch:
            rows[row] = outcome
    return rows, np.array(labels)


def _encoded(pairs: Iterable[tuple[str, Image.Image]]) -> list[tuple[str, bytes]]:
    found = []
    for label, image in pairs:
        file = io.BytesIO()
        image.save(file, "PNG")
        found.append((label, file.getvalue()))
    return found


def _noise(count: int) -> Iterable[Image.Image]:
    rng = np.random.default_rng(0)
    for number in range(count):
        size = (64, 64, 3) if number % 2 else (8, 8, 3)
        pixels = rng.integers(0, 256, size).astype(np.uint8)
        yield Image.fromarray(pixels).resize((64, 64), Image.Resampling.NEAREST)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("novelty", "few_shot"))
    parser.add_argument("seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    {"novelty": novelty, "few_shot": few_shot}[given.part](sets(given.quick), given.seeds)
