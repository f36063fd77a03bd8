"""Fitting a head from raw features: the default way and by mini-batches."""

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

from criteria import Rows
from transfer_core.heads import fit_head
from transfer_core.heads.cross_validated import fit_linear
from transfer_core.heads.modules import build_module
from transfer_core.heads.scaling import standardization
from transfer_core.recipe.heads import LinearHead, MlpHead
from transfer_core.recipe.steps import Train
from transfer_core.runtime.errors import DataError, RecipeError
from transfer_core.runtime.progress import Progress

LBFGS = Train(optimizer="lbfgs")
ADAM = Train(
    optimizer="adam",
    epochs=3,
    learning_rate=0.01,
    weight_decay=1e-4,
    batch_size=16,
    schedule="constant",
    warmup=0.0,
    early_stopping=0,
)


def rows(n=90, width=6, labels=3, seed=0, weighted=False):
    """Clouds far from zero, on scales of their own."""
    rng = np.random.default_rng(seed)
    targets = np.arange(n) % labels
    centres = np.random.default_rng(99).normal(size=(labels, width))
    features = (centres[targets] + rng.normal(size=(n, width))) * np.logspace(-0.5, 1, width) + 50
    weights = rng.uniform(0.2, 3, n) if weighted else np.ones(n)
    return Rows(
        features.astype(np.float32),
        targets,
        weights.astype(np.float32),
        np.arange(n),
    )


LINEAR = LinearHead()


def fit(train, rows, valid, spec=LINEAR, seed=0, outputs=3):
    return fit_head(spec, train, rows, valid, outputs, seed, Progress())


def nothing(rows):
    return rows.take(np.arange(0))


def test_the_default_head_takes_raw_features():
    data = rows(weighted=True)
    fitted = fit(LBFGS, data, nothing(data))
    mean, scale = standardization(data.features)
    standard = Rows((data.features - mean) / scale, data.targets, data.weights, data.groups)
    expected = fit_linear(standard, 3, 5, 0, Progress())
    outputs = standard.features @ expected.weight.T + expected.bias
    np.testing.assert_allclose(fitted.head(data.features), outputs, atol=2e-3, rtol=1e-3)
    for ours, theirs in zip(fitted.history, expected.path, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
    np.testing.assert_allclose(fitted.held_out, expected.held_out, atol=2e-3, rtol=1e-3)
    assert np.array_equal(fitted.held_out_targets, expected.held_out_targets)


def test_the_default_head_predicts_as_well_as_scikit_learn():
    data, fresh = rows(300), rows(900, seed=1)
    head = fit(LBFGS, data, nothing(data)).head
    scaler = StandardScaler().fit(data.features)
    theirs = LogisticRegression().fit(scaler.transform(data.features), data.targets)
    their_accuracy = theirs.score(scaler.transform(fresh.features), fresh.targets)
    accuracy = float((head(fresh.features).argmax(axis=1) == fresh.targets).mean())
    assert accuracy >= their_accuracy - 0.01


def test_the_default_head_leaves_validation_rows_alone():
    data = rows()
    first, second = (fit(LBFGS, data, valid).head for valid in (nothing(data), rows(30, seed=1)))
    assert np.array_equal(first.state_dict()["0.weight"], second.state_dict()["0.weight"])


@pytest.mark.parametrize("spec", [LinearHead(), MlpHead((8,), 0.0)])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_minibatches_as_in_a_bare_loop(spec, optimizer):
    data = rows(weighted=True)
    train = replace(ADAM, optimizer=optimizer, momentum=0.9 if optimizer == "sgd" else None)
    fitted = fit(train, data, nothing(data), spec, seed=4)
    mean, scale = standardization(data.features)
    standard = torch.from_numpy((data.features - mean) / scale)
    targets, weights = torch.from_numpy(data.targets), torch.from_numpy(data.weights)
    bare = build_module(spec, 6, 3, torch.Generator().manual_seed(4))
    theirs = {
        "adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=1e-4),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=1e-4),
        "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=1e-4),
    }[optimizer](bare.parameters())
    for number in (1, 2, 3):
        order = torch.randperm(90, generator=torch.Generator().manual_seed(4 * 100_003 + number))
        for chunk in order.split(16):
            theirs.zero_grad()
            losses = nn.CrossEntropyLoss(reduction="none")(bare(standard[chunk]), targets[chunk])
            ((losses * weights[chunk]).sum() / weights[chunk].sum()).backward()
            theirs.step()
    with torch.no_grad():
        expected = bare(standard)
    np.testing.assert_allclose(fitted.head(data.features), expected, atol=2e-3, rtol=1e-3)
    assert [entry["epoch"] for entry in fitted.history] == [1, 2, 3]
    assert len(fitted.held_out) == 0


def test_minibatches_choose_by_validation_rows():
    data, valid = rows(), rows(30, seed=1)
    train = replace(ADAM, epochs=40, learning_rate=0.03, early_stopping=4)
    fitted = fit(train, data, valid, MlpHead((32,), 0.0))
    losses = [entry["validation_loss"] for entry in fitted.history]
    assert len(losses) == losses.index(min(losses)) + 1 + 4
    outputs = fitted.head(valid.features)
    loss = nn.CrossEntropyLoss()(torch.from_numpy(outputs), torch.from_numpy(valid.targets))
    assert float(loss) == pytest.approx(min(losses), rel=1e-3)
    assert np.array_equal(fitted.held_out, outputs)
    assert np.array_equal(fitted.held_out_targets, valid.targets)


def test_dropout_follows_the_seed_and_leaves_the_callers_random_state_alone():
    data, valid = rows(), rows(30, seed=1)
    state = torch.get_rng_state()
    heads = [fit(ADAM, data, valid, MlpHead((8,), 0.5), seed).head for seed in (1, 1, 2)]
    assert torch.equal(state, torch.get_rng_state())
    first, again, other = (head.state_dict()["1.weight"] for head in heads)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_values_are_learned_either_way():
    data = rows(200)
    targets = (data.features - data.features.mean(axis=0)) / data.features.std(axis=0)
    data = Rows(data.features, targets[:, :2], data.weights, data.groups)
    for train in (LBFGS, replace(ADAM, epochs=60)):
        fitted = fit(train, data, nothing(data), outputs=2)
        assert np.square(fitted.head(data.features) - data.targets).mean() < 0.02


def test_an_exploding_head_is_an_error_with_a_way_out():
    data = rows()
    with pytest.raises(RecipeError, match=r"^train: the loss became (nan|inf) in epoch \d. Fix: use a lower"):
        fit(replace(ADAM, optimizer="sgd", learning_rate=1e30), data, nothing(data))


@pytest.mark.parametrize("examples", [0, 1])
@pytest.mark.parametrize("train", [LBFGS, ADAM])
def test_one_example_is_not_enough(train, examples):
    zeros, ones = np.zeros(4 * examples, np.int64), np.ones((4 * examples, 6), np.float32)
    views = Rows(ones, zeros, ones[:, 0], zeros)
    with pytest.raises(DataError) as caught:
        fit(train, views, nothing(views))
    assert str(caught.value) == f"a head needs at least 2 examples to learn from (got {examples})"
