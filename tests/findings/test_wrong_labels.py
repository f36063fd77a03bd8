"""Confident learning against the formulas of the paper, one example at a time."""

import numpy as np
import pytest

from transfer_core.findings.examples import Examples
from transfer_core.findings.held_out import held_out_probabilities
from transfer_core.findings.wrong_labels import confident_labels, wrong_labels
from transfer_core.heads.rows import rows_of
from transfer_core.runtime.progress import Progress
from transfer_core.tasks import TASKS


def drawn(count=200, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(classes, 0.4), count), rng.integers(classes, size=count)


def by_formula(probabilities, targets):
    classes = range(probabilities.shape[1])
    thresholds = [
        np.mean([p[j] for p, y in zip(probabilities, targets, strict=True) if y == j]) for j in classes
    ]
    found = []
    for p, y in zip(probabilities, targets, strict=True):
        above = [j for j in classes if p[j] >= thresholds[j]]
        found.append(max(above, key=lambda j: p[j]) if above else y)
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_confident_labels_follow_the_definition(seed):
    probabilities, targets = drawn(seed=seed)
    assert confident_labels(probabilities, targets).tolist() == by_formula(probabilities, targets)


def test_a_class_without_examples_is_no_candidate():
    probabilities = np.array([[0.2, 0.1, 0.7], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]])
    assert confident_labels(probabilities, np.array([0, 1, 0])).tolist() == [0, 1, 0]


def test_findings_are_the_improbable_labels_the_most_certain_first():
    probabilities, targets = drawn()
    names = ["a", "b", "c", "d"]
    rows = range(len(targets))
    labels = [names[k] for k in targets]
    examples = Examples(list(rows), list(rows), labels, [None] * len(rows), [None] * len(rows))
    found = wrong_labels(examples, probabilities, targets, names)
    own = [probabilities[i, targets[i]] for i in rows]
    confident = by_formula(probabilities, targets)
    margins = [probabilities[i, confident[i]] - own[i] for i in rows]
    expected = {i for i in rows if own[i] * 30 < max(probabilities[i]) or margins[i] >= 0.75}
    assert {one.input for one in found} == expected
    assert len(expected) > 5
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert all(one.suggested != one.label for one in found)


def test_every_example_gets_a_held_out_probability():
    """More examples than the folds of a strength search hold out; close to those of the exact model."""
    rng = np.random.default_rng(0)
    targets = np.arange(1500) % 3
    features = (np.eye(3)[targets] * 2 + rng.standard_normal((1500, 3))).astype(np.float32)
    weights = np.ones(1500, np.float32)
    criterion = TASKS["classification"].criterion
    found = held_out_probabilities(rows_of(features, targets, weights, criterion), 3, 5, 0, Progress())
    assert found.sum(axis=1) == pytest.approx(1)
    # The Bayes classifier of three unit Gaussians with equal shares.
    odds = np.exp(2 * features.astype(float))
    bayes = odds / odds.sum(axis=1, keepdims=True)
    assert np.abs(found - bayes).mean() < 0.03
    one_group = rows_of(features, targets, weights, criterion, groups=["x"] * 3 + list(map(str, range(1497))))
    assert held_out_probabilities(one_group, 3, 5, 0, Progress()).shape == (1500, 3)
