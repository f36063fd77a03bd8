"""Near-duplicates and groups stay on one side of every split: whole trainings through the public API."""

import csv
import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from sklearn.datasets import load_digits

import transfer_core
from photos import png
from transfer_core.data import near_images
from transfer_core.runtime.errors import Cancelled, DataError, RecipeError

pytestmark = pytest.mark.slow

MENTIONED = "near-duplicates"


def picture(seed, size=96):
    """Soft spots of many sizes and colours: like a photo, it has some detail of every frequency."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size]
    found = np.full((size, size, 3), 128.0)
    for _ in range(40):
        at, radius = rng.uniform(0, size, 2), rng.uniform(3, 25)
        spot = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * radius**2))
        found += spot[..., None] * rng.normal(0, 60, 3)
    return Image.fromarray(np.clip(found, 0, 255).astype(np.uint8))


def jpeg(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


COPIES = {
    "jpeg": lambda image: jpeg(image, 40),
    "smaller": lambda image: image.resize((60, 60), Image.Resampling.BICUBIC),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "cropped": lambda image: image.crop((2, 1, 95, 94)),
}


def copied(labels):
    """Rows of a picture per label, each followed by its near copies."""
    for seed, label in enumerate(labels):
        for image in (picture(seed), *(copy(picture(seed)) for copy in COPIES.values())):
            yield {"input": png(np.asarray(image)), "label": label}


def copies_in(folder):
    """A class folder of ten pictures and their copies; returns its path as text."""
    for number, row in enumerate(copied(["a", "b"] * 5)):
        (folder / row["label"]).mkdir(parents=True, exist_ok=True)
        (folder / row["label"] / f"{number:02}.png").write_bytes(row["input"])
    return str(folder)


def about(model, text=MENTIONED):
    return [message for message in model.warnings if text in message]


def train(data, backbone="mobilenet_v2", **words):
    return transfer_core.train(backbone=backbone, data=data, **words)


RANDOM = [str(label) for label in np.random.default_rng(3).permutation(["a", "b"] * 15)]


class TestImages:
    def test_copies_don_t_flatter_a_model_of_random_labels(self):
        model = train(list(copied(RANDOM)))
        assert model.metrics["accuracy"] < 0.8
        (message,) = about(model)
        count = int(message.split()[0])
        assert 175 <= count <= 180
        assert message == (
            f"{count} images are near-duplicates of one another, in 30 groups; each group stays on one side "
            "of the split"
        )
        assert about(model, "no better than always predicting")
        flattered = train(list(copied(RANDOM)), split={"near_duplicates": False})
        assert flattered.metrics["accuracy"] > 0.85
        assert about(flattered) == []

    def test_the_folds_of_the_head_keep_them_together_as_well(self):
        """Scores are calibrated on what folds hold out: copies in two folds would make them far too sure."""
        temperature = train(list(copied(RANDOM)), split={"test": 0}).state.temperature
        flattered = train(list(copied(RANDOM)), split={"test": 0, "near_duplicates": False}).state.temperature
        assert temperature > 2 * flattered

    @pytest.mark.parametrize("kind", COPIES)
    def test_every_kind_of_copy(self, kind):
        labels = ["a", "b"] * 10
        rows = [
            {"input": png(np.asarray(image)), "label": label}
            for seed, label in enumerate(labels)
            for image in (picture(seed), COPIES[kind](picture(seed)))
        ]
        (message,) = about(train(rows))
        assert message.startswith("40 images are near-duplicates of one another, in 20 groups")

    def test_copies_in_given_parts_are_reported(self, tmp_path):
        for seed in range(40):
            label = "ab"[seed % 2]
            part = "test" if seed < 10 else "train"
            (tmp_path / part / label).mkdir(parents=True, exist_ok=True)
            picture(seed).save(tmp_path / part / label / f"{seed}.png")
        for seed in (0, 1, 2):
            COPIES["jpeg"](picture(seed)).save(tmp_path / "train" / "ab"[seed % 2] / f"{seed}.png")
        model = train({"train": str(tmp_path / "train"), "test": str(tmp_path / "test")})
        assert model.header.sizes["test"] == 10
        (message,) = about(model)
        assert message.startswith("3 of 10 test images are near-duplicates of training ones, for example ")
        assert str(tmp_path / "train") in message
        assert message.endswith(
            ": the metrics are too good. Fix: leave them out, or leave the split to the training (no valid "
            "and test)"
        )

    def test_fine_tuning(self):
        steps = [{"type": "freeze"}, {"type": "unfreeze", "last": 1}, {"type": "train", "epochs": 1}]
        model = train(list(copied(["a", "b"] * 6)), steps=steps)
        assert about(model)[0].startswith("72 images are near-duplicates of one another, in 12 groups")
        assert model.header.sizes == {"train": 48, "valid": 12, "test": 12}

    def test_the_second_training_decodes_nothing_and_gives_the_same(self, tmp_path):
        folder = copies_in(tmp_path / "photos")
        events = []
        first, again = train(folder), train(folder, on_event=events.append)
        assert [e for e in events if e["event"] == "progress" and e["step"] == "freeze"] == []
        assert first.header.data_fingerprint == again.header.data_fingerprint
        assert first.warnings == again.warnings

    def test_a_cancelled_training_goes_on_with_the_same_parts(self, tmp_path):
        folder = copies_in(tmp_path / "photos")
        words = {"optimizer": "adam", "epochs": 3}
        whole = train(folder, **words)
        epochs = []
        with pytest.raises(Cancelled) as cancelled:
            train(
                folder,
                on_event=lambda event: epochs.append(1) if event["event"] == "epoch" else None,
                cancelled=lambda: len(epochs) > 1,
                **words,
            )
        resumed = transfer_core.resume(cancelled.value.run)
        assert resumed.header.data_fingerprint == whole.header.data_fingerprint
        assert resumed.metrics == whole.metrics

    def test_look_alikes_are_no_copies(self):
        digits = load_digits().images
        small = [
            Image.fromarray((16 * image).clip(0, 255).astype(np.uint8)).convert("RGB") for image in digits
        ]
        images = [np.asarray(image.resize((224, 224), Image.Resampling.BICUBIC)) for image in small]
        thumbnails = np.stack([near_images.thumbnail(image) for image in images])
        edges = near_images.near_images(thumbnails, lambda: None)
        merged = {row for edge in edges for row in edge[:2]}
        assert len(merged) <= 0.01 * len(digits)

    def test_pictures_of_one_colour_and_of_other_colours_are_no_copies(self):
        grey = np.full((64, 64, 3), 100, np.uint8)
        spot = np.asarray(picture(0)).astype(int)
        red, green = spot.copy(), spot.copy()
        red[..., 0] += 60
        green[..., 1] += 60
        images = [grey, grey + 40, *(np.clip(image, 0, 255).astype(np.uint8) for image in (red, green))]
        thumbnails = np.stack([near_images.thumbnail(image) for image in images])
        assert near_images.near_images(thumbnails, lambda: None) == []

    def test_a_class_of_nothing_but_copies_is_measured_and_reported(self):
        rows = [
            {"input": png(np.asarray(jpeg(picture(seed), quality))), "label": "ab"[seed]}
            for seed in range(2)
            for quality in range(40, 90, 2)
        ]
        model = train(rows)
        assert model.header.sizes["test"] == 10
        (message,) = [text for text in about(model) if "test images" in text]
        assert message.startswith("10 of 10 test images are near-duplicates of training ones")
        assert message.endswith('Fix: name a column that says which belong together, split group: "…"')


TEXTS = [
    "the flight was late again and nobody told us anything at the gate",
    "what a lovely crew, they made the whole trip feel like a holiday",
    "my bag is still missing after three days and the hotline is busy",
    "smooth boarding, friendly staff, and we even landed a bit early",
]


def tweets(count):
    """Texts that say something else each, with a random label."""
    rng = np.random.default_rng(5)
    words = [f"word{number}" for number in range(400)]
    return [(" ".join(rng.choice(words, 14)), "ab"[rng.integers(2)]) for _ in range(count)]


def retweets(rows):
    for text, label in rows:
        yield {"input": text, "label": label}
        yield {"input": f"RT @anna: {text.upper()}!! https://t.co/abc", "label": label}
        yield {"input": text.replace(text.split()[3], "another"), "label": label}


VECTORS = {"backbone": "sklearn:TfidfVectorizer(min_df=1)", "head": "logistic"}


class TestTexts:
    def test_retweets_don_t_flatter_a_model_of_random_labels(self):
        model = train(list(retweets(tweets(60))), **VECTORS)
        (message,) = about(model)
        assert 165 <= int(message.split()[0]) <= 180
        assert " texts are near-duplicates of one another, in 60 groups, for example word" in message
        assert model.metrics["accuracy"] < 0.75
        flattered = train(list(retweets(tweets(60))), split={"near_duplicates": False}, **VECTORS)
        assert flattered.metrics["accuracy"] > 0.85

    def test_given_parts(self):
        rows = [{"input": text, "label": label} for text, label in tweets(60)]
        test = [{**row, "input": f"@you {row['input']}"} for row in rows[:5]] + rows[40:]
        model = train({"train": rows[:40], "test": test}, **VECTORS)
        (message,) = about(model)
        assert message.startswith("5 of 25 test texts are near-duplicates of training ones, for example word")

    def test_short_and_different_texts_are_no_copies(self):
        rows = [
            {"input": f"{mood} day {number}", "label": mood}
            for number in range(30)
            for mood in ("good", "bad")
        ]
        rows += [{"input": "😀", "label": "good"}, {"input": "😡", "label": "bad"}]
        assert about(train(rows, **VECTORS)) == []

    def test_pairs(self):
        rows = [
            {"input": [TEXTS[i % 4] + f" {text}", text], "label": label}
            for i, (text, label) in enumerate(tweets(30))
        ]
        rows += [{**row, "input": [part.upper() for part in row["input"]]} for row in rows]
        assert about(train(rows, **VECTORS))[0].startswith(
            "60 texts are near-duplicates of one another, in 30 gro"
        )


TABLE = {"backbone": "sklearn:ColumnTransformer", "head": "random_forest"}


class TestRows:
    def test_repeated_measurements(self):
        rng = np.random.default_rng(0)
        rows = [
            {
                "input": {"a": a, "b": b, "town": str(rng.choice(["Ulm", "Rom"]))},
                "label": "xy"[rng.integers(2)],
            }
            for a, b in rng.normal(size=(60, 2)).tolist()
        ]
        again = [
            {**row, "input": {"a": a * (1 + 1e-9), "b": b, "town": f" {town} "}}
            for row in rows
            for a, b, town in [row["input"].values()]
        ]
        model = train(rows + again, **TABLE)
        assert about(model) == [
            "120 rows are near-duplicates of one another, in 60 groups; each group stays on one side of the "
            "split"
        ]
        flattered = train(rows + again, split={"near_duplicates": False}, **TABLE)
        assert flattered.metrics["accuracy"] > model.metrics["accuracy"] + 0.1

    def test_rows_of_few_categories_are_other_observations(self):
        rng = np.random.default_rng(0)
        rows = [
            {
                "input": {"town": str(rng.choice(["Ulm", "Rom", "Bonn"])), "pool": bool(rng.integers(2))},
                "label": "xy"[rng.integers(2)],
            }
            for _ in range(200)
        ]
        assert about(train(rows, **TABLE)) == []


def patients(per_patient=4, count=30):
    """Rows by which a forest recognises the patient, whose label is random."""
    rng = np.random.default_rng(1)
    for number in range(count):
        label, own = "xy"[rng.integers(2)], rng.normal(size=3)
        for _ in range(per_patient):
            a, b, c = own + rng.normal(0, 0.01, 3)
            yield {"input": {"a": a, "b": b, "c": c}, "label": label, "patient": number}


class TestGroups:
    @pytest.fixture
    def table(self, tmp_path):
        with open(tmp_path / "patients.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["a", "b", "c", "label", "patient"])
            writer.writerows([*row["input"].values(), row["label"], row["patient"]] for row in patients())
        return str(tmp_path / "patients.csv")

    def test_rows(self):
        model = train(list(patients()), split={"group": "patient"}, **TABLE)
        assert model.metrics["accuracy"] < 0.85
        assert all(size % 4 == 0 for size in model.header.sizes.values())
        assert model.header.columns == ("a", "b", "c")
        without = [{word: row[word] for word in ("input", "label")} for row in patients()]
        assert train(without, **TABLE).metrics["accuracy"] > 0.95

    def test_a_column_of_a_manifest_is_no_input(self, table):
        model = train(table, split={"group": "patient"}, **TABLE)
        assert model.metrics["accuracy"] < 0.85
        assert all(size % 4 == 0 for size in model.header.sizes.values())
        assert model.header.columns == ("a", "b", "c")

    def test_images(self, tmp_path):
        with open(tmp_path / "photos.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "label", "place"])
            for seed in range(24):
                picture(seed).save(tmp_path / f"{seed}.png")
                writer.writerow([f"{seed}.png", "ab"[seed % 2], seed // 3])
        model = train(str(tmp_path / "photos.csv"), split={"group": "place"})
        assert all(size % 3 == 0 for size in model.header.sizes.values())

    def test_groups_of_given_parts_are_reported(self):
        rows = list(patients())
        model = train(
            {"train": rows[:100], "test": rows[98:]},
            split={"group": "patient", "near_duplicates": False},
            **TABLE,
        )
        assert (
            'training and test share 1 group of "patient": the metrics are too good for new groups'
            in model.warnings
        )

    def test_what_is_wrong_with_them(self, table, tmp_path):
        with pytest.raises(DataError, match=r'has no column "pateint", did you mean "patient"'):
            train(table, split={"group": "pateint"}, **TABLE)
        with pytest.raises(
            DataError, match=r'^row 1: has no "person", by which split group: keeps rows together$'
        ):
            train(list(patients()), split={"group": "person"}, **TABLE)
        with pytest.raises(DataError, match=r'^no row has a value of "patient", as split group: needs$'):
            train([{**row, "patient": None} for row in patients()], split={"group": "patient"}, **TABLE)
        (tmp_path / "photos" / "a").mkdir(parents=True)
        with pytest.raises(
            DataError, match=r'is a folder, which has no column "place" for split group:\. Fix: name '
        ):
            train(str(tmp_path / "photos"), split={"group": "place"})
        with pytest.raises(RecipeError, match="near_duplicates: expected true or false"):
            train(table, split={"near_duplicates": "no"}, **TABLE)
        same = [{"input": row["input"], "label": row["label"], "kind": row["label"]} for row in patients()]
        with pytest.raises(
            DataError, match=r'^each class has a single group of "kind", so that none can be held'
        ):
            train(same, split={"group": "kind"}, **TABLE)
