"""Groups through the public API: metrics, balanced and robust weights, wrong data and words."""

import csv

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import transfer_core
from photos import pixels, save
from transfer_core.heads import HeadFit, Rows
from transfer_core.pipeline.group_weights import fit_robust
from transfer_core.runtime.errors import DataError, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import CrossEntropy

BACKBONE = "sklearn:StandardScaler"
GROUP = {"group": "place"}
MINORITY = 0.06


def spurious(rng, count, unusual):
    """A class that one noisy feature shows, and that the place predicts but for a share of the examples."""
    classes = rng.integers(2, size=count)
    place = np.where(rng.random(count) < unusual, 1 - classes, classes)
    core = (2 * classes - 1) * 1.0 + rng.normal(0, 1.0, count)
    easy = (2 * place - 1) * 3.0 + rng.normal(0, 0.7, count)
    return np.column_stack([core, easy, rng.normal(size=(count, 2))]), classes, place


def write(path, parts):
    """`parts`: name to what `spurious` gives."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "c", "d", "label", "place", "split"])
        for part, (features, classes, place) in parts.items():
            for row, one, where in zip(features, classes, place, strict=True):
                writer.writerow([*np.round(row, 5), ("land", "water")[one], ("sand", "sea")[where], part])
    return str(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rng = np.random.default_rng(0)
    parts = {
        "train": spurious(rng, 500, MINORITY),
        "valid": spurious(rng, 150, MINORITY),
        "test": spurious(rng, 400, 0.5),
    }
    return write(tmp_path_factory.mktemp("groups") / "birds.csv", parts)


def train(data, columns=GROUP, **words):
    return transfer_core.train(backbone=BACKBONE, data=data, columns=columns, device="cpu", **words)


def worst(model):
    return model.metrics["groups"]["worst_cells"][0]["value"]


@pytest.fixture(scope="module")
def models(data):
    return {weights: train(data, group_weights=weights) for weights in ("none", "balanced", "robust")}


def test_metrics_by_group(models, data):
    groups = models["none"].metrics["groups"]
    assert groups["metric"] == "accuracy"
    assert [one["group"] for one in groups["per_group"]] == ["sand", "sea"]
    shares = [one["value"] * one["examples"] for one in groups["per_group"]]
    assert sum(shares) / 400 == pytest.approx(models["none"].metrics["accuracy"])
    assert models["none"].header.columns == ("a", "b", "c", "d")  # the group is no input
    assert models["none"].evaluate(data)["groups"] == groups


def test_weights_of_groups_raise_the_worst_cell(models):
    assert worst(models["none"]) < 0.5
    assert worst(models["balanced"]) > worst(models["none"]) + 0.2
    assert worst(models["robust"]) > worst(models["none"]) + 0.2


def test_balanced_weights_are_those_of_scikit_learn(data, models):
    with open(data) as file:
        rows = [row for row in csv.DictReader(file) if row["split"] in ("train", "valid")]
    features = np.array([[float(row[name]) for name in "abcd"] for row in rows])
    cells = [row["label"] + row["place"] for row in rows]
    weights = np.array([len(rows) / (4 * cells.count(cell)) for cell in cells])
    theirs = LogisticRegression(C=1.0).fit(features, [row["label"] for row in rows], weights)
    head = models["balanced"].head
    found = np.diff(head.state_dict()["0.weight"], axis=0)[0]  # on standardized features
    scaled = theirs.coef_[0] * features.std(axis=0)
    assert np.dot(found, scaled) / np.linalg.norm(found) / np.linalg.norm(scaled) > 0.995


@pytest.mark.parametrize(
    "words",
    [
        {"head": {"type": "mlp", "hidden": [4]}, "epochs": 15, "batch_size": 64},
        {"head": "logistic"},
        {"optimizer": "adam", "epochs": 15, "batch_size": 64},
    ],
    ids=["mlp", "logistic", "adam"],
)
def test_every_head_with_weights_can_be_robust(data, words, models):
    assert worst(train(data, group_weights="robust", **words)) > worst(models["none"]) + 0.1


def test_robust_fits_reach_the_minimum_of_the_largest_loss():
    """One feature, one weight: the largest of three losses over a grid of weights."""
    rng = np.random.default_rng(0)
    cells = np.repeat([0, 1, 2], [200, 40, 20])
    classes = rng.integers(2, size=260)
    features = ((2 * classes - 1) * np.array([1.2, 0.3, 0.5])[cells] + rng.normal(0, 1, 260))[:, None]
    criterion = CrossEntropy()

    def losses_of(weight):
        outputs = np.column_stack([np.zeros(260), weight * features[:, 0]])
        losses = criterion.losses(outputs, classes, np.ones(260))
        return np.array([losses[cells == cell].mean() for cell in range(3)]), outputs

    grid = np.linspace(-2, 3, 501)

    def fit(rows, valid):
        totals = np.array([rows.weights[cells == cell].sum() for cell in range(3)])
        weighted = [losses_of(weight)[0] @ totals for weight in grid]
        best = grid[int(np.argmin(weighted))]
        return HeadFit(best, [], losses_of(best)[1], classes, np.arange(260))

    weights = (260 / (3 * np.bincount(cells)))[cells].astype(np.float32)
    rows = Rows(features, classes, weights, np.arange(260), criterion)
    found = fit_robust(fit, rows, rows.take(np.arange(0)), cells, Progress())
    minimax = min(losses_of(w)[0].max() for w in grid)
    balanced = fit(rows, None)
    assert losses_of(found.head)[0].max() <= minimax + 0.008
    assert losses_of(balanced.head)[0].max() > minimax + 0.012


def test_regression_compares_errors(tmp_path):
    rng = np.random.default_rng(0)
    x, dark = rng.normal(size=200), np.arange(200) % 2
    y = x + rng.normal(0, 0.1 + 1.5 * dark)
    path = tmp_path / "r.csv"
    lines = [f"{a:.4f},{b:.4f},{('day', 'night')[one]}" for a, b, one in zip(x, y, dark, strict=True)]
    path.write_text("x,label,light\n" + "\n".join(lines))
    model = train(str(path), {"group": "light"}, group_weights="balanced", split={"test": 0.4})
    groups = model.metrics["groups"]
    assert (groups["metric"], groups["worst"]) == ("mae", "night")
    assert "worst_cells" not in groups
    assert any('significantly worse for "night"' in warning for warning in model.warnings)


def rows_of(places, count=60):
    rng = np.random.default_rng(0)
    for i in range(count):
        yield {
            "input": {"x": float(rng.normal() + i % 2)},
            "label": "ab"[i % 2],
            "place": places[i % len(places)],
        }


def test_rows_may_lack_a_group():
    model = train(rows_of(["sea", "sea", "sand", None]), group_weights="balanced")
    assert any("15 rows of 60 have no value of" in warning for warning in model.warnings)
    assert model.metrics["groups"]["missing"] > 0


@pytest.mark.parametrize(
    ("places", "words", "message"),
    [
        ([None, ""], {}, 'no row has a value of "place", as columns group: needs'),
        ([f"p{i}" for i in range(120)], {}, '"place" has 120 different values, expected at most 100 groups'),
        (["sea"], {"group_weights": "robust"}, 'expected at least two groups of training rows (got "sea")'),
    ],
)
def test_groups_that_can_not_be_compared(places, words, message):
    with pytest.raises(DataError) as raised:
        train(rows_of(places, 240), **words)
    assert message in str(raised.value)


def test_one_group_and_a_group_of_three_are_warnings():
    model = train(rows_of(["sea"]))
    assert any("no groups to compare" in warning for warning in model.warnings)
    some = list(rows_of(["sea", "sea", "sand", "sand"], 100))
    for row in some[:3]:
        row["place"] = "cave"
    warnings = train(some, group_weights="balanced").warnings
    assert any("the rarest class of a group has only " in warning for warning in warnings)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"columns": {}}, "train.group_weights: needs a column of groups. Fix: columns group:"),
        ({"class_weights": "balanced"}, "train.group_weights: weights the classes of each group, too"),
        ({"head": "knn"}, "train.group_weights: neighbours are counted, and have no weights"),
    ],
)
def test_words_that_do_not_go_with_groups(data, words, message):
    with pytest.raises(RecipeError) as raised:
        train(data, **{"group_weights": "balanced", **words})
    assert message in str(raised.value)


def test_folders_and_manifests_without_the_column(data, tmp_path):
    save(tmp_path / "photos/a/1.png", pixels((9, 9, 9), 0))
    with pytest.raises(DataError, match='has no column "place" for columns group:'):
        transfer_core.train(backbone="mobilenet_v2", data=str(tmp_path / "photos"), columns=GROUP)
    with pytest.raises(DataError, match='has no column "plcae", did you mean "place"'):
        train(data, {"group": "plcae"})
