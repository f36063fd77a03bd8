"""Ranking of backbones on data, through the public function."""

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import StandardScaler

import transfer_core
from transfer_core.runtime.errors import DataError, RecipeError


def table(path, rows=120, classes=3, noise=0.7, text=False):
    rng = np.random.default_rng(0)
    words = ["red apple", "green pear", "blue plum"]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"] if text else ["a", "b", "c", "label"])
        for number in range(rows):
            kind = number % classes
            if text:
                writer.writerow([f"a {words[kind]} number {number}", kind])
            else:
                writer.writerow(
                    [*np.round(np.eye(3)[kind] + noise * rng.standard_normal(3), 4), f"class {kind}"]
                )
    return str(path)


def test_a_table_is_ranked_by_cross_validated_heads(tmp_path):
    data = table(tmp_path / "rows.csv")
    ranking = transfer_core.rank(data=data)
    assert (ranking.task, ranking.metric, ranking.sampled, ranking.examples) == (
        "classification",
        "accuracy",
        96,
        96,
    )
    losses = [entry.log_loss for entry in ranking.backbones]
    assert losses == sorted(losses)
    assert len(losses) >= 2
    scaled = next(entry for entry in ranking.backbones if entry.backbone == "sklearn:StandardScaler")
    numbers = np.genfromtxt(data, delimiter=",", skip_header=1, usecols=(0, 1, 2))
    labels = [row["label"] for row in csv.DictReader(Path(data).read_text().splitlines())]
    theirs = cross_val_score(
        LogisticRegression(), StandardScaler().fit_transform(numbers), labels, cv=5
    ).mean()
    assert scaled.expected == pytest.approx(theirs, abs=0.08)
    assert scaled.interval[0] <= scaled.expected <= scaled.interval[1]
    assert set(scaled.scores) == {"log_me", "h_score", "trans_rate", "n_leep"}


def test_texts_are_recognized_and_tf_idf_is_ranked(tmp_path):
    data = table(tmp_path / "texts.csv", text=True)
    ranking = transfer_core.rank(data=data, task="classification", budget=600)
    found = {entry.backbone: entry for entry in ranking.backbones}
    assert found["sklearn:TfidfVectorizer"].expected > 0.95


def test_a_regression_has_no_class_scores(tmp_path):
    rng = np.random.default_rng(1)
    rows = [
        {"input": {"x": float(x)}, "label": float(2 * x + 0.1 * rng.standard_normal())}
        for x in rng.random(80)
    ]
    ranking = transfer_core.rank(data=rows, among=["sklearn:StandardScaler"], task="regression")
    assert ranking.metric == "r2"
    assert ranking.backbones[0].expected > 0.9
    assert set(ranking.backbones[0].scores) == {"log_me"}


def test_the_budget_ends_a_ranking_after_the_first(tmp_path):
    data = table(tmp_path / "rows.csv")
    ranking = transfer_core.rank(data=data, budget=1e-9)
    assert len(ranking.backbones) == 1
    assert all("budget" in reason for reason in ranking.left_out.values())


def test_the_test_part_takes_no_part(tmp_path):
    rows = [
        {"input": {"x": float(i)}, "label": str(i % 2), "split": "test" if i >= 40 else "train"}
        for i in range(60)
    ]
    ranking = transfer_core.rank(data=rows, among=["sklearn:StandardScaler"])
    assert ranking.examples == 40


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ({"among": ["mobilnet_v2"]}, RecipeError, r'among\[0\]: unknown backbone "mobilnet_v2"'),
        ({"among": "mobilenet_v2"}, RecipeError, "among: expected names of backbones"),
        ({"budget": 0}, RecipeError, "budget: expected seconds"),
        ({"data": "/nowhere.csv"}, DataError, "does not exist"),
    ],
)
def test_wrong_words_are_explained(tmp_path, words, error, message):
    with pytest.raises(error, match=message):
        transfer_core.rank(**{"data": table(tmp_path / "rows.csv"), **words})


def test_one_class_is_explained(tmp_path):
    with pytest.raises(DataError, match="a classifier needs two classes"):
        transfer_core.rank(data=table(tmp_path / "rows.csv", classes=1))
