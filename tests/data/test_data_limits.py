"""Small tables and texts that are dear to read, and errors that quote them."""

import json

import pytest

from bounded import run_bounded
from transfer_core.data import MODALITIES, read_splits
from transfer_core.recipe.parser import parse_recipe
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.limits import DEFAULTS
from transfer_core.tasks import choose_task

BACKBONES = {
    "image": "mobilenet_v2",
    "text": "sklearn:TfidfVectorizer",
    "table": "sklearn:ColumnTransformer",
}
READ = """
from pathlib import Path
from transfer_core.data import MODALITIES, read_splits
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress
from transfer_core.recipe.parser import parse_recipe
recipe = parse_recipe({"data": sys.argv[1], "backbone": sys.argv[2]})
try:
    read_splits(recipe, MODALITIES[sys.argv[3]], choose_task, {}, Path("spool"), Progress())
except DataError as error:
    print(error)
"""


@pytest.fixture
def read(tmp_path, progress):
    """`read_splits` of a modality, for recipe words."""

    def read(modality, data, **words):
        streams = {} if isinstance(data, str) else {"rows": data}
        source = data if isinstance(data, str) else {"stream": "rows"}
        recipe = parse_recipe({"data": source, "backbone": BACKBONES[modality], **words})
        return read_splits(recipe, MODALITIES[modality], choose_task, streams, tmp_path / "spool", progress)

    return read


@pytest.fixture
def file(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def refusal(read, *arguments, **words):
    with pytest.raises(DataError) as raised:
        read(*arguments, **words)
    return str(raised.value)


def refused_in_bounds(path, modality, memory=400 * 10**6, cpu_s=10):
    """The error of reading `path` with the default limits."""
    imports = "import numpy, transfer_core.data.read, transfer_core.recipe.parser\n"
    imports += "from transfer_core.tasks import choose_task"
    return run_bounded(READ, path, BACKBONES[modality], modality, imports=imports, memory=memory, cpu_s=cpu_s)


WORDS = [f"w{number}" for number in range(10)]


def texts(count=40):
    return [
        {"input": f"{WORDS[i % 10]} {WORDS[i // 10 % 10]} {i}", "label": "ab"[i % 2]} for i in range(count)
    ]


def test_a_csv_of_many_columns(file):
    path = file("wide.csv", ",".join(f"column {number}" for number in range(300_000)) + "\n")
    (said,) = refused_in_bounds(path, "table")
    assert said == (
        f"{path}: its 300000 columns are more than max_columns = 16384. "
        "Fix: raise Transfer.config.max_columns (TRANSFER_MAX_COLUMNS), or use a smaller input"
    )


def test_a_column_that_is_missing_among_many(file, read):
    columns = [f"{'c' * 300}{number}" for number in range(16_000)]
    said = refusal(read, "table", file("wide.csv", f"{','.join(columns)}\n"))
    assert 'wide.csv has no column "label" (found: "ccc' in said
    assert "and 15990 more)" in said
    assert len(said) < 4000


@pytest.mark.parametrize("name", ["line.csv", "line.jsonl", "records.csv"])
def test_a_record_that_does_not_end(file, name):
    """One line; or many, of which each begins inside a quoted cell."""
    content = '"\n",' * 5_000_000 if name == "records.csv" else "x" * 20_000_000
    path = file(name, content if name == "line.jsonl" else f"text,label\n{content}\n")
    (said,) = refused_in_bounds(path, "text")
    assert said.startswith(f"{path} line ")
    assert "its first 16000001 characters are more than max_line_length = 16000000. Fix: raise " in said


def test_a_cell_of_csv_may_be_as_long_as_a_text(file, read):
    """Python's own limit is 131,072 characters."""
    rows = [f"{'long ' * 40_000}{i},{'ab'[i % 2]}" for i in range(20)]
    splits = read("text", file("long.csv", "\n".join(["text,label", *rows])))
    assert len(splits.train) + len(splits.valid) + len(splits.test) == 20


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, "[" * 100 + "]" * 100])
def test_json_that_is_nested_deeply(file, content):
    path = file("deep.jsonl", f'{{"text": "a", "label": {content}}}\n')
    (said,) = refused_in_bounds(path, "text")
    assert said.startswith(f"{path} line 1: ")
    assert "not valid JSON" in said or "values are nested more than 20 levels deep" in said
    assert len(said) < 400


def test_a_file_of_too_many_bytes_is_not_opened(file, read, monkeypatch):
    path = file("a.csv", "text,label\n" + "a,b\n" * 100)
    monkeypatch.setenv("TRANSFER_MAX_DATA_BYTES", "400")
    assert refusal(read, "text", path).startswith(
        f"{path}: its 411 bytes are more than max_data_bytes = 400. "
    )


@pytest.mark.parametrize("source", ["csv", "jsonl", "rows"])
def test_too_many_rows(file, read, monkeypatch, source):
    rows = texts(1000)
    if source == "csv":
        lines = "".join(f"{row['input']},{row['label']}\n" for row in rows)
        rows = file("a.csv", f"text,label\n{lines}")
    if source == "jsonl":
        rows = file("a.jsonl", "".join(f"{json.dumps({'text': r['input'], **r})}\n" for r in rows))
    assert len(read("text", rows).train)
    monkeypatch.setenv("TRANSFER_MAX_ROWS", "250")
    where = "the data" if source == "rows" else rows
    assert refusal(read, "text", rows).startswith(
        f"{where}: its 300 rows are more than max_rows = 250. Fix: "
    )


def test_too_many_cells(read, monkeypatch):
    rows = [{"input": {f"c{k}": i + k for k in range(20)}, "label": "ab"[i % 2]} for i in range(200)]
    monkeypatch.setenv("TRANSFER_MAX_CELLS", "3999")
    assert refusal(read, "table", rows).startswith(
        "the data: its 4000 cells are more than max_cells = 3999. "
    )


def test_a_row_of_too_many_columns(read):
    row = {"input": {f"c{number}": number for number in range(100_000)}, "label": "a"}
    assert refusal(read, "table", [row]).startswith(
        "row 1: its 100000 columns are more than max_columns = 16384. Fix: "
    )


@pytest.mark.parametrize("modality", ["text", "table"])
def test_texts_and_cells_that_are_too_long_can_be_left_out(read, warned, modality):
    long = "x" * (DEFAULTS["max_text_length"] + 1)
    inputs = [*(row["input"] for row in texts()), long]
    rows = [
        {"input": {"text": text} if modality == "table" else text, "label": "ab"[i % 2]}
        for i, text in enumerate(inputs)
    ]
    what = "the 1000001 characters of a cell" if modality == "table" else "its 1000001 characters"
    said = f"row 41: {what} are more than max_text_length = 1000000. Fix: raise "
    assert refusal(read, modality, rows).startswith(said)
    splits = read(modality, rows, on_bad_input="skip")
    assert len(splits.skipped) == 1
    assert said in warned[0]


@pytest.mark.parametrize(
    ("task", "label", "many"),
    [
        ("classification", lambda i: f"class {i // 2}", "500 classes"),
        ("multi_label", lambda i: [f"label {i}"], "1000 labels"),
        ("regression", lambda i: [float(k) for k in range(101)], "101 outputs"),
    ],
)
def test_too_many_labels(read, monkeypatch, task, label, many):
    rows = [{**row, "label": label(i)} for i, row in enumerate(texts(1000))]
    monkeypatch.setenv("TRANSFER_MAX_LABELS", "100")
    assert refusal(read, "text", rows, task=task).startswith(
        f"the {many} are more than max_labels = 100. Fix: "
    )


def test_messages_quote_long_values_without_their_middle(read, file):
    """A class, an unknown column, an unknown word of a row, a split, a number."""
    long = "y" * 5_000_000
    cases = [
        ("text", [{"input": "a", "label": long}], {}),
        ("text", [{"input": "a", "label": long}], {"task": "regression"}),
        ("text", [{"input": "a", "label": "b", long: 1}], {}),
        ("text", [{"input": "a", "label": "b", "split": long}], {}),
        ("table", [{"input": {long: object()}, "label": "b"}], {}),
        ("text", file("a.csv", f"{long},label\n"), {}),
        ("text", file("a.jsonl", f'{{"{long}": 1}}\n'), {}),
        ("image", [{"input": f"/{long}.jpg", "label": label} for label in "abab"], {}),
    ]
    for modality, data, words in cases:
        said = refusal(read, modality, data, **words)
        assert len(said) < 2500, said[:200]
        assert "more characters" in said
