"""Selection of examples to label against brute force and hand-made cases."""

import numpy as np
import pytest

from transfer_core.selection.active_learning import badge, core_set, most_uncertain, smallest_margin


def test_uncertainty_and_margin_by_hand():
    p = np.array([[0.9, 0.05, 0.05], [0.5, 0.5, 0.0], [0.4, 0.3, 0.3], [0.6, 0.4, 0.0]])
    assert most_uncertain(p, 4).indices.tolist() == [2, 1, 3, 0]
    assert most_uncertain(p, 2).scores[1] == pytest.approx(np.log(2))
    assert smallest_margin(p, 2).indices.tolist() == [1, 2]
    assert smallest_margin(p, 2).scores.tolist() == pytest.approx([1, 0.9])


def test_core_set_is_the_greedy_k_center():
    rng = np.random.default_rng(0)
    rows, labelled = rng.standard_normal((60, 4)), rng.standard_normal((5, 4))
    centers, expected, farthest = list(labelled), [], []
    for _ in range(10):
        distances = np.array([min(np.linalg.norm(row - c) for c in centers) for row in rows])
        expected.append(int(distances.argmax()))
        farthest.append(distances.max())
        centers.append(rows[expected[-1]])
    found = core_set(rows, labelled, 10)
    assert found.indices.tolist() == expected
    assert found.scores.tolist() == pytest.approx(farthest, rel=1e-4)


def test_core_set_without_labelled_examples_begins_in_the_middle():
    rows = np.array([[-5.0, 0], [0.1, 0], [5, 0.2]])
    assert core_set(rows, np.empty((0, 2)), 3).indices.tolist()[0] == 1


def test_badge_selects_as_k_means_plus_plus_on_explicit_gradients():
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((40, 6))
    p = rng.dirichlet(np.ones(3), 40)
    residuals = p - np.eye(3)[p.argmax(axis=1)]
    gradients = (residuals[:, :, None] * rows[:, None, :]).reshape(40, -1)
    generator = np.random.default_rng(7)
    expected = [int((gradients**2).sum(axis=1).argmax())]
    while len(expected) < 8:
        distances = ((gradients[:, None] - gradients[expected]) ** 2).sum(axis=2).min(axis=1)
        distances[expected] = 0
        expected.append(int(generator.choice(40, p=distances / distances.sum())))
    found = badge(rows, p, 8, seed=7)
    assert found.indices.tolist() == expected
    assert found.scores.tolist() == pytest.approx(np.linalg.norm(gradients[expected], axis=1))


@pytest.mark.parametrize("count", [1, 5, 50])
def test_each_selects_distinct_examples_at_most_all(count):
    rng = np.random.default_rng(2)
    rows, p = np.repeat(rng.standard_normal((5, 3)), 4, axis=0), rng.dirichlet(np.ones(4), 20)
    p = np.repeat(p[:5], 4, axis=0)
    for found in (
        most_uncertain(p, count),
        smallest_margin(p, count),
        core_set(rows, rows[:0], count),
        badge(rows, p, count, 0),
    ):
        assert len(set(found.indices.tolist())) == len(found.scores) == min(count, 20)
