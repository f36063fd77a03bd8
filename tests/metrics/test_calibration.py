"""Temperature against a fine grid, scipy's minimiser and a known answer."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from transfer_core.metrics import expected_calibration_error, fit_temperature


def log_loss(logits, targets, temperature):
    scores = log_softmax(np.asarray(logits, np.float64) / temperature, axis=1)
    return -scores[np.arange(len(targets)), targets].mean()


def drawn(n, classes, temperature, seed=0, spread=3.0):
    """Logits whose honest probabilities are softmax(logits / temperature)."""
    rng = np.random.default_rng(seed)
    logits = spread * rng.normal(size=(n, classes))
    honest = softmax(logits / temperature, axis=1)
    return logits, (honest.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=classes - 1)


CASES = {
    "overconfident": drawn(500, 5, 3.0),
    "too modest": drawn(500, 5, 0.4, spread=1.0),
    "two classes": drawn(60, 2, 2.0),
    "many classes": drawn(200, 50, 1.5),
    "one row, wrong": (np.array([[2.0, 1.0, -1.0]]), np.array([1])),
    "huge logits": (drawn(100, 4, 2.0)[0] * 1e4, drawn(100, 4, 2.0)[1]),
    "tiny logits": (drawn(100, 4, 2.0)[0] * 1e-4, drawn(100, 4, 2.0)[1]),
    "all wrong": (np.eye(3)[[0, 1, 2]] * 5, np.array([1, 2, 0])),
    "nearly separated": (np.array([[9.0, 0.0]] * 99 + [[0.0, 0.1]]), np.zeros(100, int)),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    return request.param


def test_no_temperature_of_a_fine_grid_has_less_loss(case):
    best = log_loss(*case, fit_temperature(*case))
    losses = [log_loss(*case, t) for t in np.geomspace(0.05, 20, 2001)]
    assert best <= min(losses) + 1e-12 * abs(min(losses))


def test_scipy_finds_the_same_minimum(case):
    found = minimize_scalar(
        lambda u: log_loss(*case, np.exp(u)),
        bounds=np.log([0.05, 20]),
        method="bounded",
        options={"xatol": 1e-9},
    )
    temperature = fit_temperature(*case)
    assert temperature == pytest.approx(np.exp(found.x), rel=1e-4)
    assert log_loss(*case, temperature) <= found.fun + 1e-12 * abs(found.fun)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 5.0])
def test_a_known_temperature_is_recovered(temperature):
    logits, targets = drawn(20_000, 4, temperature)
    assert fit_temperature(logits, targets) == pytest.approx(temperature, rel=0.05)


def test_two_classes_have_a_closed_form():
    # 3 of 4 right with a margin of 4: sigmoid(4 / T) = 3/4.
    assert fit_temperature([[4.0, 0.0]] * 4, [0, 0, 0, 1]) == pytest.approx(4 / np.log(3), rel=1e-9)


@pytest.mark.parametrize(
    ("logits", "targets"),
    [
        (np.eye(3) * 7, [0, 1, 2]),
        ([[3.0, 1.0]], [0]),
        (np.ones((4, 1)), [0, 0, 0, 0]),
        (np.zeros((4, 3)), [0, 1, 2, 0]),
    ],
    ids=["separated", "one row, right", "one class", "no opinion"],
)
def test_data_that_say_nothing_of_doubt_leave_the_scores_alone(logits, targets):
    assert fit_temperature(logits, targets) == 1.0


def test_a_model_that_is_always_wrong_gets_the_highest_temperature():
    assert fit_temperature(*CASES["all wrong"]) == 20.0


def test_the_temperature_lowers_the_calibration_error():
    logits, targets = drawn(5_000, 5, 3.0)
    before = expected_calibration_error(softmax(logits, axis=1), targets)
    after = expected_calibration_error(softmax(logits / fit_temperature(logits, targets), axis=1), targets)
    assert before > 0.2
    assert after < 0.03


@pytest.mark.parametrize("confidence", [1 / 15 * b for b in range(8, 16)])
def test_a_confidence_on_an_edge_belongs_to_the_bin_below(confidence):
    # The neighbour just above the edge is in the next bin: the two gaps don't cancel out.
    above = min(confidence + 1e-6, 1.0)
    pairs = [[confidence, 1 - confidence], [above, 1 - above]]
    expected = ((1 - confidence) + above) / 2 if above < 1 else abs(1 - confidence - above) / 2
    assert expected_calibration_error(pairs, [0, 1]) == pytest.approx(expected, abs=1e-9)


def test_a_confidence_a_hair_above_one_is_in_the_last_bin():
    # In one bin the two gaps, -1 and +0.05, cancel in part.
    pairs = [[1 + 1e-7, 0.0], [0.95, 0.05]]
    assert expected_calibration_error(pairs, [1, 0]) == pytest.approx(0.95 / 2)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"^logits must have the shape \(N, 3\), got \(3,\)$"):
        fit_temperature([1.0, 2.0, 3.0], [0, 1, 2])
    with pytest.raises(ValueError, match=r"^targets must lie between 0 and 1, got 0 to 2$"):
        fit_temperature([[1.0, 2.0]] * 2, [0, 2])
