"""Results that look better than they are come with a warning: whole trainings through the public API."""

import csv

import numpy as np
import pytest
import sklearn.linear_model  # noqa: F401  sets variables of the environment when it is imported

import transfer_core
from photos import COLORS, pixels, png
from transfer_core.metrics.shift import coverage_p_value
from transfer_core.runtime.progress import Progress

pytestmark = pytest.mark.slow

NUMBERS = "sklearn:StandardScaler"


def train(data, **words):
    words = {"backbone": NUMBERS, "head": "logistic", **words}
    return transfer_core.train(data=data, **words)


def about(model, start):
    """The warnings of the model that begin like that."""
    return [message for message in model.warnings if message.startswith(start)]


def noise_rows(labels, seed=0):
    """Rows of numbers that have nothing to do with their labels."""
    rng = np.random.default_rng(seed)
    inputs = [{"a": a, "b": b} for a, b in rng.normal(size=(len(labels), 2)).tolist()]
    return [{"input": row, "label": label} for row, label in zip(inputs, labels, strict=True)]


class TestRareClasses:
    def test_four_against_many_warns_and_is_no_better_than_the_common_class(self):
        events = []
        model = train(noise_rows(["rare"] * 4 + ["common"] * 146), on_event=events.append)
        assert model.metrics["accuracy"] == model.metrics["baseline"]["accuracy"]
        assert model.metrics["balanced_accuracy"] == 0.5
        (message,) = about(model, "the classes are unbalanced")
        counts = dict(zip(model.labels, model.state.label_counts, strict=True))
        assert f'{counts["common"]} training rows of "common", {counts["rare"]} of "rare"' in message
        assert message.endswith("Try: class_weights: :balanced")
        (message,) = about(model, 'no better than always predicting "common"')
        low, high = model.metrics["intervals"]["accuracy"]
        assert f"(95 % interval {low:.3g} to {high:.3g})" in message
        assert about(model, 'no measured example of "rare" is recognised')
        told = [event["message"] for event in events if event["event"] == "warning"]
        assert told == list(model.warnings)
        assert transfer_core.load(model.path).warnings == model.warnings

    def test_a_choice_of_weights_is_not_questioned(self):
        rows = noise_rows(["rare"] * 4 + ["common"] * 146)
        assert not about(train(rows, class_weights="balanced"), "the classes are unbalanced")
        assert not about(train(rows, class_weights={"rare": 9}), "the classes are unbalanced")
        assert about(train(rows, class_weights="none"), "the classes are unbalanced")

    def test_photos(self):
        colors = {"brick": 4, "sky": 60}
        rows = [
            {"input": png(pixels(COLORS[label], 100 * count + i)), "label": label}
            for label, count in colors.items()
            for i in range(count)
        ]
        model = transfer_core.train(backbone="mobilenet_v2", data=rows)
        assert about(model, "the classes are unbalanced")
        assert not about(model, "no better than")


def test_a_regression_of_noise_is_no_better_than_the_mean():
    labels = np.random.default_rng(1).normal(size=60).tolist()
    assert about(train(noise_rows(labels), head="linear"), "no better than always predicting the mean: r2 ")


def test_labels_of_noise_are_no_better_than_the_same_for_all():
    rng = np.random.default_rng(2)
    labels = [[name for name in ("cat", "dog") if rng.random() < 0.5] for _ in range(200)]
    model = train(noise_rows(labels), head="linear")
    assert about(model, "no better than giving all the same scores: mean_average_precision ")


def test_evaluating_a_model_warns_as_well():
    rows = [{"input": {"a": float(i)}, "label": "low" if i < 30 else "high"} for i in range(60)]
    model = train(rows)
    assert not about(model, "no better than")
    other = {"low": "high", "high": "low"}
    events = []
    model.evaluate([{**row, "label": other[row["label"]]} for row in rows], progress=Progress(events.append))
    told = [event["message"] for event in events if event["event"] == "warning"]
    assert told[0].startswith('no better than always predicting "low": accuracy 0')
    assert [message[:24] for message in told[1:]] == ['no measured example of "']


WORDS = "say task: :regression if they are amounts, task: :classification if they name classes"


def numbered(labels):
    """Rows from which the label, a number, can be read."""
    return [{"input": {"a": float(i), "b": float(label)}, "label": label} for i, label in enumerate(labels)]


class TestWholeNumbers:
    def test_many_ordered_numbers_are_questioned(self):
        ages = [20 + i % 20 for i in range(200)]
        model = train(numbered(ages))
        assert model.header.task == "classification"
        assert model.warnings[0] == (
            "the labels are 20 different whole numbers from 20 to 39, each taken as a class of its own, so "
            f"that off by one is as wrong as off by many. Fix: {WORDS}"
        )
        for task in ("classification", "regression"):
            model = train(numbered(ages), task=task, head="linear")
            assert (model.header.task, about(model, "the labels are")) == (task, [])

    def test_many_rare_numbers_are_a_regression(self, tmp_path):
        prices = np.random.default_rng(0).integers(5_000, 90_000, 80).tolist()
        model = train(numbered(prices), head="linear")
        assert model.header.task == "regression"
        assert model.warnings[0] == (
            f"the labels are {len(set(prices))} different whole numbers from {min(prices)} to {max(prices)}, "
            f"taken as amounts (regression). Fix: {WORDS}"
        )
        with open(tmp_path / "prices.csv", "w", newline="") as file:
            csv.writer(file).writerows([["a", "price"], *([price / 10, price] for price in prices)])
        model = train(str(tmp_path / "prices.csv"), columns={"target": "price"}, head="linear")
        assert model.header.task == "regression"

    @pytest.mark.parametrize("labels", [[i % 10 for i in range(60)], [f"grade {i % 12}" for i in range(60)]])
    def test_names_of_classes_are_not_questioned(self, labels):
        rows = [{"input": {"a": i % 60, "b": i % 10}, "label": label} for i, label in enumerate(labels)]
        model = train(rows)
        assert (model.header.task, about(model, "the labels are")) == ("classification", [])


class TestNumbersWrittenAsText:
    QUESTION = (
        'the labels are numbers written as text ("1.616,50 €"), each taken as a class of its own. '
        "Fix: write amounts as 1234.5 and say task: :regression, or say task: :classification"
    )

    @pytest.mark.parametrize("others", [1, 3])
    def test_labels(self, others):
        labels = ["1.616,50 €"] * 60 + [f"2.{i}00,00 €" for i in range(others) for _ in range(20)]
        rows = [{"input": {"a": float(len(label)), "b": i}, "label": label} for i, label in enumerate(labels)]
        model = train(rows)
        assert (model.header.task, model.warnings[0]) == ("classification", self.QUESTION)
        assert not about(train(rows, task="classification"), "the labels are")

    def test_labels_of_a_file(self, tmp_path):
        with open(tmp_path / "prices.csv", "w", newline="") as file:
            lines = [[i, "1.616,50 €" if i % 2 else "12.50"] for i in range(60)]
            csv.writer(file).writerows([["a", "price"], *lines])
        model = train(str(tmp_path / "prices.csv"), columns={"target": "price"})
        assert model.warnings[0].startswith("the labels are numbers written as text (")

    def test_a_column_of_inputs(self):
        rows = [
            {"input": {"rent": "1.616,50 €" if i % 3 else "900 €", "size": float(i)}, "label": i % 2 == 0}
            for i in range(60)
        ]
        model = train(rows, backbone="sklearn:ColumnTransformer")
        assert about(model, 'the column "rent" holds numbers written as text ("')

    def test_codes_and_words_are_not_questioned(self):
        labels = ["01067", "04103", "A4", "B5", "2024-05-01"]
        rows = [{"input": {"a": float(i % 5)}, "label": labels[i % 5]} for i in range(60)]
        assert not about(train(rows), "the labels are")


TUNE = [
    {"type": "freeze"},
    {"type": "train"},
    {"type": "unfreeze", "last": 1},
    {"type": "train", "epochs": 2, "learning_rate": 1e-12},
]


def test_fine_tuning_that_gains_nothing_is_in_the_result():
    """A rate at which no weight of float32 changes."""
    colored = [
        {"input": png(pixels(color, 100 * number + i)), "label": label}
        for number, (label, color) in enumerate(COLORS.items())
        for i in range(8)
    ]
    sentence = "fine-tuning gained nothing; the frozen head was kept"
    model = transfer_core.train(backbone="mobilenet_v2", data=colored, steps=TUNE)
    assert not model.header.backbone.fine_tuned
    assert about(model, sentence) == [sentence]
    # Without validation examples the last epoch stays, whatever it is worth.
    steps = [*TUNE[:3], {**TUNE[3], "learning_rate": 1e-3}]
    model = transfer_core.train(backbone="mobilenet_v2", data=colored, steps=steps, split={"valid": 0})
    assert model.header.backbone.fine_tuned
    assert not about(model, sentence)


def shifted(count, seed, shift=0.0, labels=("low", "high")):
    """Rows of two classes that overlap; with a `shift` the second lies elsewhere."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        which = i % len(labels)
        a = rng.normal(which * (1.5 - shift), 1.0)
        yield {"input": {"a": a, "b": rng.normal()}, "label": labels[which]}


class TestPartsThatAddUp:
    def test_train_and_valid(self):
        rows = list(shifted(200, 0))
        model = train({"train": rows, "valid": list(shifted(60, 1))}, split={"near_duplicates": False})
        data = model.summary()["data"]
        assert [(part["name"], part["examples"]) for part in data["parts"]] == [
            ("train", 170),
            ("held out of train", 30),
            ("valid", 60),
        ]
        assert sum(part["examples"] for part in data["parts"]) == data["examples"] == 260
        assert (data["fitted"], data["calibrated"], data["calibrated_by"], data["measured"]) == (
            200,
            200,
            "cross-validation",
            60,
        )
        assert data["calibrated"] == model.metrics["conformal"]["calibrated_on"]
        assert data["measured"] == model.metrics["examples"]
        assert {part["use"] for part in data["parts"][:2]} == {"fitted, and in turn held out to calibrate"}

    def test_what_is_left_out_and_an_optimizer_that_needs_valid(self, tmp_path):
        for i in range(40):
            label = ("brick", "sky")[i % 2]
            folder = tmp_path / ("test" if i < 8 else "train") / label
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{i}.png").write_bytes(png(pixels(COLORS[label], i)))
        (tmp_path / "train" / "brick" / "copy.png").write_bytes((tmp_path / "test/brick/0.png").read_bytes())
        (tmp_path / "train" / "brick" / "broken.png").write_bytes(b"\x89PNG")
        source = {"train": str(tmp_path / "train"), "test": str(tmp_path / "test")}
        words = {"optimizer": "adam", "epochs": 2, "on_bad_input": "skip"}
        model = transfer_core.train(backbone="mobilenet_v2", data=source, **words)
        data = model.summary()["data"]
        assert {part["name"]: part["examples"] for part in data["parts"]} == {
            "train": 27,
            "valid": 5,
            "test": 8,
            "copies": 1,
            "unusable": 1,
        }
        assert (data["examples"], data["fitted"], data["calibrated"], data["calibrated_by"]) == (
            42,
            27,
            5,
            "valid",
        )


class TestCalibrationAndTestData:
    def test_measured_examples_unlike_the_calibration_examples(self):
        rows = list(shifted(300, 0))
        alike = train({"train": rows, "test": list(shifted(100, 1))})
        assert not about(alike, "sets at a level") + about(alike, "classes are not as common")
        model = train({"train": rows, "test": list(shifted(100, 1, shift=2.5))})
        (message,) = about(model, "sets at a level of 0.9 hold the truth in ")
        assert f"{model.metrics['conformal']['coverage']:.1%} of the measured examples (p = " in message

    def test_classes_in_other_shares(self):
        rows = list(shifted(300, 0))
        test = [row for i, row in enumerate(shifted(160, 1)) if row["label"] == "low" or i % 16 == 1]
        (message,) = about(
            train({"train": rows, "test": test}), "classes are not as common among the measured"
        )
        assert '("high" 11% and 50%)' in message

    def test_intervals(self):
        def rows(count, seed, noise):
            rng = np.random.default_rng(seed)
            for a in rng.uniform(0, 10, count).tolist():
                yield {"input": {"a": a}, "label": a + noise * rng.normal()}

        source = {"train": list(rows(300, 0, 0.5)), "test": list(rows(100, 1, 2.0))}
        model = train(source, head="linear")
        assert about(model, 'intervals of "label" at a level of 0.9 hold the truth in ')

    def test_the_chance_of_a_coverage_is_that_of_simulated_examples(self):
        rng = np.random.default_rng(0)
        distances = rng.random((20_000, 49 + 30))
        radius = np.sort(distances[:, :49], axis=1)[:, 44]  # the 45th of 49: a level of 0.9
        covered = (distances[:, 49:] <= radius[:, None]).sum(axis=1)
        for hits in (20, 23, 25, 27):
            expected = (covered <= hits).mean()
            assert coverage_p_value(hits / 30, 30, 49, 0.9) == pytest.approx(expected, abs=0.01)

    def test_the_split_that_is_made_is_not_questioned(self):
        for seed in range(4):
            model = train(list(shifted(200, seed)), seed=seed)
            assert not about(model, "sets at a level") + about(model, "classes are not as common")
