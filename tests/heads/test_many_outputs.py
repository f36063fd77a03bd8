"""Heads with many outputs: part of them decides on scaling and strength."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from criteria import Rows
from transfer_core.heads import cross_validated, many_outputs
from transfer_core.heads.cross_validated import fit_linear
from transfer_core.heads.folds import fold_of
from transfer_core.heads.many_outputs import part_of_outputs
from transfer_core.heads.strength_search import STRENGTHS
from transfer_core.runtime.errors import Cancelled
from transfer_core.runtime.progress import Progress

CLASSES, EACH, WIDTH = 40, 15, 24


def classes(noise=1.5, seed=0):
    """Overlapping clouds, some directions wider than others."""
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.arange(CLASSES).repeat(EACH))
    spread = np.logspace(0.3, -0.5, WIDTH)
    features = rng.normal(size=(CLASSES, WIDTH))[targets] + noise * rng.normal(size=(len(targets), WIDTH))
    n = len(targets)
    return Rows((features * spread).astype(np.float32), targets, np.ones(n, np.float32), np.arange(n))


def labels(n=600, outputs=40, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, WIDTH)).astype(np.float32)
    targets = features @ rng.normal(size=(WIDTH, outputs)) + 3 * rng.normal(size=(n, outputs)) > 4
    return Rows(features, targets, np.ones(n, np.float32), np.arange(n))


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(cross_validated, "MANY", 30)
    monkeypatch.setattr(many_outputs, "SOME", 12)


def test_a_part_has_all_examples_of_its_classes(few):
    rows = classes()
    part = part_of_outputs(rows, CLASSES, seed=1)
    assert part.outputs == 12
    assert np.bincount(part.rows.targets).tolist() == [EACH] * 12
    assert part.factor == CLASSES / 12
    originals = rows.targets[part.rows.groups]
    assert len(set(zip(originals.tolist(), part.rows.targets.tolist(), strict=True))) == 12
    assert np.array_equal(part.rows.features, rows.features[part.rows.groups])


def test_a_part_has_all_examples_of_its_labels(few):
    rows = labels()
    weighted = replace(rows, weights=np.where(rows.targets, 2, 1).astype(np.float32))
    for given in (rows, weighted):
        part = part_of_outputs(given, 40, seed=1)
        assert (part.outputs, part.factor, part.rows.targets.shape) == (12, 1, (600, 12))
        columns = [rows.targets[:, k].tolist() for k in range(40)]
        assert all(column.tolist() in columns for column in part.rows.targets.T)
    assert np.array_equal(part.rows.weights, np.where(part.rows.targets, 2, 1))


def test_a_part_of_many_examples(few, monkeypatch):
    monkeypatch.setattr(many_outputs, "ENOUGH_EXAMPLES", 100)
    part = part_of_outputs(classes(), CLASSES, seed=1)
    assert len(part.rows) == 90
    assert part.factor == CLASSES * EACH / 90


def lowest_loss(rows, outputs):
    """Of the search over all strengths, with all outputs."""
    return min(entry["validation_loss"] for entry in fit_linear(rows, outputs, 5, 0, Progress()).path)


@pytest.mark.parametrize("rows", [classes(), classes(noise=4), labels()], ids=["easy", "hard", "labels"])
def test_the_loss_is_that_of_the_full_search(rows, few, monkeypatch):
    fit = fit_linear(rows, 40, 5, 0, Progress())
    losses = {entry["strength"]: entry["validation_loss"] for entry in fit.path}
    assert losses[fit.strength] == min(losses.values())
    assert set(losses) <= set(STRENGTHS)
    assert 2 <= len(losses) <= 4
    monkeypatch.setattr(cross_validated, "MANY", 10**9)
    assert min(losses.values()) <= 1.01 * lowest_loss(rows, 40)


def test_both_fits_are_those_of_scikit_learn(few):
    rows = classes()
    fit = fit_linear(rows, CLASSES, 5, 0, Progress())
    mean, scale = rows.features.mean(axis=0), rows.features.std(axis=0)
    shared = np.sqrt(np.square(scale).mean())
    fold = fold_of(rows, 5, 0)
    expected = []
    for scaling in (scale, shared):
        z = (rows.features - mean) / scaling
        model = LogisticRegression(C=1 / (fit.strength * len(rows)), tol=1e-8, max_iter=3000)
        expected.append(model.fit(z, rows.targets).predict_proba(z))
    ours = softmax(rows.features @ fit.weight.T + fit.bias, axis=1)
    assert min(np.abs(ours - theirs).max() for theirs in expected) < 0.05
    assert np.array_equal(fit.held_out_targets, np.concatenate([rows.targets[fold == k] for k in range(5)]))
    assert fit.held_out.shape == (len(rows), CLASSES)


def test_progress_reaches_its_total_and_a_fit_can_be_cancelled(few):
    events = []
    fit_linear(classes(), CLASSES, 5, 0, Progress(events.append))
    done = [event["done"] for event in events]
    assert done == sorted(done)
    assert done[-1] == events[-1]["total"] == 534
    calls = []

    def cancelled():
        calls.append(None)
        return len(calls) > 120

    with pytest.raises(Cancelled):
        fit_linear(classes(), CLASSES, 5, 0, Progress(cancelled=cancelled))
    assert len(calls) == 121
