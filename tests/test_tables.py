"""Trainings on tables, from data to predictions, beside scikit-learn's pipelines on the very same rows."""

import csv

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import transfer_core
from transfer_core.data import MODALITIES, read_splits
from transfer_core.recipe.parser import parse_recipe
from transfer_core.runtime.errors import ConfigurationError, DataError, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks import choose_task

TABLE = "sklearn:ColumnTransformer"


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """scikit-learn's own tables as CSV files."""
    folder = tmp_path_factory.mktemp("tables")
    for name, load in (("cancer", load_breast_cancer), ("wine", load_wine), ("diabetes", load_diabetes)):
        found = load()
        names = getattr(found, "target_names", None)
        with open(folder / f"{name}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*found.feature_names, "label"])
            for row, target in zip(found.data, found.target, strict=True):
                writer.writerow([*row, names[target] if names is not None else target])
    return folder


def train(data, warned=None, backbone=TABLE, **words):
    def hear(event):
        if event["event"] == "warning" and warned is not None:
            warned.append(event["message"])

    return transfer_core.train(backbone=backbone, data=data, on_event=hear, **words)


def rows_of(path, tmp_path, **words):
    """The rows that a training gets: train, train and valid, test, each with its targets."""
    recipe = parse_recipe({"data": path, "backbone": TABLE, **words})
    splits = read_splits(recipe, MODALITIES["table"], choose_task, {}, tmp_path, Progress())
    train, valid, test = (
        np.array([[float(cell) for cell in row] for row in part.inputs])
        for part in (splits.train, splits.valid, splits.test)
    )
    learned = np.concatenate([splits.train.targets, splits.valid.targets]), splits.test.targets
    return train, np.concatenate([train, valid]), test, *(targets.squeeze() for targets in learned)


@pytest.mark.parametrize(
    ("name", "head", "theirs", "tolerance"),
    [
        ("wine", "svm", SVC(break_ties=True), 0),
        ("cancer", "logistic", LogisticRegression(max_iter=1000), 1e-3),
        ("wine", {"type": "random_forest", "trees": 50}, RandomForestClassifier(50, random_state=0), 0.05),
    ],
)
def test_classification_as_scikit_learn_s_pipeline(tables, tmp_path, name, head, theirs, tolerance):
    path = str(tables / f"{name}.csv")
    fitted, learned, test, targets, truth = rows_of(path, tmp_path)
    scaler = StandardScaler().fit(fitted)
    theirs = make_pipeline(StandardScaler(), theirs).fit(scaler.transform(learned), targets)
    model = train(path, head=head)
    assert model.metrics["accuracy"] == pytest.approx(
        theirs.score(scaler.transform(test), truth), abs=tolerance
    )
    asked = [dict(zip(model.header.columns, row, strict=True)) for row in test.tolist()]
    said = [model.labels.index(answer["label"]) for answer in model.predict(asked)]
    agree = np.mean(said == theirs.predict(scaler.transform(test)))
    assert agree >= 1 - tolerance
    assert model.metrics["accuracy"] == pytest.approx(np.mean(np.array(said) == truth))
    if head == "logistic":
        model_scores = [answer["scores"][model.labels[1]] for answer in model.predict(asked)]
        logits = np.log(model_scores) - np.log1p(-np.array(model_scores))
        theirs_logits = theirs.decision_function(scaler.transform(test)) / model.state.temperature
        np.testing.assert_allclose(logits, theirs_logits, rtol=5e-3, atol=5e-3)


def test_regression_as_scikit_learn_s_pipeline(tables, tmp_path):
    path = str(tables / "diabetes.csv")
    fitted, learned, test, targets, truth = rows_of(path, tmp_path, task="regression")
    scaler = StandardScaler().fit(fitted)
    boosting = HistGradientBoostingRegressor(max_iter=40, random_state=0)
    theirs = TransformedTargetRegressor(boosting, transformer=StandardScaler())
    theirs.fit(scaler.transform(learned), targets)
    head = {"type": "gradient_boosting", "trees": 40}
    model = train(path, head=head, task="regression")
    assert model.metrics["r2"] == pytest.approx(theirs.score(scaler.transform(test), truth), abs=0.01)
    row = dict(zip(model.header.columns, test[0].tolist(), strict=True))
    assert model.predict(row, level=0.8)["interval"][0] < model.predict(row)["value"]


def test_the_transformer_is_fitted_on_training_rows_alone(tables, tmp_path):
    path = str(tables / "wine.csv")
    fitted, learned, *_ = rows_of(path, tmp_path)
    model = train(path, backbone="sklearn:StandardScaler", head="knn")
    _, scaler = model.backbone.blocks[0].estimators
    np.testing.assert_allclose(scaler.mean_, fitted.mean(axis=0))
    assert not np.allclose(scaler.mean_, learned.mean(axis=0))


@pytest.fixture(scope="module")
def people():
    """Rows with all that tables have: gaps, texts, booleans; the price depends on age, city and pool."""
    rng = np.random.default_rng(0)
    cities = ["Ulm", "Köln", "Rom"]
    rows = []
    for i in range(120):
        age, city, pool = int(rng.integers(1, 90)), int(rng.integers(3)), bool(rng.integers(2))
        price = age + 50 * city + 30 * pool + rng.normal()
        gaps = {"age": None if i % 11 == 0 else age, "city": None if i % 13 == 0 else cities[city]}
        rows.append({**gaps, "pool": pool, "price": price})
    return rows


def write_csv(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        for row in rows:
            writer.writerow({name: str(v).lower() if isinstance(v, bool) else v for name, v in row.items()})
    return str(path)


@pytest.mark.extras
def test_the_same_table_from_every_source(people, tmp_path):
    import pyarrow.parquet

    parquet = str(tmp_path / "people.parquet")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(people), parquet)
    columns = {"input": ["age", "city", "pool"], "target": "price"}
    stream = [
        {"input": {name: row[name] for name in columns["input"]}, "label": row["price"]} for row in people
    ]
    words = {"columns": columns, "task": "regression", "split": {"test": 0.25}}
    models = [
        train(write_csv(tmp_path / "people.csv", people), **words),
        train(parquet, **words),
        train(stream, **words),
    ]
    asked = [{"age": 30, "city": "Ulm", "pool": True}, {"age": "30", "city": "Rom", "pool": "true"}]
    for model in models:
        assert model.metrics["r2"] > 0.85  # 7 % of the variance is behind the gaps
        assert model.header.columns == ("age", "city", "pool")
        first, second = (answer["value"] for answer in model.predict(asked))
        assert first == pytest.approx(60, abs=15)
        assert second == pytest.approx(160, abs=15)
        again = transfer_core.load(model.path)
        assert again.predict(asked) == model.predict(asked)
        assert again.evaluate(stream, columns={"input": ["age", "city", "pool"]})["r2"] > 0.9
    # Digests differ between sources, and with them the split; the two of typed rows share theirs.
    assert models[1].predict(asked) == models[2].predict(asked)


def test_what_is_asked_may_lack_values_and_have_new_ones(people, tmp_path):
    model = train(
        write_csv(tmp_path / "people.csv", people), columns={"target": "price"}, head="random_forest"
    )
    full = {"age": 30, "city": "Ulm", "pool": True}
    values = [model.predict({**full, **other})["value"] for other in ({"city": "Oslo"}, {"age": None}, {})]
    assert all(0 < value < 300 for value in values)
    with pytest.raises(DataError, match=r'^the row: has no "pool"'):
        model.predict({"age": 30, "city": "Ulm"})
    with pytest.raises(DataError, match=r'^row 2 of 2: age is "old", but held numbers in training$'):
        model.predict([full, {**full, "age": "old"}])


def test_text_among_the_numbers_of_held_out_rows(people, tmp_path):
    rows = [{**row, "split": "test" if i < 20 else "train"} for i, row in enumerate(people)]
    rows[3]["age"] = "old"
    path = write_csv(tmp_path / "people.csv", rows)
    with pytest.raises(
        DataError, match=r'^the row {age: old, city: .*}: age is "old", but held numbers in tr'
    ):
        train(path, columns={"target": "price"})
    warned = []
    model = train(path, warned, columns={"target": "price"}, on_bad_input="skip")
    assert model.metrics["examples"] == 19
    assert [
        message for message in warned if message.startswith("left out 1 row that can't be read: the row {age")
    ]


def test_columns_that_need_a_word_are_in_the_report(people, tmp_path):
    rows = [{"id": 1000 + i, **row} for i, row in enumerate(people)]
    warned = []
    model = train(write_csv(tmp_path / "people.csv", rows), warned, columns={"target": "price"}, head="knn")
    (complaint,) = [message for message in warned if '"id"' in message]
    assert complaint.startswith('the column "id" seems to number the rows')
    assert complaint in model.summary()["warnings"]


def test_one_label_is_not_enough(tmp_path):
    path = write_csv(tmp_path / "same.csv", [{"a": i, "label": "x"} for i in range(9)])
    with pytest.raises(DataError, match=r'have the label "x"; a classifier needs two classes$'):
        train(path)


def test_several_outputs(people, tmp_path):
    rows = [{**row, "double": 2 * row["price"] + 1} for row in people]
    path = write_csv(tmp_path / "people.csv", rows)
    head = {"type": "svm", "c": 10}
    model = train(path, columns={"target": ["price", "double"]}, head=head, task="regression")
    values = model.predict({"age": 30, "city": "Ulm", "pool": True})["values"]
    assert values["double"] == pytest.approx(2 * values["price"] + 1, rel=0.1)


def test_it_can_t_be_saved_without_what_it_has_learned(people, tmp_path):
    model = train(write_csv(tmp_path / "people.csv", people), columns={"target": "price"}, head="knn")
    with pytest.raises(ConfigurationError, match="was fitted on the training examples, so its weights"):
        model.save(tmp_path / "small.transfer", backbone=False)


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ({"head": "svm", "epochs": 3}, "train.epochs"),
        ({"head": "svm", "optimizer": "adam"}, "train.optimizer"),
        ({"head": "svm", "steps": [{"type": "train", "learning_rate": 0.1}]}, "steps[0].learning_rate"),
        (
            {"head": "knn", "steps": [{"type": "train", "class_weights": "balanced"}]},
            "steps[0].class_weights",
        ),
        ({"head": "logistic", "task": "regression"}, "head"),
        ({"preset": "balanced"}, "preset"),
        ({"steps": [{"type": "train"}, {"type": "unfreeze", "last": 1}, {"type": "train"}]}, "steps[1]"),
        ({"augment": ["flip"]}, "augment"),
    ],
)
def test_words_that_do_not_go_with_it(people, tmp_path, words, path):
    with pytest.raises(RecipeError) as caught:
        train(write_csv(tmp_path / "people.csv", people), columns={"target": "price"}, **words)
    assert [problem.path for problem in caught.value.problems] == [path]


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ({"steps": [{"type": "train"}, {"type": "unfreeze", "last": 1}, {"type": "train"}]}, "steps[1]"),
        ({"steps": [{"type": "train"}, {"type": "train"}]}, "steps"),
        ({"preset": "best"}, "preset"),
    ],
)
def test_a_backbone_is_not_fine_tuned_under_a_head_of_scikit_learn(words, path):
    with pytest.raises(RecipeError, match="svm") as caught:
        transfer_core.train(backbone="mobilenet_v2", data="nowhere", head="svm", **words)
    assert [problem.path for problem in caught.value.problems] == [path]


def test_categories_that_become_too_many_columns(monkeypatch):
    """100 columns of 200 categories, each in three rows: 20,000 columns of 0 and 1, from 600 rows."""
    rng = np.random.default_rng(0)
    drawn = [rng.permutation(np.repeat(np.arange(200), 3)) for _ in range(100)]
    rows = [
        {"input": {f"c{k}": f"k{column[i]}" for k, column in enumerate(drawn)}, "label": "ab"[i % 2]}
        for i in range(600)
    ]
    monkeypatch.setenv("TRANSFER_MAX_COLUMNS", "5000")
    with pytest.raises(
        DataError, match=r"^the \d{5} columns that categories become are more than max_columns = 5000\. "
    ):
        train(rows)
    monkeypatch.setenv("TRANSFER_MAX_COLUMNS", "50000")
    monkeypatch.setenv("TRANSFER_MAX_CELLS", "100000")
    with pytest.raises(
        DataError, match=r"^the \d{7} cells that categories become are more than max_cells = 100000\. "
    ):
        train(rows)


def test_ids_do_not_count_as_categories(monkeypatch):
    """Nor rare ones, which share a column."""
    rows = [{"input": {f"c{k}": f"{k} {i}" for k in range(20)}, "label": "ab"[i % 2]} for i in range(60)]
    monkeypatch.setenv("TRANSFER_MAX_COLUMNS", "20")
    assert train(rows).header.embedding_width == 20
