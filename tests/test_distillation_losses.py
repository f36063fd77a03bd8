"""Losses of distillation against the papers' formulas, written as loops."""

import numpy as np
import pytest
import torch

from transfer_core.tasks.criteria import BinaryCrossEntropy, CrossEntropy, SquaredError
from transfer_core.tasks.distillation import Distillation
from transfer_core.training.losses import loss_of
from transfer_core.training.relations import contrastive, relational, similarity

N, D, E = 6, 4, 5


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    return rng.normal(size=(N, D)), rng.normal(size=(N, E))


def huber(x):
    return 0.5 * x * x if abs(x) <= 1 else abs(x) - 0.5


def rkd_by_hand(s, t):
    def distances(rows):
        found = np.array([[np.linalg.norm(a - b) for b in rows] for a in rows])
        return found / found[~np.eye(N, dtype=bool)].mean()

    def cosine(rows, i, j, k):
        if i == j or k == j:
            return 0.0
        a, b = rows[i] - rows[j], rows[k] - rows[j]
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    pairs = [huber(a - b) for a, b in zip(distances(s).ravel(), distances(t).ravel(), strict=True)]
    triples = [
        huber(cosine(s, i, j, k) - cosine(t, i, j, k)) for i in range(N) for j in range(N) for k in range(N)
    ]
    return np.mean(pairs) + 2 * np.mean(triples)


def as_tensors(*arrays):
    return [torch.tensor(array, dtype=torch.float64) for array in arrays]


def test_relational_is_the_papers_formula(pair):
    assert float(relational(*as_tensors(*pair))) == pytest.approx(rkd_by_hand(*pair), rel=1e-9)


def test_relational_ignores_scale_position_and_rotation(pair):
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(D, D)))[0]
    moved = 7.5 * pair[0] @ rotation + 3
    assert float(relational(*as_tensors(moved, pair[0]))) == pytest.approx(0, abs=1e-12)
    first, second = (float(relational(*as_tensors(rows, pair[1]))) for rows in (pair[0], moved))
    assert first == pytest.approx(second, rel=1e-9)
    assert first > 0.01


def test_relational_has_finite_slopes_where_embeddings_are_equal(pair):
    student = torch.tensor(np.repeat(pair[0][:1], N, axis=0), requires_grad=True)
    relational(student, *as_tensors(pair[1])).backward()
    assert torch.isfinite(student.grad).all()


def test_similarity_is_the_papers_formula(pair):
    def matrix(rows):
        found = rows @ rows.T
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    expected = np.linalg.norm(matrix(pair[0]) - matrix(pair[1]), "fro") ** 2 / N**2
    assert float(similarity(*as_tensors(*pair))) == pytest.approx(expected, rel=1e-9)
    assert float(similarity(*as_tensors(3 * pair[0], pair[0]))) == pytest.approx(0, abs=1e-12)


def test_contrastive_is_the_papers_formula(pair):
    s, t = pair[0], pair[1][:, :D]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (s, t)]
    terms = []
    for i in range(N):
        scores = np.array([np.exp(unit[0][i] @ unit[1][j] / 0.1) for j in range(N)])
        terms.append(-np.log(scores[i] / scores.sum()))
    assert float(contrastive(*as_tensors(s, t))) == pytest.approx(np.mean(terms), rel=1e-9)


CRITERIA = {
    "classes": (CrossEntropy(), lambda rng: rng.integers(0, 3, N)),
    "labels": (BinaryCrossEntropy(), lambda rng: rng.random((N, 3)) > 0.5),
    "values": (SquaredError(), lambda rng: rng.normal(size=(N, 3)).astype(np.float32)),
}


def softened_loss(name, z, t):
    if name == "values":
        return np.mean((z - t) ** 2)
    if name == "labels":
        p, q = 1 / (1 + np.exp(-t)), 1 / (1 + np.exp(-z))
        return np.mean(-p * np.log(q) - (1 - p) * np.log(1 - q))
    p, q = (np.exp(rows) / np.exp(rows).sum() for rows in (t, z))
    return -(p * np.log(q)).sum()


@pytest.mark.parametrize("name", CRITERIA)
def test_distillation_is_hintons_formula(name):
    rng = np.random.default_rng(1)
    own, make = CRITERIA[name]
    truth, known = make(rng), np.array([1, 1, 0, 1, 0, 1])
    z, t, weights = rng.normal(size=(N, 3)), 2 * rng.normal(size=(N, 3)), np.ones(N, np.float32)
    criterion = Distillation(own, temperature=3.0, strength=0.25)
    targets = criterion.targets(known, truth, t)
    hard = own.losses(z, truth, weights)
    soft = np.array([softened_loss(name, a / 3, b / 3) for a, b in zip(z, t, strict=True)])
    expected = 0.75 * known * hard + 0.25 * 9 * soft
    assert criterion.losses(z, targets, weights) == pytest.approx(expected, rel=1e-5)
    given = [torch.tensor(array, dtype=torch.float64) for array in (z, targets, weights)]
    assert float(loss_of(criterion)(*given)) == pytest.approx(expected.sum(), rel=1e-5)


@pytest.mark.parametrize("name", CRITERIA)
def test_slopes_of_distillation_agree_with_differences(name):
    rng = np.random.default_rng(2)
    own, make = CRITERIA[name]
    criterion = Distillation(own, temperature=2.0, strength=0.5)
    targets = criterion.targets(np.array([1, 0, 1, 0, 1, 1]), make(rng), rng.normal(size=(N, 3)))
    z = rng.normal(size=(1, 3, N))
    _, slope = criterion.terms(z.copy(), targets, None)
    for k in range(3):
        step = np.zeros_like(z)
        step[0, k] = 1e-5
        above, below = (criterion.terms(z + sign * step, targets, None)[0] for sign in (1, -1))
        assert slope[0, k] == pytest.approx((above - below)[0] / 2e-5, rel=1e-3, abs=1e-6)
