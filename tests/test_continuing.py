"""Continue the training of a model: new examples and classes, with its stored examples."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

import transfer_core
from transfer_core.model_file.format import read_model, write_model
from transfer_core.runtime.errors import DataError, ModelFileError, RecipeError

TABLE = "sklearn:ColumnTransformer"
DIGITS, CLASSES = load_digits(return_X_y=True)
FIRST = [row for row in range(0, 900) if CLASSES[row] < 7]
NEW = [row for row in range(900, 1300) if CLASSES[row] > 5]
UNSEEN = range(1300, len(DIGITS))


def cells(row):
    return {f"p{place:02}": float(cell) for place, cell in enumerate(DIGITS[row])}


def examples(rows):
    return [{"input": cells(row), "label": f"digit {CLASSES[row]}"} for row in rows]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def base(home):
    return transfer_core.train(backbone=TABLE, data=examples(FIRST))


@pytest.fixture(scope="module")
def continued(base):
    return more(base, examples(NEW))


def more(model, data, **words):
    return transfer_core.train(data=data, start=model, **words)


def accuracy(model, rows):
    found = model.predict([cells(row) for row in rows])
    return np.mean([one["label"] == f"digit {CLASSES[row]}" for row, one in zip(rows, found, strict=True)])


def test_new_classes_are_added_and_the_others_kept(base, continued):
    assert continued.labels == tuple(f"digit {digit}" for digit in range(10))
    kept = continued.metrics["kept"]
    assert kept["metric"] == "accuracy"
    assert kept["examples"] == base.metrics["examples"]
    assert kept["before"] == base.metrics["accuracy"]
    assert kept["after"] > kept["before"] - 0.05
    everything = transfer_core.train(backbone=TABLE, data=examples(sorted({*FIRST, *NEW})))
    assert accuracy(continued, UNSEEN) > accuracy(everything, UNSEEN) - 0.03
    assert continued.metrics["examples"] > base.metrics["examples"]
    assert (continued.embed(cells(5)) == base.embed(cells(5))).all()


def test_again(continued):
    third = more(continued, examples(range(1300, 1400)))
    assert third.metrics["kept"]["examples"] == continued.metrics["examples"]
    rows = range(1400, len(DIGITS))
    assert accuracy(third, rows) >= accuracy(continued, rows) - 0.02


def test_known_examples_stay_in_their_part(base):
    both = more(base, examples([*FIRST, *NEW]))
    assert any("left out 63" in warning for warning in both.warnings)
    assert both.metrics["kept"]["examples"] == base.metrics["examples"]
    assert both.metrics["accuracy"] == more(base, examples(NEW)).metrics["accuracy"]


def test_bad_data(base, tmp_path):
    with pytest.raises(DataError, match="nothing is new"):
        more(base, examples(FIRST))
    clash = [{**row, "label": "digit 9"} for row in examples(FIRST[:3])]
    with pytest.raises(DataError, match="is digit 9, but was digit 0 in the training of the model"):
        more(base, [*clash, *examples(NEW)])
    with pytest.raises(DataError, match="the model takes the columns"):
        more(base, [{"input": {"p00": 1.0, "p01": float(i)}, "label": "digit 1"} for i in range(9)])
    with pytest.raises(RecipeError, match="head: is that of the model in from"):
        more(base, examples(NEW), head="mlp")
    with pytest.raises(RecipeError, match="backbone: is sklearn:ColumnTransformer of the model in from"):
        more(base, examples(NEW), backbone="mobilenet_v2")
    with pytest.raises(ModelFileError, match="no file"):
        transfer_core.train(data=examples(NEW), start=tmp_path / "none.transfer")


def test_a_regression_goes_on(home):
    def values(rows):
        return [{"input": cells(row), "label": float(CLASSES[row]) + 0.5} for row in rows]

    model = transfer_core.train(backbone=TABLE, data=values(range(200)), task="regression")
    kept = more(model, values(range(200, 800))).metrics["kept"]
    assert kept["before"] == pytest.approx(model.metrics["r2"])
    assert kept["after"] > kept["before"] - 0.1


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("targets", lambda x: x + 100),
        ("digests", lambda x: x[:, :4]),
        ("held_out", lambda x: x * np.float32("nan")),
        ("counts", lambda x: -x),
    ],
)
def test_damaged_stored_examples(base, tmp_path, name, change):
    header, arrays, _ = read_model(base.save(tmp_path / "m.transfer"))
    key = f"novelty.0.{name}"
    write_model(tmp_path / "bad.transfer", {**arrays, key: change(arrays[key])}, header)
    with pytest.raises(ModelFileError, match="its stored examples"):
        transfer_core.load(tmp_path / "bad.transfer")
