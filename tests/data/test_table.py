"""Rows of a table as inputs: from files of each kind, from a caller's rows, and asked about one by one."""

import datetime
import json
from decimal import Decimal

import numpy as np
import pytest

from transfer_core.data import read_labelled, read_splits
from transfer_core.data.example import Cell
from transfer_core.data.table import TABLE
from transfer_core.recipe.parser import parse_recipe
from transfer_core.runtime.errors import DataError
from transfer_core.tasks import TASKS, choose_task


@pytest.fixture
def read(tmp_path, progress):
    """`read_splits` of a table, for recipe words."""

    def read(data, rows=None, **words):
        source = {"stream": "rows"} if rows is not None else data
        recipe = parse_recipe({"data": source, "backbone": "sklearn:ColumnTransformer", **words})
        return read_splits(recipe, TABLE, choose_task, {"rows": rows or []}, tmp_path / "spool", progress)

    return read


@pytest.fixture
def csv(tmp_path):
    def write(text):
        path = tmp_path / "table.csv"
        path.write_text(text)
        return str(path)

    return write


def inputs(splits):
    return [row for part in (splits.train, splits.valid, splits.test) for row in part.inputs]


def test_all_columns_but_target_and_split(csv, read):
    lines = [f"{i},city {i},{'ab'[i % 2]},{'train' if i < 6 else 'test'}" for i in range(8)]
    splits = read(csv("\n".join(["size,city,label,split", *lines])))
    assert splits.columns == ("size", "city")
    assert sorted(inputs(splits)) == [(str(i), f"city {i}") for i in range(8)]
    assert all(type(cell) is Cell for row in inputs(splits) for cell in row)
    assert len(splits.test) == 2


def test_a_column_without_a_name_numbers_the_rows(csv, read):
    splits = read(csv("\n".join([",size,label", *(f"{i},{i},{'ab'[i % 2]}" for i in range(8))])))
    assert splits.columns == ("size",)


def test_the_columns_that_are_said(csv, read):
    lines = [f"{i},x,{i / 2},{2 * i}" for i in range(8)]
    path = csv("\n".join(["a,b,c,price", *lines]))
    splits = read(path, columns={"input": ["c", "a"], "target": "price"}, task="regression")
    assert splits.columns == ("c", "a")
    assert ("3.5", "7") in inputs(splits)
    with pytest.raises(DataError, match=r'table.csv has no column "d" \(found: "a", "b", "c", "price"\)'):
        read(path, columns={"input": ["a", "d"], "target": "price"})
    with pytest.raises(DataError, match="the table has no columns but those of the targets"):
        read(csv("label\na\nb"))


def test_an_empty_cell_is_none(csv, read):
    splits = read(csv("\n".join(["a,b,label", *(f"{i}, ,{'ab'[i % 2]}" for i in range(8))])))
    assert {row[1] for row in inputs(splits)} == {None}


@pytest.mark.extras
def test_the_types_of_a_parquet_file(tmp_path, read):
    import pyarrow.parquet

    day = datetime.date(2024, 2, 3)
    columns = {
        "whole": [3, None],
        "fraction": [0.5, float("nan")],
        "price": [Decimal("1.20"), None],
        "yes": [True, False],
        "day": [day, None],
        "time": [datetime.datetime(2024, 2, 3, 4, 5), None],
        "text": ["3.5", " "],
        "label": ["a", "b"],
    }
    table = pyarrow.table({name: values * 4 for name, values in columns.items()})
    pyarrow.parquet.write_table(table, tmp_path / "table.parquet")
    rows = set(inputs(read(str(tmp_path / "table.parquet"))))
    assert rows == {
        (3, 0.5, 1.2, True, "2024-02-03", "2024-02-03T04:05:00", "3.5"),
        (None, None, None, False, None, None, None),
    }
    assert not any(isinstance(cell, Cell) for row in rows for cell in row)


def test_a_caller_s_rows(read):
    rows = [
        {
            "input": {"size": np.float32(i), "city": None if i else "x", "day": np.datetime64("2024-01-01")},
            "label": i % 2,
        }
        for i in range(8)
    ]
    splits = read(None, rows)
    assert splits.columns == ("city", "day", "size")
    assert ("x", "2024-01-01", 0.0) in inputs(splits)
    chosen = read(None, rows, columns={"input": ["size"]})
    assert chosen.columns == ("size",)
    assert sorted(inputs(chosen)) == [(float(i),) for i in range(8)]
    with pytest.raises(DataError, match=r'^row 1: input has no "age" \(found: "city", "day", "size"\)'):
        read(None, rows, columns={"input": ["size", "age"]})


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([{"a": 1}, {"b": 1}], 'row 2 has the columns "b", but row 1 has "a"'),
        ([{}], "row 1: input has no columns"),
        (["a.jpg"], "row 1: input is a row {column: value}, not str"),
        ([{"a": [1, 2]}], "row 1: a is text or a number, not list"),
        ([{"a": b"x"}], "row 1: a is text or a number, not bytes"),
    ],
)
def test_rows_that_are_none(read, inputs, message):
    with pytest.raises(DataError) as caught:
        read(None, [{"input": input, "label": str(i)} for i, input in enumerate(inputs)])
    assert str(caught.value) == message


def test_rows_that_are_alike_are_different_observations(csv, read, warned):
    lines = [f"{'xy'[i % 2]},{'ab'[(i // 2) % 2]},{'train' if i < 12 else 'test'}" for i in range(16)]
    splits = read(csv("\n".join(["kind,label,split", *lines])))
    assert len(splits.train) + len(splits.valid) == 12
    assert len(splits.test) == 4
    assert not any("copies" in message for message in warned)
    digests = [*splits.train.digests, *splits.valid.digests, *splits.test.digests]
    assert len(set(digests)) == 16
    unsplit = read(csv("\n".join(["kind,label", *(line.rsplit(",", 1)[0] for line in lines)])))
    assert len(unsplit.test) == 3


def test_labelled_rows_for_a_trained_model(csv, tmp_path, progress):
    recipe = parse_recipe(
        {"data": csv("a,b,label\n1,x,p\n2,y,q\n"), "backbone": "x", "columns": {"input": ["b"]}}
    )
    dataset = read_labelled(
        recipe.data,
        TABLE,
        ["p", "q"],
        TASKS["classification"],
        recipe.columns,
        "raise",
        {},
        tmp_path,
        progress,
    )
    assert dataset.inputs == (("x",), ("y",))
    assert dataset.targets.tolist() == [0, 1]


class TestAsked:
    COLUMNS = ("age", "city")

    def test_in_the_order_of_training(self):
        assert TABLE.from_caller({"city": "Ulm", "age": Decimal(3), "more": 1}, "the row", self.COLUMNS) == (
            3.0,
            "Ulm",
        )

    def test_one_or_several(self):
        assert TABLE.is_one({"age": 3})
        assert not TABLE.is_one([{"age": 3}])

    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            ({"age": 3}, 'the row: has no "city" (expected: "age", "city")'),
            ([3, "Ulm"], "the row: expected a row {column: value}, not list"),
            ({"age": {}, "city": "Ulm"}, "the row: age is text or a number, not dict"),
        ],
    )
    def test_what_is_missing_is_told(self, asked, message):
        with pytest.raises(DataError) as caught:
            TABLE.from_caller(asked, "the row", self.COLUMNS)
        assert str(caught.value) == message


def test_json_lines(tmp_path, read):
    lines = [{"a": i, "b": None if i % 3 else "3.5", "label": "xy"[i % 2]} for i in range(8)]
    (tmp_path / "table.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rows = inputs(read(str(tmp_path / "table.jsonl")))
    assert (0, "3.5") in rows
    assert (1, None) in rows
