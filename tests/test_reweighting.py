"""Shifts with a known answer: weights of the source move the accuracy as theory says."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import transfer_core

pytest.importorskip("sklearn.decomposition")  # whose first import sets variables of the environment


def written(path, header, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def texts(rng, count, share):
    """Texts of five words from two sets, each class one of them oftener; `share` are of the first class."""
    classes = (rng.random(count) > share).astype(int)
    kinds = (rng.random((count, 5)) < 0.35 + 0.3 * classes[:, None]).astype(int)
    words = [[f"{'sun' if kind else 'rain'}{rng.integers(12)}" for kind in row] for row in kinds]
    return [(" ".join(row), "ab"[one]) for row, one in zip(words, classes, strict=True)]


def test_label_shift_of_texts_is_corrected(tmp_path):
    rng = np.random.default_rng(0)
    header = ("text", "label")
    source = written(tmp_path / "source.csv", header, texts(rng, 500, 0.5))
    bare = written(tmp_path / "bare.csv", header[:1], [row[:1] for row in texts(rng, 500, 0.95)])
    test = written(tmp_path / "test.csv", header, texts(rng, 300, 0.95))
    model = transfer_core.train(
        backbone="sklearn:CountVectorizer",
        data={"train": bare, "test": test},
        source=source,
        weigh="label_shift",
        split={"near_duplicates": False},
        device="cpu",
    )
    # Bayes: without the shift each text gets its likelier class, with it nearly all get the frequent one.
    assert model.metrics["source_only"]["accuracy"] < 0.8
    assert model.metrics["accuracy"] > 0.9


def cells(rng, count, middle):
    """The classes are split by x1 > |x0|, which is a line only where x0 has one sign."""
    first = rng.normal(middle, 1 if middle else 2, count)
    second = np.abs(first) + rng.normal(0, 1, count)
    return np.stack([first, second], axis=1), (second > np.abs(first)).astype(int)


@pytest.mark.parametrize("method", ["kmm", "kliep", "ulsif", "discriminator"])
def test_covariate_shift_of_tables_is_corrected(tmp_path, method):
    rng = np.random.default_rng(0)
    header = ("x0", "x1", "label")

    def rows(count, middle):
        features, classes = cells(rng, count, middle)
        return [(*row, "ab"[one]) for row, one in zip(features.round(4).tolist(), classes, strict=True)]

    source = written(tmp_path / "source.csv", header, rows(500, 0))
    bare = written(tmp_path / "bare.csv", header[:2], [row[:2] for row in rows(400, 2.5)])
    test = written(tmp_path / "test.csv", header, rows(400, 2.5))
    model = transfer_core.train(
        backbone="sklearn:StandardScaler",
        data={"train": bare, "test": test},
        source=source,
        weigh=method,
        device="cpu",
    )
    assert model.metrics["source_only"]["accuracy"] < 0.8
    assert model.metrics["accuracy"] > model.metrics["source_only"]["accuracy"] + 0.08
    assert model.instance_weights.effective < 500
