"""The minimiser against SciPy and closed forms."""

import numpy as np
import pytest
from scipy import optimize

from transfer_core.heads.lbfgs import minimize


def quadratics(curvatures, centres):
    """Problem b: half the squared distance from `centres[b]`, axis d stretched by `curvatures[b, d]`."""

    def objective(x):
        gradient = curvatures * (x - centres)
        return 0.5 * ((x - centres) * gradient).sum(axis=1) + 1, gradient

    return objective


def rosenbrock(x):
    """Raised by 1: the tolerance is relative to the loss."""
    a, b = x[:, 0], x[:, 1]
    loss = 1 + (1 - a) ** 2 + 100 * (b - a**2) ** 2
    gradient = np.stack([-2 * (1 - a) - 400 * a * (b - a**2), 200 * (b - a**2)], axis=1)
    return loss, gradient


def drawn_quadratics(problems=6, width=20, worst=1e4, seed=0):
    generator = np.random.default_rng(seed)
    return worst ** generator.random((problems, width)), generator.normal(size=(problems, width))


def test_quadratics_are_solved_exactly():
    curvatures, centres = drawn_quadratics()
    x = minimize(quadratics(curvatures, centres), np.zeros_like(centres), tolerance=1e-20)
    np.testing.assert_allclose(x, centres, rtol=0, atol=1e-5)


def test_a_row_does_not_depend_on_the_others():
    curvatures, centres = drawn_quadratics()
    curvatures[0] = 1.0
    start = np.zeros_like(centres)
    together = minimize(quadratics(curvatures, centres), start, tolerance=5e-7)
    for row in range(len(centres)):
        part = slice(row, row + 1)
        alone = minimize(quadratics(curvatures[part], centres[part]), start[part], tolerance=5e-7)
        assert np.array_equal(together[part], alone)


def test_rosenbrock_as_by_scipy():
    starts = np.array([[-1.2, 1.0], [0.0, 0.0], [2.0, -1.0]])
    x = minimize(
        lambda x: tuple(part + 1e-9 * (i == 0) for i, part in enumerate(rosenbrock(x))), starts, 5e-14
    )
    for start, found in zip(starts, x, strict=True):
        theirs = optimize.minimize(optimize.rosen, start, jac=optimize.rosen_der, method="L-BFGS-B")
        np.testing.assert_allclose(found, theirs.x, atol=1e-5)


def test_single_precision_ends_where_rounding_begins():
    curvatures, centres = (t.astype(np.float32) for t in drawn_quadratics())
    calls = []

    def objective(x):
        calls.append(None)
        return quadratics(curvatures, centres)(x)

    x = minimize(objective, np.zeros_like(centres), tolerance=0, history=10)
    assert len(calls) < 500
    assert float((objective(x)[0] - 1).max()) < 1e-3


def test_double_losses_of_single_precision_end_where_the_single_ones_round():
    curvatures, centres = (t.astype(np.float32) for t in drawn_quadratics())
    calls, generator = [], np.random.default_rng(0)

    def objective(x):
        calls.append(None)
        loss, gradient = quadratics(curvatures, centres)(x)
        return loss.astype(np.float64) + 1e-7 * generator.random(len(x)), gradient

    x = minimize(objective, np.zeros_like(centres), tolerance=0, history=10)
    assert x.dtype == np.float32
    assert len(calls) < 500
    assert float((objective(x)[0] - 1).max()) < 1e-3


def test_what_is_left_to_gain_is_within_the_tolerance():
    curvatures, centres = drawn_quadratics(worst=1)
    x = minimize(quadratics(curvatures, centres), np.zeros_like(centres), tolerance=1e-4)
    assert (quadratics(curvatures, centres)(x)[0] <= 1.0001).all()


def test_what_is_already_solved_is_returned_as_it_is():
    curvatures, centres = drawn_quadratics()
    assert np.array_equal(minimize(quadratics(curvatures, centres), centres, tolerance=1e-6), centres)


def test_the_iterations_are_limited():
    curvatures, centres = drawn_quadratics()
    start = np.zeros_like(centres)
    objective = quadratics(curvatures, centres)
    few = minimize(objective, start, tolerance=1e-24, max_iterations=3)
    assert (objective(few)[0] < objective(start)[0]).all()
    assert (objective(few)[0] > 1.001).any()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_search(value):
    start = np.ones((2, 3))
    x = minimize(lambda x: (np.full(2, value), np.full((2, 3), value)), start, tolerance=1e-3)
    assert np.array_equal(x, start)


def test_a_row_without_a_minimum_keeps_its_best_point():
    def objective(x):
        """Falls, then is no number from 1 on."""
        loss = np.where(x[:, 0] < 1, 2 - x[:, 0], np.nan)
        return loss, np.where(x < 1, -1.0, np.nan)

    x = minimize(objective, np.zeros((1, 1)), tolerance=1e-6)
    assert 0.9 < x.item() < 1
