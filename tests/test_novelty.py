"""Inputs of none of the classes: `novelty` and `unknown` of predictions, their calibration and files."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

import transfer_core
from exported import Exported
from transfer_core.heads import novelty as module
from transfer_core.heads.novelty import Novelty, fit_novelty, novelty_metrics, transformed
from transfer_core.model_file.format import read_model, write_model
from transfer_core.runtime.errors import ModelFileError

DIGITS, CLASSES = load_digits(return_X_y=True)
LEFT_OUT = 7


def cells(digit):
    return {f"p{place:02}": float(cell) for place, cell in enumerate(digit)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Trained on every third digit, without sevens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_HOME", str(tmp_path_factory.mktemp("home")))
        kept = [row for row in range(0, len(DIGITS), 3) if CLASSES[row] != LEFT_OUT]
        rows = [{"input": cells(DIGITS[row]), "label": f"digit {CLASSES[row]}"} for row in kept]
        yield transfer_core.train(backbone="sklearn:ColumnTransformer", data=rows)


def novelties(model, rows):
    return np.array([found["novelty"] for found in model.predict([cells(DIGITS[row]) for row in rows])])


def test_five_percent_of_new_digits_and_most_others_are_unknown(model):
    new = [row for row in range(1, len(DIGITS), 3) if CLASSES[row] != LEFT_OUT]
    left_out = np.flatnonzero(CLASSES == LEFT_OUT)
    inside, outside = novelties(model, new), novelties(model, left_out)
    assert (inside >= 0.95).mean() == pytest.approx(0.05, abs=0.03)
    truth = np.r_[np.zeros(len(inside)), np.ones(len(outside))]
    assert roc_auc_score(truth, np.r_[inside, outside]) > 0.9
    noise = cells(np.random.default_rng(0).uniform(-100, 100, 64))
    assert model.predict(noise)["unknown"] is True
    found = model.predict(cells(DIGITS[0]))
    assert found["unknown"] is False
    assert found["unknown"] == (found["novelty"] >= 0.95)


def test_metrics(model):
    measured = model.metrics["novelty"]
    assert measured["flagged"] < 0.2
    assert 0.8 < measured["auroc"] <= 1


def test_a_saved_model_predicts_the_same(model, tmp_path):
    loaded = transfer_core.load(model.save(tmp_path / "m.transfer"))
    rows = range(0, 300, 7)
    assert (novelties(loaded, rows) == novelties(model, rows)).all()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("examples", lambda x: x[:, :-1]),
        ("examples", lambda x: x * np.float32("nan")),
        ("examples", lambda x: x * np.float32(1e30)),
        ("distances", lambda x: x[::-1]),
        ("distances", lambda x: x[None]),
        ("roots", lambda x: x + 2),
        ("roots", None),
    ],
)
def test_damaged_arrays(model, tmp_path, name, change):
    header, arrays, _ = read_model(model.save(tmp_path / "m.transfer"))
    key = f"novelty.0.{name}"
    arrays = {k: v for k, v in arrays.items() if k != key} | ({key: change(arrays[key])} if change else {})
    write_model(tmp_path / "bad.transfer", arrays, header)
    with pytest.raises(ModelFileError, match=r"its (novelty detector|stored examples)"):
        transfer_core.load(tmp_path / "bad.transfer")


@pytest.mark.extras
def test_exported(model, tmp_path):
    model.export(tmp_path / "m.onnx")
    exported = Exported(tmp_path / "m.onnx")
    for row in range(0, 200, 9):
        ours, theirs = model.predict(cells(DIGITS[row])), exported.of_row(cells(DIGITS[row]))
        assert theirs["novelty"] == pytest.approx([ours["novelty"]], abs=1e-4)
        assert theirs["unknown"].tolist() == [ours["novelty"] >= 0.95]


@pytest.mark.parametrize("roots", [False, True])
def test_novelty_by_its_definition(roots):
    rng = np.random.default_rng(1)
    known, new = rng.standard_normal((2, 60, 8)).astype(np.float32)
    held_out = rng.standard_normal((30, 8)).astype(np.float32)
    found = fit_novelty(known, ["a"] * 60, roots, held_out)

    def mapped(x):
        powers = np.sign(x) * np.abs(x) ** 0.5
        return powers / np.linalg.norm(powers, axis=1, keepdims=True) if roots else x

    reference = cdist(mapped(new), mapped(known)).min(axis=1)
    assert found.nearest(new) == pytest.approx(reference, abs=2e-3)
    calibration = cdist(mapped(held_out), mapped(known)).min(axis=1)
    expected = np.array([(calibration < one).sum() / 31 for one in reference])
    assert (found(new) <= expected + 1.1e-3).all() or roots  # float16 examples move distances a little
    assert found(new) == pytest.approx(expected, abs=2.1 / 31)


def test_novelty_is_continuous_and_increases_with_the_distance():
    rng = np.random.default_rng(6)
    known, held_out = (rng.standard_normal((n, 4)).astype(np.float32) for n in (40, 50))
    found = fit_novelty(known, ["a"] * 40, False, np.concatenate([held_out, held_out]))
    away = known[:1] + np.linspace(0, 60, 6001, dtype=np.float32)[:, None]
    order = np.argsort(found.nearest(away), kind="stable")
    distances, values = found.nearest(away)[order], found(away)[order]
    assert (np.diff(values) >= 0).all()
    beyond = distances[:-1] >= found.distances[0]
    assert (np.diff(values)[beyond & (np.diff(distances) > 0)] > 0).all()
    assert (values[distances < found.distances[0]] == 0).all()
    assert 0.99 < values[-1] < 1
    new = rng.standard_normal((500, 4)).astype(np.float32)
    moved = new + rng.uniform(-1e-6, 1e-6, new.shape).astype(np.float32)
    assert np.abs(found(moved) - found(new)).max() < 1e-3


def test_a_share_of_inputs_like_the_calibration_examples_is_above_each_level():
    rng = np.random.default_rng(7)
    shares = []
    for _ in range(300):
        known, held_out, new = (rng.standard_normal((n, 3)).astype(np.float32) for n in (20, 39, 40))
        shares.append(
            (fit_novelty(known, ["a"] * 20, False, held_out)(new) >= np.c_[[0.5, 0.8, 0.95]]).mean(1)
        )
    below = 1 - np.array([0.5, 0.8, 0.95])
    assert (np.mean(shares, axis=0) < below + 0.01).all()
    assert (np.mean(shares, axis=0) > below - 0.04).all()


def test_examples_of_a_group_do_not_calibrate_each_other():
    rng = np.random.default_rng(2)
    known = rng.standard_normal((40, 8)).astype(np.float32)
    twice, names = np.concatenate([known, known]), [str(row % 40) for row in range(80)]
    alone = fit_novelty(known, names[:40], False)
    both = fit_novelty(twice, names, False)
    assert both.distances[::2] == pytest.approx(alone.distances, abs=1e-3)
    assert fit_novelty(twice, list(map(str, range(80))), False).distances.max() < 0.01


def test_stored_examples_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "MOST_EXAMPLES", 50)
    known = np.random.default_rng(3).standard_normal((200, 8)).astype(np.float32)
    found = fit_novelty(known, list(map(str, range(200))), True)
    assert found.examples.shape == (50, 8)
    expected = cdist(transformed(known[150:], True), transformed(known[:50].astype(np.float16), True)).min(
        axis=1
    )
    assert found.distances == pytest.approx(np.sort(expected), abs=2e-3)


def test_auroc_is_that_of_detectors_without_a_class():
    rng = np.random.default_rng(4)
    means = rng.standard_normal((3, 8)) * 2
    classes, tested = rng.integers(0, 3, 90), rng.integers(0, 3, 60)
    known = (means[classes] + rng.standard_normal((90, 8))).astype(np.float32)
    test = (means[tested] + rng.standard_normal((60, 8))).astype(np.float32)
    found = novelty_metrics(fit_novelty(known, list(map(str, range(90))), False), test, tested, classes)
    expected = [
        roc_auc_score(tested == one, cdist(test, known[classes != one]).min(axis=1)) for one in range(3)
    ]
    assert found["auroc"] == pytest.approx(np.mean(expected), abs=1e-6)


def test_huge_numbers_are_novel():
    known = np.random.default_rng(5).standard_normal((30, 4)).astype(np.float32)
    found = fit_novelty(known, list(map(str, range(30))), False)
    assert found(np.full((1, 4), 3e38, np.float32)) == [1.0]
    assert fit_novelty(known * np.float32(1e20), list(map(str, range(30))), False) is None
    assert isinstance(found, Novelty)
