"""Predictions of whole folders, stores and tables into a file, through the public method."""

import csv
import json
import os

import fsspec
import numpy as np
import pyarrow.parquet
import pytest
import sklearn.preprocessing  # noqa: F401  its first import changes the environment

import transfer_core
from photos import class_folder
from transfer_core.model import predict_all as module
from transfer_core.runtime.errors import (
    Cancelled,
    ConfigurationError,
    DataError,
    DependencyError,
    RecipeError,
)
from transfer_core.runtime.progress import Progress

pytestmark = pytest.mark.extras


def cells(x, y):
    return {"x": x, "y": y}


@pytest.fixture(scope="module")
def table_model():
    rng = np.random.default_rng(0)
    rows = [{"input": cells(k + rng.normal(0, 0.2), 1 - k), "label": "ab"[k]} for k in (0, 1) * 30]
    return transfer_core.train(backbone="sklearn:StandardScaler", data=rows)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    class_folder(root)
    return root


@pytest.fixture(scope="module")
def photo_model(photos):
    return transfer_core.train(backbone="mobilenet_v2", data=str(photos))


def manifest(path, count=25):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["x", "y"])
        writer.writerows([n / count, 1 - n / count] for n in range(count))
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_input_of_a_table_has_a_row_in_order(table_model, tmp_path):
    source = manifest(tmp_path / "new.csv")
    found = table_model.predict_all(source, tmp_path / "out.jsonl", part=10)
    assert (found.rows, found.failed, found.reused) == (25, 0, 0)
    rows = lines(found.path)
    assert [row["row"] for row in rows] == list(range(25))
    assert rows[0]["input"] == f"{source} line 2"
    expected = table_model.predict([cells(str(n / 25), str(1 - n / 25)) for n in range(25)])
    assert [{**row, "row": 0, "input": 0} for row in rows] == [
        {"row": 0, "input": 0, **one} for one in expected
    ]
    assert not os.path.exists(f"{found.path}.parts")


def test_parquet_and_csv_have_the_same_predictions(table_model, tmp_path):
    source = manifest(tmp_path / "new.csv")
    parquet, table, text = (
        table_model.predict_all(source, tmp_path / f"out.{kind}", level=0.8).path
        for kind in ("parquet", "csv", "jsonl")
    )
    expected = lines(text)
    schema = pyarrow.parquet.read_schema(parquet)
    assert schema.names == ["row", "input", "label", "score", "set", "scores", "novelty", "unknown", "error"]
    for row, one in zip(pyarrow.parquet.read_table(parquet).to_pylist(), expected, strict=True):
        assert {**row, "scores": dict(row["scores"])} == {**one, "error": None}
    with open(table, newline="") as file:
        for row, one in zip(csv.DictReader(file), expected, strict=True):
            assert (row["label"], float(row["score"])) == (one["label"], one["score"])
            assert json.loads(row["scores"]) == one["scores"]
            assert (json.loads(row["unknown"]), row["error"]) == (one["unknown"], "")


def test_an_interrupted_call_goes_on(table_model, tmp_path, monkeypatch):
    source, into = manifest(tmp_path / "new.csv"), tmp_path / "out.jsonl"
    whole = table_model.predict_all(source, tmp_path / "whole.jsonl", part=10).path.read_bytes()
    done = []
    stop = Progress(cancelled=lambda: len(done) == 2)
    write = module._write
    monkeypatch.setattr(module, "_write", lambda *given: done.append(write(*given)))
    with pytest.raises(Cancelled):
        table_model.predict_all(source, into, part=10, progress=stop)
    assert not into.exists()
    found = table_model.predict_all(source, into, part=10)
    assert (found.reused, len(done)) == (20, 3)
    assert into.read_bytes() == whole


def test_parts_of_other_inputs_are_predicted_again(table_model, tmp_path, monkeypatch):
    source, into = manifest(tmp_path / "new.csv"), tmp_path / "out.jsonl"
    done = []
    stop = Progress(cancelled=lambda: len(done) == 2)
    write = module._write
    monkeypatch.setattr(module, "_write", lambda *given: done.append(write(*given)))
    with pytest.raises(Cancelled):
        table_model.predict_all(source, into, part=10, progress=stop)
    changed = source.read_text().replace("0.4,", "0.9,")  # in the second part
    source.write_text(changed)
    assert table_model.predict_all(source, into, part=10).reused == 10
    again = table_model.predict_all(source, tmp_path / "again.jsonl", part=7)
    assert into.read_bytes() == again.path.read_bytes()


def test_photos_of_a_folder_and_of_a_store_get_the_same_predictions(photo_model, photos, tmp_path):
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    local = photo_model.predict_all(photos, tmp_path / "local.jsonl", part=5)
    store = fsspec.filesystem("memory")
    store.put(str(photos), "/bucket/photos", recursive=True)
    remote = photo_model.predict_all("memory://bucket/photos", tmp_path / "remote.parquet", part=5)
    assert local.failed == remote.failed == 1
    here, there = lines(local.path), pyarrow.parquet.read_table(remote.path).to_pylist()
    assert [os.path.relpath(row["input"], photos) for row in here] == [
        row["input"].removeprefix("memory:///bucket/photos/") for row in there
    ]
    assert [row.get("score") for row in here] == [row["score"] for row in there]
    expected = photo_model.predict([row["input"] for row in here], on_bad_input="mark")
    assert [row.get("label") for row in here] == [one.get("label") for one in expected]
    assert "broken.jpg" in next(row["error"] for row in here if "error" in row)
    store.rm("/bucket", recursive=True)
    (photos / "broken.jpg").unlink()


def test_rows_without_a_photo_are_marked(photo_model, photos, tmp_path):
    first = next(photos.rglob("*.png"))
    (tmp_path / "new.csv").write_text(f'path\n{first}\n ""\n{tmp_path}/none.png\n')
    found = photo_model.predict_all(tmp_path / "new.csv", tmp_path / "out.jsonl")
    assert [sorted(row)[:1] for row in lines(found.path)] == [["input"], ["error"], ["error"]]
    with open(first, "rb") as file:
        assert photo_model.predict_all([file.read(), str(first)], tmp_path / "rows.csv").rows == 2


@pytest.mark.parametrize(
    ("data", "into", "words", "error", "message"),
    [
        ("none.csv", "out.jsonl", {}, DataError, "none.csv does not exist"),
        (".", "out.jsonl", {}, DataError, "is a folder, but this model takes rows"),
        (
            "new.csv",
            "out.xlsx",
            {},
            ConfigurationError,
            "expected a name that ends with .parquet, .csv, .jsonl",
        ),
        ("new.csv", "none/out.csv", {}, ConfigurationError, "there is no folder"),
        ("new.csv", "out.csv", {"part": 0}, RecipeError, "1 to 100000"),
        ("new.csv", "out.csv", {"level": 2}, RecipeError, "level"),
        ("file:///etc/passwd", "out.csv", {}, DataError, "the URL of a store"),
        ("none://bucket/a.csv", "out.csv", {}, DataError, "can't be opened"),
        ("adl://bucket/a.csv", "out.csv", {}, DependencyError, "adl"),
    ],
)
def test_errors(table_model, tmp_path, monkeypatch, data, into, words, error, message):
    monkeypatch.chdir(tmp_path)
    manifest(tmp_path / "new.csv")
    with pytest.raises(error, match=message):
        table_model.predict_all(data, into, **words)
    assert not list(tmp_path.glob("out*.csv"))


def test_two_calls_for_one_file(table_model, tmp_path):
    source, into = manifest(tmp_path / "new.csv"), tmp_path / "out.jsonl"
    with module._parts_of(into), pytest.raises(ConfigurationError, match="another process is writing"):
        table_model.predict_all(source, into)
