"""Parquet files that are small and dear to read, damaged ones, and those of other writers, beside pyarrow."""

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bounded import run_bounded
from transfer_core.data import parquet
from transfer_core.data.manifest import read_manifest
from transfer_core.data.text import TEXT
from transfer_core.recipe.schema import Columns
from transfer_core.runtime.errors import DataError

pytestmark = [pytest.mark.slow, pytest.mark.extras]

IMPORTS = """
from transfer_core.data import parquet
from transfer_core.runtime.errors import DataError
import pyarrow, pyarrow.compute, pyarrow.parquet
"""
READ = """
try:
    print(sum(1 for _ in parquet.records(sys.argv[1], sys.argv[2:])))
except DataError as error:
    print(error)
"""


def refused_in_bounds(path, *columns, memory=700 * 10**6, cpu_s=20, **settings):
    return run_bounded(READ, path, *columns, imports=IMPORTS, memory=memory, cpu_s=cpu_s, **settings)


def same(value, count):
    """A column of one value, as numbers of a dictionary."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), [value])


def write(table, path, **options):
    """Without Arrow's own types, such as dictionary, beside Parquet's."""
    pq.write_table(table, path, compression="zstd", store_schema=False, **options)


def many_rows(path):
    write(pa.table({"a": same("text", 5_000_000)}), path)


def long_dictionary(path):
    write(pa.table({"a": same("y" * 10**6, 100_000)}), path)


def long_list(path):
    values = same("z" * 1000, 3_000_000)
    table = pa.table({"a": pa.ListArray.from_arrays(pa.array([0, 3_000_000], pa.int32()), values)})
    write(table, path)


def lists_of_a_long_text(path):
    """Each row small enough, together 40 GB."""
    starts = pa.array(np.arange(0, 40_001, 100, dtype=np.int32))
    table = pa.table({"a": pa.ListArray.from_arrays(starts, same("z" * 10**6, 40_000))})
    write(table, path)


def prefixes(path):
    """Lists of texts that are each like the one before."""
    values = pa.array(["w" * 10**6] * 300)
    lists = pa.ListArray.from_arrays(pa.array([0, 300], pa.int32()), values)
    options = {"use_dictionary": False, "column_encoding": {"a.list.element": "DELTA_BYTE_ARRAY"}}
    write(pa.table({"a": lists}), path, **options)


def pages_of_zeros(path):
    texts = pa.array(["\0" * 10**8] * 3, pa.large_string())
    write(pa.table({"a": texts}), path, use_dictionary=False)


def empty_columns(path):
    table = {f"c{number}": pa.nulls(20_000, pa.int8()) for number in range(3000)}
    write(pa.table(table), path)


@pytest.mark.parametrize(
    ("make", "said", "settings"),
    [
        (
            many_rows,
            "its 5000000 rows are more than max_rows = 2000000. Fix: raise ",
            {},
        ),
        (long_dictionary, "bytes of values are more than max_data_bytes = 2000000000. Fix: raise ", {}),
        (long_list, "the 3000000 values of a cell are more than max_columns = 16384. Fix: raise ", {}),
        (lists_of_a_long_text, "bytes of values are more than max_data_bytes = 2000000000. Fix: raise ", {}),
        (
            prefixes,
            "bytes of delta-encoded lists are more than max_data_bytes = ",
            {"max_data_bytes": 2 * 10**8},
        ),
        (pages_of_zeros, "decompressed bytes are more than max_data_bytes = ", {"max_data_bytes": 2 * 10**8}),
    ],
)
def test_a_small_file_of_much_data_is_refused(tmp_path, make, said, settings):
    path = tmp_path / "a.parquet"
    make(path)
    assert path.stat().st_size < 100_000
    (refusal,) = refused_in_bounds(path, "a", **settings)
    assert said in refusal


def test_many_columns_of_nothing(tmp_path):
    path = tmp_path / "a.parquet"
    empty_columns(path)
    (refusal,) = refused_in_bounds(path, *(f"c{number}" for number in range(3000)))
    assert "cells are more than max_cells = 50000000. Fix: raise " in refusal


def test_the_sizes_that_a_footer_claims_are_not_believed(tmp_path):
    """A page of 300 MB, where the footer says 300 bytes."""
    path = tmp_path / "a.parquet"
    pages_of_zeros(path)
    size = pq.ParquetFile(path).metadata.row_group(0).column(0).total_uncompressed_size
    content = path.read_bytes()
    assert content.count(varint(size)) == 2  # of the column and of the row group
    path.write_bytes(content.replace(varint(size), varint(300, len(varint(size)))))
    (refusal,) = refused_in_bounds(path, "a", max_data_bytes=2 * 10**8)
    assert "decompressed bytes are more than max_data_bytes = 200000000" in refusal


def varint(number, length=0):
    """A zigzag number of Thrift's compact protocol, of so many bytes if it needs less."""
    number, content = 2 * number, []
    while number > 127 or len(content) < length - 1:
        content.append(number & 127 | 128)
        number >>= 7
    return bytes([*content, number])


@pytest.mark.parametrize(
    "kind",
    [
        pa.map_(pa.string(), pa.string()),
        pa.list_(pa.list_(pa.string())),
        pa.list_(pa.float32(), 3),
        pa.binary(4),
        pa.struct([("a", pa.list_(pa.string()))]),
    ],
)
def test_types_that_are_no_input(tmp_path, kind):
    path = str(tmp_path / "a.parquet")
    pq.write_table(
        pa.table({"a": pa.nulls(3, kind)} if kind != pa.binary(4) else {"a": pa.array([b"four"], kind)}), path
    )
    with pytest.raises(
        DataError, match=r"a\.parquet: the column a has the type .*, expected text, bytes, numbers"
    ):
        list(parquet.records(path, ["a"]))


def some_table():
    rng = np.random.default_rng(0)
    count = 3000
    words = [f"word {number}" for number in range(50)]
    drawn = rng.integers(0, 50, count)
    lists = [[words[k] for k in rng.integers(0, 50, rng.integers(0, 4))] for _ in range(count)]
    columns = {
        "text": [None if k == 7 else f"{words[k]} and {words[k // 2]}" for k in drawn],
        "label": pa.array([words[k] for k in drawn]).dictionary_encode(),
        "labels": pa.array(lists, pa.list_(pa.string())),
        "numbers": pa.array([[float(k)] * (k % 3) for k in drawn], pa.list_(pa.float64())),
        "image": [{"bytes": rng.bytes(100), "path": f"{k}.png"} for k in drawn],
        "when": [datetime.datetime(2020, 1, 1) + datetime.timedelta(days=int(k)) for k in drawn],
        "a.b": pa.array(drawn),
        "true": [bool(k % 2) for k in drawn],
        "empty": pa.nulls(count),
    }
    return pa.table(columns)


DELTAS = {
    "text": "DELTA_BYTE_ARRAY",
    "labels.list.element": "DELTA_BYTE_ARRAY",
    "a.b": "DELTA_BINARY_PACKED",
}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"version": "1.0", "compression": "gzip"},
        {"data_page_version": "2.0", "compression": "zstd", "row_group_size": 700},
        {"use_dictionary": False, "data_page_size": 1000, "compression": "none"},
        {"dictionary_pagesize_limit": 500, "data_page_size": 1000},
        {"use_dictionary": False, "column_encoding": DELTAS, "data_page_version": "2.0"},
        {"use_byte_stream_split": ["numbers.list.element"], "use_dictionary": False, "compression": "lz4"},
        {"write_page_index": True, "write_page_checksum": True, "compression": "brotli"},
        {"store_schema": False},
    ],
)
def test_rows_are_those_that_pyarrow_reads_at_once(tmp_path, options):
    path = str(tmp_path / "a.parquet")
    pq.write_table(some_table(), path, **options)
    names = parquet.column_names(path)
    assert names == some_table().column_names
    assert list(parquet.records(path, names)) == pq.read_table(path).to_pylist()
    assert list(parquet.records(path, ["labels"])) == pq.read_table(path, columns=["labels"]).to_pylist()


def test_a_damaged_file_is_an_error_in_any_case(tmp_path):
    path, rng = tmp_path / "a.parquet", np.random.default_rng(0)
    pq.write_table(some_table().slice(0, 50).drop_columns(["image"]), path, compression="zstd")
    content = np.frombuffer(path.read_bytes(), np.uint8)
    failed = 0
    for _ in range(300):
        damaged = content.copy()
        damaged[rng.integers(0, len(content), 3)] = rng.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        try:
            columns = Columns(input="text", target=("label", "labels"))
            list(read_manifest(str(path), columns, TEXT, tmp_path))
        except (DataError, OSError):  # the second is worded by whoever opens manifests
            failed += 1
    assert failed > 50
