"""Metrics by group against SciPy's intervals and permutation test."""

import numpy as np
import pytest
from scipy import stats

from transfer_core.metrics.groups import group_metrics, group_warnings, wilson_interval


@pytest.mark.parametrize(("right", "count"), [(0, 3), (3, 3), (7, 10), (1, 200), (450, 500)])
def test_intervals_of_shares_are_wilsons(right, count):
    expected = stats.binomtest(right, count).proportion_ci(method="wilson")
    assert wilson_interval(right, count) == pytest.approx([expected.low, expected.high], abs=1e-12)


def two_groups(first, second, seed=0):
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.random(60) < first, rng.random(40) < second]).astype(float)
    return scores, ["day"] * 60 + ["night"] * 40


def test_values_and_gap():
    scores, names = two_groups(0.9, 0.6)
    found = group_metrics("accuracy", scores, names, 0)
    day, night = found["per_group"]
    assert (day["group"], day["value"], day["examples"]) == ("day", scores[:60].mean(), 60)
    assert (found["worst"], found["best"], found["missing"]) == ("night", "day", 0)
    assert found["gap"] == pytest.approx(scores[:60].mean() - scores[60:].mean())
    low, high = found["gap_interval"]
    # Newcombe's hybrid score interval (1998, method 10), which is that of the sums of squares.
    down = (day["value"] - day["interval"][0]) ** 2 + (night["interval"][1] - night["value"]) ** 2
    up = (day["interval"][1] - day["value"]) ** 2 + (night["value"] - night["interval"][0]) ** 2
    assert (low, high) == pytest.approx((found["gap"] - down**0.5, found["gap"] + up**0.5))


@pytest.mark.parametrize(("first", "second"), [(0.9, 0.6), (0.8, 0.75), (0.5, 0.52)])
def test_p_value_of_two_groups_is_scipys_two_sided_one(first, second):
    scores, names = two_groups(first, second)
    night = np.array(names) == "night"

    def difference(a, b):
        return abs(a.mean() - b.mean())

    expected = stats.permutation_test(
        (scores[night], scores[~night]), difference, n_resamples=1999, alternative="greater", rng=1
    ).pvalue
    assert group_metrics("accuracy", scores, names, 0)["p_value"] == pytest.approx(expected, abs=0.04)


def test_p_values_of_equal_groups_are_uniform_at_most():
    rng = np.random.default_rng(3)
    names = [f"g{i % 5}" for i in range(100)]
    below = sum(
        group_metrics("accuracy", (rng.random(100) < 0.8).astype(float), names, 0)["p_value"] < 0.1
        for _ in range(30)
    )
    assert below <= 8  # 3 expected; more than 8 in one of a thousand


def test_errors_are_worse_the_larger_and_have_bootstrap_intervals():
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.exponential(1, 80), rng.exponential(3, 80)])
    found = group_metrics("mae", scores, ["a"] * 80 + ["b"] * 80, 0, lower_is_better=True)
    assert (found["worst"], found["best"]) == ("b", "a")
    own = scores[80:]
    half = 1.96 * own.std() / 80**0.5
    assert found["per_group"][1]["interval"] == pytest.approx([own.mean() - half, own.mean() + half], rel=0.1)
    assert found["p_value"] < 0.01
    [warning] = group_warnings({"groups": found}, "rows")
    assert warning.startswith('the model is significantly worse for "b": mae ')
    assert "group_weights: :balanced or :robust" in warning


def test_small_groups_are_listed_but_not_compared():
    scores = np.array([1.0] * 20 + [0.0] * 3 + [1.0] * 15 + [0.0])
    names = ["day"] * 20 + ["fog"] * 3 + ["night"] * 15 + [None]
    found = group_metrics("accuracy", scores, names, 0)
    assert [one["group"] for one in found["per_group"]] == ["day", "fog", "night"]
    assert found["missing"] == 1
    assert "fog" not in (found["worst"], found["best"])
    assert found["p_value"] == 1
    warnings = list(group_warnings({"groups": found}, "images"))
    assert warnings == ['"fog": fewer than 10 measured images, too few to compare with other groups']


def test_a_single_group_is_not_compared():
    found = group_metrics("accuracy", np.ones(30), ["day"] * 30, 0)
    assert set(found) == {"metric", "per_group", "missing"}
    assert not list(group_warnings({"groups": found}, "images"))
    assert not list(group_warnings({"accuracy": 1.0}, "images"))


def test_worst_cells_are_classes_within_groups():
    classes = np.array(["cat", "dog"] * 60)
    names = np.array(["day", "day", "night", "night"] * 30)
    scores = np.where((classes == "dog") & (names == "night"), 0.0, 1.0)
    found = group_metrics("accuracy", scores, names, 0, classes=classes)
    assert found["worst_cells"][0] == {"group": "night", "label": "dog", "value": 0.0, "examples": 30}
    assert len(found["worst_cells"]) == 3
