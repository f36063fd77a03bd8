"""Read Parquet files in batches of bounded memory, independent of the compression ratio."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from transfer_core.data.bad_input import printable
from transfer_core.data.parquet_pages import Damaged, Page, pages
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.limits import excess

_MOST_ROWS = 256
# Maximum bytes of a batch, unless a single row is larger.
_BATCH_BYTES = 128 * 10**6
# Pages are usually a megabyte: this many exceed every limit on bytes.
_MOST_PAGES = 10**6
# Encodings in parquet.thrift: PLAIN, PLAIN_DICTIONARY, RLE_DICTIONARY.
_WITH_DICTIONARY = {0, 2, 8}
_NUMBERS = ("boolean", "integer", "floating", "decimal", "date", "time", "timestamp", "null")
_TEXTS = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view")


def column_names(path: str) -> list[str]:
    """Read the column names from the footer; raises an error of pyarrow for a damaged file."""
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        return list(file.schema_arrow.names)


def records(path: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the cells of these columns, row by row.

    Raises
    ------
    DataError
        The file exceeds a limit or is damaged, or a column has an unsupported type.
    """
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        _check_types(file.schema_arrow, columns, path)
        rows = file.metadata.num_rows
        _check(path, "max_rows", rows, f"its {rows} rows")
        leaves = _leaves(file, columns, path)
    # Large lists of texts are decoded to dictionary indices, which bounds their memory.
    numbers = [leaf.path for leaf in leaves if leaf.has_dictionary and leaf.most_bytes > _BATCH_BYTES]
    with ParquetFile(path, read_dictionary=numbers) as file:
        decoded = 0
        # Arrow requires one dictionary per batch, and dictionaries differ between row groups.
        for group in range(file.num_row_groups):
            options = {"row_groups": [group], "columns": list(columns)}
            for batch in file.iter_batches(batch_size=_rows_at_a_time(leaves), **options):
                decoded += sum(_decoded_bytes(column, path) for column in batch.columns)
                _check(path, "max_data_bytes", decoded, f"its first {decoded} bytes of values")
                yield from batch.to_pylist()


@dataclass
class _Leaf:
    """A leaf column: whether it has lists of texts (`repeated`), its `largest` page in bytes, its number of
    `values`, and the encodings of its pages."""

    number: int
    path: str
    repeated: bool
    largest: int = 0
    values: int = 0
    encodings: set[int] = field(default_factory=set)

    @property
    def has_dictionary(self) -> bool:
        """Whether Arrow can decode its lists of texts to dictionary indices."""
        return self.repeated and self.encodings <= _WITH_DICTIONARY

    @property
    def most_bytes(self) -> int:
        """Upper bound of the decoded bytes: each value may be as long as the largest page."""
        return self.values * self.largest

    def add(self, page: Page) -> None:
        self.largest = max(self.largest, page.size)
        self.values += page.values
        if page.encoding is not None:
            self.encodings.add(page.encoding)


def _leaves(file: Any, columns: Sequence[str], path: str) -> list[_Leaf]:
    """The leaves of these columns; raises `DataError` if their pages exceed the limits."""
    wanted = set(columns)
    leaves = [
        _Leaf(number, column.path, column.physical_type == "BYTE_ARRAY" and column.max_repetition_level > 0)
        for number, column in enumerate(map(file.schema.column, range(len(file.schema))))
        if not wanted.isdisjoint(accumulate(column.path.split("."), "{}.{}".format))
    ]
    size = values = 0
    try:
        for number, (leaf, page) in enumerate(_pages(file.metadata, leaves, path)):
            leaf.add(page)
            size += page.size
            values += page.values
            _check(path, "max_data_bytes", size, f"its first {size} decompressed bytes")
            _check(path, "max_cells", values, f"its first {values} cells")
            if number == _MOST_PAGES:
                raise Damaged(f"it has more than {_MOST_PAGES} pages")
    except Damaged as error:
        raise DataError(f"{printable(path)} is not a valid Parquet file: {error}", path) from error
    for leaf in leaves:
        if leaf.repeated and not leaf.has_dictionary:
            most = leaf.most_bytes
            _check(path, "max_data_bytes", most, f"up to {most} bytes of delta-encoded lists")
    return leaves


def _pages(metadata: Any, leaves: Sequence[_Leaf], path: str) -> Iterator[tuple[_Leaf, Page]]:
    with open(path, "rb") as file:
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            for leaf in leaves:
                chunk = group.column(leaf.number)
                # The same rule as in Arrow.
                dictionary, start = chunk.dictionary_page_offset or 0, chunk.data_page_offset
                start = dictionary if 0 < dictionary < start else start
                found = 0
                for page in pages(file, start, chunk.total_compressed_size):
                    found += page.values
                    yield leaf, page
                if found < chunk.num_values:
                    raise Damaged("a column has fewer values than its footer says")


def _rows_at_a_time(leaves: Sequence[_Leaf]) -> int:
    """Batch size for which a batch is within `_BATCH_BYTES`: a value is at most as long as its page."""
    longest = sum(leaf.largest for leaf in leaves)
    return max(1, min(_MOST_ROWS, _BATCH_BYTES // max(1, longest)))


def _decoded_bytes(column: Any, path: str) -> int:
    """Decoded bytes of a column of a batch, with dictionary entries counted per occurrence."""
    from pyarrow import compute, types

    size: int = column.nbytes
    if types.is_list(column.type) or types.is_large_list(column.type):
        longest = compute.max(compute.list_value_length(column)).as_py() or 0
        _check(path, "max_columns", longest, f"the {longest} values of a cell")
        column = column.flatten()
    if types.is_dictionary(column.type) and not types.is_primitive(column.type.value_type):
        lengths = compute.binary_length(column.dictionary)
        size += compute.sum(lengths.take(column.indices)).as_py() or 0
    return size


def _check(path: str, name: str, found: int, described: str) -> None:
    if problem := excess(name, found, described):
        raise DataError(f"{printable(path)}: {problem}", path)


def _check_types(schema: Any, columns: Sequence[str], path: str) -> None:
    """Raise `DataError` unless the decoded size of every column is bounded by its pages, apart from lists."""
    for name in columns:
        kind = schema.field(name).type
        if not _is_plain(kind, levels=2):
            raise DataError(
                f"{printable(path)}: the column {printable(name)} has the type {printable(str(kind))}, "
                "expected text, bytes, numbers, times, lists of these, or images as {bytes, path}",
                path,
            )


def _is_plain(kind: Any, levels: int) -> bool:
    """Whether values are scalars, or lists or structs of them."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return _is_plain(kind.value_type, levels)
    if types.is_list(kind) or types.is_large_list(kind):
        return levels > 1 and _is_plain(kind.value_type, levels - 1)
    if types.is_struct(kind):
        return levels > 1 and all(_is_plain(inner.type, levels - 1) for inner in kind)
    return any(getattr(types, f"is_{name}")(kind) for name in (*_NUMBERS, *_TEXTS))
