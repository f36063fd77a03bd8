import json
import subprocess
import sys
from pathlib import Path

import pytest

from transfer_core.data.image import IMAGE
from transfer_core.data.manifest import read_manifest
from transfer_core.recipe.schema import Columns
from transfer_core.runtime.errors import DataError


@pytest.fixture(autouse=True)
def _in_scratch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("set").mkdir()


def rows(name, columns=None):
    return list(read_manifest(name, columns or Columns(), IMAGE, Path("spool")))


def write(text, name="set/labels.csv", encoding="utf-8"):
    Path(name).write_bytes(text.encode(encoding))
    return name


def error(name, columns=None):
    with pytest.raises(DataError) as raised:
        rows(name, columns)
    return str(raised.value)


def test_csv_paths_are_relative_to_the_manifest():
    found = rows(write("path,label\na.jpg,cat\n/data/b.jpg,dog\n"))
    assert [(e.input, e.label, e.split, e.name) for e in found] == [
        ("set/a.jpg", "cat", None, "set/labels.csv line 2 (set/a.jpg)"),
        ("/data/b.jpg", "dog", None, "set/labels.csv line 3 (/data/b.jpg)"),
    ]


def test_csv_with_byte_order_mark_quotes_and_empty_lines():
    found = rows(write('\ufeffpath,label\r\n\r\n"a\nb.jpg","big, ""cat"""\r\n,\r\nc.jpg, dog \r\n'))
    assert [(e.input, e.label, e.name) for e in found] == [
        ("set/a\nb.jpg", 'big, "cat"', "set/labels.csv line 3 (set/a\nb.jpg)"),
        ("set/c.jpg", "dog", "set/labels.csv line 6 (set/c.jpg)"),
    ]


@pytest.mark.parametrize(("name", "delimiter"), [("set/x.csv", ";"), ("set/x.tsv", "\t"), ("set/x.CSV", ",")])
def test_delimiters(name, delimiter):
    found = rows(write(f"path{delimiter}label\na.jpg{delimiter}3,5 kg\n".replace(",5", ".5"), name))
    assert [(e.input, e.label) for e in found] == [("set/a.jpg", "3.5 kg")]


def test_the_split_column():
    found = rows(write("path,label,split\na,x,train\nb,x,VAL\nc,x,validation\nd,x,test\ne,x,\n"))
    assert [e.split for e in found] == ["train", "valid", "valid", "test", None]


def test_columns_by_name_and_several_targets():
    columns = Columns(input="file", target=("x", "y"), split="fold")
    found = rows(write("file,x,y,fold\na.jpg,1,2.5,test\n"), columns)
    assert [(e.input, e.label, e.split) for e in found] == [("set/a.jpg", ("1", "2.5"), "test")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,lable\na,b\n",
            'set/labels.csv has no column "label", did you mean "lable"? (found: "path", "lable")',
        ),
        ("", 'set/labels.csv has no column "path" (found: no columns)'),
        ("path,label,label\n", 'set/labels.csv has the column "label" twice'),
        ("path,label\na.jpg\n", "set/labels.csv line 2: 1 cells, but the header has 2"),
        ("path,label\n,cat\n", "set/labels.csv line 2: path is empty, expected the path of an image"),
        (
            "path,label,split\na,b,tets\n",
            'set/labels.csv line 2: unknown split "tets", did you mean "test"? (one of: train, valid, test)',
        ),
        (
            'path,label\na,"b\n',
            "set/labels.csv line 2: not valid CSV, unexpected end of data",
        ),
    ],
)
def test_malformed_csv(text, message):
    assert error(write(text)) == message


def test_csv_in_another_encoding():
    name = write("path,label\na,Grüße\n", encoding="latin-1")
    assert error(name) == "set/labels.csv is not UTF-8 text, save it as CSV UTF-8"


def test_a_split_column_that_was_named_must_be_there():
    assert error(write("path,label,split\n"), Columns(split="fold")) == (
        'set/labels.csv has no column "fold" (found: "path", "label", "split")'
    )


def test_jsonl():
    lines = [{"path": "a.jpg", "label": 3, "more": [1]}, {"path": "b.jpg", "label": [1.5, 2]}]
    text = f"{json.dumps(lines[0])}\n\n{json.dumps(lines[1])}\n"
    found = rows(write(text, "set/labels.jsonl"))
    assert [(e.input, e.label, e.name) for e in found] == [
        ("set/a.jpg", 3, "set/labels.jsonl line 1 (set/a.jpg)"),
        ("set/b.jpg", [1.5, 2], "set/labels.jsonl line 3 (set/b.jpg)"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"path": "a"}',
            'set/x.jsonl has no column "label" (found: "path"). Fix: columns: { target: "…" } names the'
            " column of the labels",
        ),
        ('{"path": "a", "label": 1}\n[1]', "set/x.jsonl line 2: expected an object {…}, got list"),
        (
            '{"path": "a", "label": 1}\n{"label": 1}',
            "set/x.jsonl line 2: path is empty, expected the path of an image",
        ),
        (
            '{"path": ',
            "set/x.jsonl line 1: not valid JSON, expecting value at character 10",
        ),
    ],
)
def test_malformed_jsonl(text, message):
    assert error(write(text, "set/x.jsonl")) == message


@pytest.mark.parametrize("text", ['{"path": ' + "9" * 5000 + "}", "[" * 100_000])
def test_json_that_python_refuses(text):
    assert error(write(text, "set/x.jsonl")).startswith("set/x.jsonl line 1: not valid JSON, ")


@pytest.mark.extras
def test_parquet_with_paths():
    import pyarrow.parquet

    pyarrow.parquet.write_table(
        pyarrow.table({"path": ["a.jpg", "b.jpg"], "label": [1.5, 2.0], "split": ["train", "test"]}),
        "set/x.parquet",
    )
    assert [(e.input, e.label, e.split, e.name) for e in rows("set/x.parquet")] == [
        ("set/a.jpg", 1.5, "train", "set/x.parquet row 1 (set/a.jpg)"),
        ("set/b.jpg", 2.0, "test", "set/x.parquet row 2 (set/b.jpg)"),
    ]


@pytest.mark.extras
@pytest.mark.parametrize("wrap", [lambda image: image, lambda image: {"bytes": image, "path": "a.png"}])
def test_parquet_with_images(photo, wrap):
    import pyarrow.parquet

    image = Path(photo("a.png")).read_bytes()
    pyarrow.parquet.write_table(pyarrow.table({"image": [wrap(image)], "label": [7]}), "set/x.parquet")
    (found,) = rows("set/x.parquet", Columns(input="image"))
    assert Path(found.input).read_bytes() == image
    assert (found.label, found.name) == (7, "set/x.parquet row 1")


@pytest.mark.extras
def test_a_file_that_is_not_parquet():
    assert error(write("path,label", "set/x.parquet")).startswith(
        "set/x.parquet is not a valid Parquet file: "
    )


def test_parquet_without_pyarrow():
    code = """if True:
        import sys
        from pathlib import Path
        sys.modules["pyarrow"] = None
        from transfer_core.data.image import IMAGE
        from transfer_core.data.manifest import read_manifest
        from transfer_core.recipe.schema import Columns
        list(read_manifest("x.parquet", Columns(), IMAGE, Path("spool")))
    """
    python = Path(__file__).parents[2] / "python"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(python)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr.splitlines()[-1] == (
        "transfer_core.runtime.errors.DependencyError: a Parquet manifest needs the package pyarrow. "
        f"Fix: {sys.executable} -m pip install 'transfer-core[parquet]'"
    )


def test_other_files():
    assert error(write("", "set/labels.xlsx")) == (
        "set/labels.xlsx is neither a folder nor a manifest (one of: .csv, .tsv, .jsonl, .ndjson, .parquet)"
    )
