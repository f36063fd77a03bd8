"""Distances between domains and shares of classes against definitions and known answers."""

from __future__ import annotations

import numpy as np
import pytest

from transfer_core.kinds.arrays import domains
from transfer_core.kinds.discriminator import separate
from transfer_core.kinds.domain_distance import effect_sizes, proxy_a_distance
from transfer_core.kinds.kernels import median_gamma
from transfer_core.kinds.label_shift import label_shift
from transfer_core.kinds.mmd import mmd


def test_discrepancy_is_the_definition():
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(12, 3)), rng.normal(size=(9, 3)) + 1
    gamma = median_gamma(source, target)

    def kernel(x, y):
        distance = np.square(x - y).sum()
        return np.mean([np.exp(-gamma * factor * distance) for factor in (0.25, 0.5, 1, 2, 4)])

    within = np.mean([kernel(x, y) for i, x in enumerate(source) for j, y in enumerate(source) if i != j])
    rest = np.mean([kernel(x, y) for i, x in enumerate(target) for j, y in enumerate(target) if i != j])
    between = np.mean([kernel(x, y) for x in source for y in target])
    assert mmd(source, target).squared == pytest.approx(within + rest - 2 * between)


def test_the_test_finds_a_shift_and_holds_its_level():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(100, 3))
    assert mmd(source, rng.normal(size=(100, 3)) + 0.7).p_value < 0.01
    alike = [
        mmd(rng.normal(size=(40, 3)), rng.normal(size=(40, 3)), permutations=99, seed=i).p_value
        for i in range(60)
    ]
    assert np.mean(np.array(alike) < 0.1) < 0.25
    assert 0.3 < np.mean(alike) < 0.7


def test_discrepancy_of_a_domain_of_one_row_is_an_error():
    with pytest.raises(ValueError, match="two rows"):
        mmd(np.zeros((1, 2)), np.zeros((5, 2)))


def test_a_distance_lies_between_equal_and_separable():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(300, 4))
    assert proxy_a_distance(separate(source, source + 10)) > 1.9
    assert proxy_a_distance(separate(source, rng.normal(size=(300, 4)))) < 0.5


def test_effect_sizes_name_the_shifted_feature():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(2000, 3))
    assert effect_sizes(source, source + np.array([0, 2, 0])) == pytest.approx([0, 2, 0], abs=0.1)
    assert (effect_sizes(np.ones((3, 2)), np.ones((4, 2))) == 0).all()


def labelled(shares, rows=4000, seed=0):
    """Classes with given shares, and probabilities of an imperfect classifier."""
    rng = np.random.default_rng(seed)
    classes = rng.choice(3, rows, p=shares)
    outputs = rng.normal(size=(rows, 3)) + 2 * np.eye(3)[classes]
    exponentials = np.exp(outputs)
    return classes, exponentials / exponentials.sum(axis=1, keepdims=True)


def test_shares_of_a_shifted_target_are_found():
    classes, scores = labelled([1 / 3] * 3)
    _, target = labelled([0.7, 0.2, 0.1], seed=1)
    found = label_shift(scores, classes, target)
    assert found.shares == pytest.approx([0.7, 0.2, 0.1], abs=0.05)
    assert found.ratios == pytest.approx([2.1, 0.6, 0.3], abs=0.15)
    assert (np.abs(found.ratios - [2.1, 0.6, 0.3]) < 4 * found.errors).all()


def test_a_perfect_classifier_gives_the_counted_shares():
    classes = np.array([0, 0, 1, 1])
    found = label_shift(np.eye(2)[classes], classes, np.eye(2)[[0, 1, 1, 1]])
    assert found.shares == pytest.approx([0.25, 0.75])
    assert found.ratios == pytest.approx([0.5, 1.5])


def test_a_classifier_that_confuses_two_classes_gives_no_shares():
    classes, scores = labelled([1 / 3] * 3)
    scores[:, 1] = scores[:, 2] = (scores[:, 1] + scores[:, 2]) / 2
    assert label_shift(scores, classes, scores) is None


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (np.zeros((0, 2)), np.zeros((1, 2)), "the source domain is empty"),
        (np.zeros((1, 2)), np.zeros((0, 2)), "the target domain is empty"),
        (np.zeros((1, 2)), np.zeros((1, 3)), "equally many features, got 2 and 3"),
        (np.zeros((1, 2)), np.full((1, 2), np.nan), "the target domain must be finite"),
    ],
)
def test_domains_that_cannot_be_compared(source, target, message):
    with pytest.raises(ValueError, match=message):
        domains(source, target)
