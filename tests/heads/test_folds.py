"""The folds that rows are held out in."""

import numpy as np
import pytest

from criteria import Rows
from transfer_core.heads.folds import a_part_of, first_views, fold_of, left_out_rows, weights_without


def rows(targets, groups=None):
    targets = np.asarray(targets)
    n = len(targets)
    groups = np.arange(n) if groups is None else np.asarray(groups)
    return Rows(np.arange(2.0 * n).reshape(n, 2), targets, np.arange(1.0, n + 1), groups)


@pytest.mark.parametrize("seed", range(5))
def test_classes_are_spread_evenly_over_folds(seed):
    targets = np.random.default_rng(seed).choice(4, size=103, p=[0.6, 0.2, 0.15, 0.05])
    fold = fold_of(rows(targets), 5, seed)
    sizes = np.bincount(fold, minlength=5)
    assert sizes.max() - sizes.min() <= 1
    for label in range(4):
        share = np.bincount(fold[targets == label], minlength=5)
        assert share.max() - share.min() <= 1


@pytest.mark.parametrize("seed", range(5))
def test_labels_are_spread_evenly_over_folds_the_rarest_exactly(seed):
    rng = np.random.default_rng(seed)
    targets = rng.random((203, 5)) < [0.5, 0.04, 0.3, 0.1, 0.2]
    fold = fold_of(rows(targets), 5, seed)
    assert np.ptp(np.bincount(fold, minlength=5)) <= 1
    spread = [np.ptp(np.bincount(fold[label], minlength=5)) for label in targets.T]
    assert spread[1] <= 1
    # Random folds would differ by about twice the deviation of a binomial, 0.8 √(N p / 5) each.
    assert all(gap <= 6 for gap in spread)
    assert np.mean(spread) < 4


def test_views_of_an_example_share_a_fold():
    targets, groups = np.arange(60) // 4 % 3, np.arange(60) // 4 * 10
    shuffled = np.random.default_rng(0).permutation(60)
    fold = fold_of(rows(targets[shuffled], groups[shuffled]), 5, 0)
    for group in np.unique(groups):
        assert len(set(fold[groups[shuffled] == group])) == 1
    assert np.bincount(fold).tolist() == [12] * 5


def test_folds_of_values_are_even_and_follow_the_seed():
    values = rows(np.random.default_rng(0).normal(size=(23, 2)))
    folds = [fold_of(values, 4, seed) for seed in (0, 0, 1)]
    assert sorted(np.bincount(folds[0]).tolist()) == [5, 6, 6, 6]
    assert np.array_equal(folds[0], folds[1])
    assert not np.array_equal(folds[0], folds[2])


def test_an_example_is_held_out_with_all_views_and_measured_on_the_first():
    examples = np.arange(120) // 4
    views = rows(examples % 3, examples)
    left_out = left_out_rows(views, 5, seed=0)
    measured = first_views(left_out, views)
    assert [len(left) for left in left_out] == [24] * 5
    for left, first in zip(left_out, measured, strict=True):
        assert first.tolist() == [row for row in left.tolist() if row % 4 == 0]
    weights = weights_without(left_out, views)
    assert [np.flatnonzero(gone).tolist() for gone in weights == 0] == [left.tolist() for left in left_out]


def test_a_part_of_the_rows_shows_whole_examples_of_every_class():
    examples = np.arange(1200) // 2
    views = rows(examples % 3, examples)
    some = a_part_of(views, 150, seed=0)
    assert len(some) == 300
    assert np.bincount(some.targets).tolist() == [100] * 3
    assert np.unique(some.groups, return_counts=True)[1].tolist() == [2] * 150
    assert a_part_of(views, 600, seed=0) is views
    assert not np.array_equal(some.groups, a_part_of(views, 150, seed=1).groups)
