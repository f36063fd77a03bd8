"""Prototype and cosine heads beside their formulae and scikit-learn; the choice with few examples."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestCentroid

import transfer_core
from criteria import Rows
from transfer_core.heads import fit_head
from transfer_core.heads.restored import restored
from transfer_core.recipe.heads import CosineHead, PrototypeHead
from transfer_core.recipe.steps import Train
from transfer_core.runtime.errors import RecipeError
from transfer_core.runtime.progress import Progress

TABLE = "sklearn:ColumnTransformer"
DIGITS, CLASSES = load_digits(return_X_y=True)


def rows(n=60, classes=4, width=5, seed=0):
    rng = np.random.default_rng(seed)
    centers, targets = rng.standard_normal((classes, width)) * 2, np.arange(n) % classes
    features = (centers[targets] + rng.standard_normal((n, width))).astype(np.float32)
    return Rows(features, targets, np.ones(n, np.float32), np.arange(n))


def fit(spec, rows, outputs=4):
    return fit_head(spec, Train(), rows, rows.take(np.arange(0)), outputs, 0, Progress())


def test_prototype_is_the_nearest_centroid():
    known, new = rows(), rows(seed=1).features
    head = fit(PrototypeHead(), known).head
    centers = np.array([known.features[known.targets == k].mean(axis=0) for k in range(4)])
    squares = ((new[:, None] - centers) ** 2).sum(axis=2)
    between = ((centers[:, None] - centers) ** 2).sum(axis=2)
    expected = -4 / between[~np.eye(4, dtype=bool)].mean() * squares
    found = head(new)
    assert found - found.mean(axis=1, keepdims=True) == pytest.approx(
        expected - expected.mean(axis=1, keepdims=True), abs=1e-4
    )
    theirs = NearestCentroid().fit(known.features, known.targets).predict(new)
    assert (found.argmax(axis=1) == theirs).all()


def test_cosine_of_the_mean_directions():
    known, new = rows(), rows(seed=1).features
    head = fit(CosineHead(), known).head
    directions = known.features / np.linalg.norm(known.features, axis=1, keepdims=True)
    centers = np.array([directions[known.targets == k].mean(axis=0) for k in range(4)])
    between = 1 - cosine_similarity(centers)[~np.eye(4, dtype=bool)]
    assert head(new) == pytest.approx(
        4 / between.mean() * cosine_similarity(new, centers), rel=1e-4, abs=1e-4
    )
    assert head(new * 7) == pytest.approx(head(new), abs=1e-4)
    assert (head(np.zeros((1, 5), np.float32)) == 0).all()


def test_weights_count_as_copies():
    one = rows(8)
    weighted = Rows(one.features, one.targets, np.array([2, 1] * 4, np.float32)[:8], one.groups)
    copies = np.repeat(np.arange(8), [2, 1] * 4)
    twice = one.take(copies)
    for spec in (PrototypeHead(), CosineHead()):
        new = rows(seed=1).features
        assert fit(spec, weighted).head(new) == pytest.approx(fit(spec, twice).head(new), abs=1e-4)


def test_held_out_outputs_are_of_other_folds():
    known = rows(40)
    fitted = fit(CosineHead(), known)
    assert fitted.held_out.shape == (40, 4)
    assert sorted(fitted.held_out_targets) == sorted(known.targets)
    assert "validation_loss" in fitted.history[0]
    assert len(fit(CosineHead(), rows(4)).held_out) == 0  # an example per class


@pytest.mark.parametrize("spec", [PrototypeHead(), CosineHead()])
def test_restored_from_its_arrays(spec):
    known = rows()
    head = fit(spec, known).head
    again = restored(spec, head.state_dict(), 5, 4)
    assert (again(known.features) == head(known.features)).all()
    for width, outputs in ((4, 4), (5, 3)):
        with pytest.raises(ValueError, match="its head"):
            restored(spec, head.state_dict(), width, outputs)


def digits(shots, seed=0):
    order = np.random.default_rng(seed).permutation(len(DIGITS))
    for digit in range(10):
        for row in order[CLASSES[order] == digit][:shots]:
            yield {"input": cells(row), "label": str(digit)}


def cells(row):
    return {f"p{place:02}": float(cell) for place, cell in enumerate(DIGITS[row])}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFER_HOME", str(tmp_path))


def test_one_example_per_class_gives_a_model_without_metrics():
    model = transfer_core.train(backbone=TABLE, data=list(digits(1)))
    assert model.recipe.head == CosineHead()
    assert model.metrics == {}
    assert any("nothing was held out" in warning for warning in model.warnings)
    found = model.predict([cells(row) for row in range(300)])
    accuracy = np.mean([one["label"] == str(CLASSES[row]) for row, one in enumerate(found)])
    assert accuracy > 0.3
    again = transfer_core.load(model.path)
    assert again.predict(cells(5)) == model.predict(cells(5))


def test_a_head_of_the_user_is_kept_and_with_more_examples_the_default():
    model = transfer_core.train(backbone=TABLE, data=list(digits(1)), head="linear")
    assert model.recipe.head == transfer_core.train(backbone=TABLE, data=list(digits(12))).recipe.head


def test_the_choice_has_the_lower_out_of_fold_loss():
    data = list(digits(4))
    model = transfer_core.train(backbone=TABLE, data=data)
    losses = {}
    for head in ("linear", "cosine"):
        alone = transfer_core.train(backbone=TABLE, data=data, head=head)
        losses[head] = alone.predict(cells(3))["scores"]
    chosen = {"linear": "linear", "cosine": "cosine"}[model.recipe.head.__struct_config__.tag]
    assert model.predict(cells(3))["scores"] == losses[chosen]


def test_other_tasks():
    rows = [{"input": cells(row), "label": float(CLASSES[row]) + 0.5} for row in range(30)]
    with pytest.raises(RecipeError, match="cosine is for classes, not for regression"):
        transfer_core.train(backbone=TABLE, data=rows, task="regression", head="cosine")
