"""Label sets in every way in which they can be written, and what is wrong with others."""

import json
from pathlib import Path

import numpy as np
import pytest

from transfer_core.data.example import Cell, Example
from transfer_core.recipe.schema import Columns
from transfer_core.runtime.errors import DataError
from transfer_core.tasks.label_sets import label_sets


def examples(*labels):
    return [Example(f"{i}.jpg", label, None, f"row {i}") for i, label in enumerate(labels, start=1)]


def said(labels, matrix):
    return [[label for label, has in zip(labels, row, strict=True) if has] for row in matrix]


def failure(call, *arguments, **words):
    with pytest.raises(DataError) as raised:
        call(*arguments, **words)
    return str(raised.value)


def test_lists_of_names():
    labels, matrix = label_sets(
        examples(["dog", "cat"], [], (" cat ", "cat"), {"bird"}, np.array(["dog"]), ["cafe\u0301"]), Columns()
    )
    assert labels == ("bird", "caf\u00e9", "cat", "dog")
    assert said(labels, matrix) == [["cat", "dog"], [], ["cat"], ["bird"], ["dog"], ["caf\u00e9"]]
    assert matrix.dtype == bool


def test_cells_that_hold_several():
    labels, matrix = label_sets(
        examples(*map(Cell, ["dog|cat", "", "cat ; bird", "red kite", "|dog|"])), Columns()
    )
    assert said(labels, matrix) == [["cat", "dog"], [], ["bird", "cat"], ["red kite"], ["dog"]]


def test_a_column_per_label():
    columns = Columns(target=("dog", "cat"))
    cells = [tuple(map(Cell, pair)) for pair in (("1", "0"), ("0", "0"), ("True", "1.0"), ("false", "1"))]
    cells[2] = (Cell("True"), 1.0)
    labels, matrix = label_sets(examples(*cells, [True, 0], [np.int64(0), np.True_]), columns)
    assert labels == ("cat", "dog")
    assert said(labels, matrix) == [["dog"], [], ["cat", "dog"], ["cat"], ["dog"], ["cat"]]


def test_labels_of_a_trained_model():
    known = ("bird", "cat", "dog")
    labels, matrix = label_sets(examples(["dog"], []), Columns(), known)
    assert (labels, said(labels, matrix)) == (known, [["dog"], []])
    assert label_sets(examples([], []), Columns(), known)[1].tolist() == [[False] * 3] * 2
    labels, matrix = label_sets(examples((1, 0, 1)), Columns(target=("dog", "bird", "cat")), known)
    assert said(labels, matrix) == [["cat", "dog"]]
    assert failure(label_sets, examples(["cow"]), Columns(), known) == (
        'the model has no label "cow" (its labels: "bird", "cat", "dog")'
    )
    assert failure(label_sets, examples((1, 0)), Columns(target=("dog", "cat")), known) == (
        'the data has no column for the labels "bird" of the model'
    )


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (None, "the label is missing (an empty list means no label)"),
        (
            "cat",
            '"cat" is one label, but multi_label takes a list of labels each, in a manifest or in rows '
            "(not in a folder)",
        ),
        (
            3,
            "3 is one label, but multi_label takes a list of labels each, in a manifest or in rows "
            "(not in a folder)",
        ),
        (
            ["cat", 1],
            "1 is not a name, as a list of labels needs (where there is 0 or 1 for each label name the "
            "columns: target: [...])",
        ),
        (["cat", " "], "the label is empty"),
        (["\ud83d"], 'the label "\\ud83d" is not valid text'),
    ],
)
def test_what_is_no_list_of_names(bad, message):
    assert failure(label_sets, examples(["cat"], bad), Columns()) == f"row 2: {message}"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ((Cell("1"), Cell("2")), 'the label "dog" is "2", expected 0 or 1'),
        ((Cell(""), Cell("1")), 'the label "cat" is "", expected 0 or 1'),
        ((0, 0.5), 'the label "dog" is 0.5, expected 0 or 1'),
        ((0, None), 'the label "dog" is None, expected 0 or 1'),
        ([1, 0, 1], "3 numbers, but columns.target names 2 labels"),
    ],
)
def test_columns_that_hold_something_else(bad, message):
    assert failure(label_sets, examples((0, 1), bad), Columns(target=("cat", "dog"))) == f"row 2: {message}"


def test_nobody_has_a_label():
    message = "none of the examples has a label, there is nothing to learn"
    assert failure(label_sets, examples([], []), Columns()) == message


SETS = [["cat", "dog"], ["cat"], [], ["dog"], ["dog", "owl"], ["owl"], ["cat"], []] * 5


@pytest.fixture
def written(photo, tmp_path):
    """The same label sets as rows, JSONL, CSV with cells, CSV with columns, and Parquet."""
    import pyarrow
    from pyarrow import parquet

    paths = [photo(f"{i}.png") for i in range(len(SETS))]
    names = [Path(path).name for path in paths]
    (tmp_path / "a.jsonl").write_text(
        "\n".join(json.dumps({"path": n, "label": s}) for n, s in zip(names, SETS, strict=True))
    )
    (tmp_path / "a.csv").write_text(
        "path,label\n" + "\n".join(f"{n},{'|'.join(s)}" for n, s in zip(names, SETS, strict=True))
    )
    marks = [",".join(str(int(one in s)) for one in ("owl", "cat", "dog")) for s in SETS]
    (tmp_path / "b.csv").write_text(
        "path,owl,cat,dog\n" + "\n".join(f"{n},{m}" for n, m in zip(names, marks, strict=True))
    )
    parquet.write_table(pyarrow.table({"path": names, "label": SETS}), tmp_path / "a.parquet")
    rows = [{"input": path, "label": own} for path, own in zip(paths, SETS, strict=True)]
    several = {"columns": {"target": ["owl", "cat", "dog"]}, "task": "multi_label"}
    return {
        "rows": ({"stream": "s"}, {"streams": {"s": rows}}),
        "jsonl": (str(tmp_path / "a.jsonl"), {}),
        "csv": (str(tmp_path / "a.csv"), {"task": "multi_label"}),
        "columns": (str(tmp_path / "b.csv"), several),
        "parquet": (str(tmp_path / "a.parquet"), {}),
    }


@pytest.mark.extras
def test_all_ways_to_write_them_are_the_same(read, written):
    first = None
    for data, words in written.values():
        splits = read(data, **words)
        assert (splits.task.name, splits.labels) == ("multi_label", ("cat", "dog", "owl"))
        parts = [
            (part.inputs, part.digests, part.targets.tolist())
            for part in (splits.train, splits.valid, splits.test)
        ]
        first = first or parts
        assert parts == first
    found = {Path(path).name: row for part in first for path, row in zip(part[0], part[2], strict=True)}
    assert [said(("cat", "dog", "owl"), [found[f"{i}.png"]])[0] for i in range(40)] == SETS


@pytest.mark.extras
def test_other_data_to_measure_on(read, measure, written):
    data, _ = written["columns"]
    columns = {"target": ["dog", "owl", "cat"]}
    by_columns = measure(data, ("cat", "dog", "owl"), "multi_label", columns=columns)
    by_lists = measure(written["jsonl"][0], ("cat", "dog", "owl"), "multi_label")
    np.testing.assert_array_equal(by_columns.targets, by_lists.targets)
    assert len(by_lists) == 40


@pytest.mark.extras
def test_every_label_is_trained_and_measured(read, written):
    splits = read(*written["jsonl"][:1])
    assert (len(splits.train), len(splits.valid), len(splits.test)) == (27, 5, 8)
    for part in (splits.train, splits.test):
        assert part.targets.any(axis=0).all()
        assert not part.targets.all(axis=0).any()


def stream(*rows):
    return {"data": {"stream": "s"}, "streams": {"s": list(rows)}}


def row(path, *labels, **more):
    return {"input": path, "label": list(labels), **more}


def test_a_folder_is_no_way_to_say_it(read, class_folder):
    message = failure(read, class_folder("photos", cat=3, dog=3), task="multi_label")
    assert message.endswith(
        '0.png: "cat" is one label, but multi_label takes a list of labels each, in a manifest or in rows '
        "(not in a folder)"
    )


def test_a_label_that_is_always_there(read, photo):
    rows = [row(photo(f"{i}.png"), "photo", *(["cat"] if i % 2 else [])) for i in range(8)]
    assert failure(read, **stream(*rows)) == (
        'every example has the label "photo", there is nothing to tell apart: leave it out, or add examples '
        "without it"
    )


def test_a_label_that_is_never_there(read, photo, tmp_path):
    lines = [f"{Path(photo(f'{i}.png')).name},{i % 2},0" for i in range(8)]
    (tmp_path / "m.csv").write_text("path,cat,dog\n" + "\n".join(lines))
    words = {"columns": {"target": ["cat", "dog"]}, "task": "multi_label"}
    assert failure(read, str(tmp_path / "m.csv"), **words) == (
        'no example has the label "dog": leave it out, or add examples with it'
    )


def test_a_split_of_ones_own_without_a_label_in_train(read, photo):
    def rows(train, test):
        return [
            *(row(photo(f"a{i}.png"), *own, split="train") for i, own in enumerate(train)),
            *(row(photo(f"b{i}.png"), *own, split="test") for i, own in enumerate(test)),
        ]

    unseen = rows([["cat"], [], ["cat"], []], [["dog"], ["cat"]])
    assert failure(read, **stream(*unseen)) == (
        'test has labels that train never has: "dog" (add training images, or remove them there)'
    )
    always = rows([["cat", "dog"], ["cat"], ["cat", "dog"]], [["dog"], ["cat"]])
    assert failure(read, split={"valid": 0}, **stream(*always)).startswith(
        'every example has the label "cat"'
    )


def test_a_label_of_one_image(read, photo):
    rows = [row(photo(f"{i}.png"), *(["cat"] if i % 2 else [])) for i in range(8)]
    rows.append(row(photo("owl.png"), "owl"))
    assert failure(read, **stream(*rows)) == (
        'only one distinct image of "owl": it can\'t be both trained on and measured (add photos, or remove '
        "the label)"
    )


def test_the_same_image_with_other_labels(read, photo, warned):
    rows = [row(photo(f"{i}.png"), *(["cat"] if i % 2 else ["dog"])) for i in range(12)]
    rows += [row(photo("copy.png", like="1.png"), "cat", "dog"), row(photo("none.png", like="2.png"))]
    message = failure(read, **stream(*rows))
    assert "it is the same image as row 13" in message
    assert 'which has the labels "cat", "dog"' in message
    splits = read(on_bad_input="skip", **stream(*rows))
    assert len(splits.skipped) == 4
    assert any(reason.endswith("which has no label") for reason in splits.skipped)
    assert read(**stream(*rows[:12], row(photo("same.png", like="1.png"), "cat"))).skipped == ()


def test_warnings(read, photo, warned):
    rows = [row(photo(f"{i}.png"), *(["cat"] if i % 2 else ["Cat", "dog"])) for i in range(30)]
    read(**stream(*rows))
    assert warned == [
        'the labels "Cat", "cat" differ only in upper and lower case; are they one?',
        "only 6 images are measured",
    ]


def test_a_label_that_loses_all_its_images(read, photo, tmp_path):
    (tmp_path / "broken.png").write_text("no image")
    rows = [row(photo(f"{i}.png"), *(["cat"] if i % 2 else [])) for i in range(8)]
    rows.append(row(str(tmp_path / "broken.png"), "owl"))
    assert failure(read, on_bad_input="skip", **stream(*rows)) == (
        'none of the 1 images of the label "owl" can be used (replace them, or remove the label)'
    )


def test_a_label_whose_training_images_can_not_be_decoded(read, photo):
    rows = [row(photo(f"{i}.png"), *(["cat"] if i % 2 else [])) for i in range(20)]
    splits = read(**stream(*rows))
    bad = {
        path: "it is damaged"
        for path, has in zip(splits.train.inputs, splits.train.targets[:, 0], strict=True)
        if has
    }
    assert failure(splits.without, bad) == (
        'label "cat" has no readable training image left (replace its images, or remove the label)'
    )
