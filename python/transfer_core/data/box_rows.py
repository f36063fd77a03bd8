"""Boxes in rows: CSV files with a line per box, and rows with a list of boxes per image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from transfer_core.data.bad_input import printable
from transfer_core.data.boxes import Box, BoxLabel
from transfer_core.data.example import Example
from transfer_core.data.labels import number, plain
from transfer_core.recipe.schema import Columns
from transfer_core.runtime.errors import DataError, did_you_mean
from transfer_core.runtime.limits import excess

# The key of a list of boxes in a row, and its words.
BOXES = "boxes"
_WORDS = ("label", "x", "y", "width", "height")
_SIZES = ("x", "y", "width", "height")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def box_columns(header: Sequence[str], columns: Columns) -> Columns | None:
    """The columns of a manifest with boxes, a list of them or a label and four numbers; None if it has none.

    >>> box_columns(["path", "label", "x", "y", "width", "height"], Columns()).target
    ('label', 'x', 'y', 'width', 'height')
    >>> box_columns(["path", "label"], Columns()) is None
    True
    """
    if BOXES in header and (columns.target == Columns().target and columns.target not in header):
        return replace_target(columns, BOXES)
    if isinstance(columns.target, str):
        if columns.target == BOXES:
            return columns
        four = next((names for names in (_CORNERS, _SIZES) if set(names) <= set(header)), None)
        return replace_target(columns, (columns.target, *four)) if four else None
    return None


def replace_target(columns: Columns, target: str | tuple[str, ...]) -> Columns:
    """The same columns with another target."""
    return Columns(columns.input, target, columns.split)


def expected_columns(columns: Columns) -> Columns:
    """The columns of a CSV with boxes, of a recipe for detection whose file has none of the known ones."""
    label = columns.target if isinstance(columns.target, str) else columns.target[0]
    return replace_target(columns, (label, *_SIZES))


def with_box_lists(examples: Iterable[Example]) -> Iterator[Example]:
    """Convert labels that are lists of boxes `{label, x, y, width, height}`; raises `DataError`."""
    for example in examples:
        yield replace(example, label=box_label(example.label, example.name))


def box_label(value: Any, name: str) -> BoxLabel:
    """Convert a list of boxes `{label, x, y, width, height}` of the row `name`; raises `DataError`."""
    value, shown = plain(value), printable(name)
    if not isinstance(value, list | tuple):
        raise DataError(
            f"{shown}: boxes is {type(value).__name__}, expected a list of boxes (empty for none)"
        )
    boxes, problems = [], []
    for place, one in enumerate(value, start=1):
        where = f"{shown} box {place}"
        found = _from_mapping(one, where)
        if isinstance(found, Box):
            boxes.append(found)
        else:
            problems.append(f"{where}: {found}")
    return BoxLabel(tuple(boxes), problems=tuple(problems))


def _from_mapping(value: Any, where: str) -> Box | str:
    expected = "expected {label:, x:, y:, width:, height:}"
    if not isinstance(value, Mapping):
        return f"{type(value).__name__}, {expected}"
    for word in value:
        if word not in _WORDS:
            return f'unknown word "{printable(str(word))}"{did_you_mean(str(word), _WORDS)}, {expected}'
    return _box(value.get("label"), [value.get(word) for word in _SIZES], _SIZES, where)


def _box(label: Any, cells: Sequence[Any], names: Sequence[str], where: str) -> Box | str:
    label = plain(label)
    if isinstance(label, bool) or not isinstance(label, str | int) or not str(label).strip():
        return f"the label is {'empty' if label in (None, '') else type(label).__name__}, expected a name"
    four = [number(plain(cell)) for cell in cells]
    for name, value, cell in zip(names, four, cells, strict=True):
        if value is None:
            shown = "missing" if cell in (None, "") else f'"{printable(str(cell))}", expected a number'
            return f"{name} is {shown}"
    first, second, third, fourth = (value or 0.0 for value in four)
    if names == _SIZES:
        third, fourth = first + third, second + fourth
    return Box(str(label), (first, second, third, fourth), where)


@dataclass
class _Photo:
    """The lines of one image."""

    first: Example
    boxes: list[Box] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    lines: int = 0
    is_negative: bool = False


def one_per_image(lines: Iterable[Example], target: Sequence[str]) -> list[Example]:
    """Group lines with a label and four numbers by image; an empty line is an image without objects.

    Parameters
    ----------
    lines
        An example per line, whose label has the cells of `target`.
    target
        The names of the columns of the label and of four numbers.

    Raises
    ------
    DataError
        Lines of one image differ in split or group, or a limit is exceeded.
    """
    photos: dict[Any, _Photo] = {}
    for count, line in enumerate(lines, start=1):
        photo = photos.setdefault(line.input, _Photo(line))
        photo.lines += 1
        _add(photo, line, target)
        if not count % 1000 and (problem := excess("max_rows", count, f"its {count} rows")):
            raise DataError(problem)
    return [_example(photo) for photo in photos.values()]


def _add(photo: _Photo, line: Example, target: Sequence[str]) -> None:
    where = line.name.partition(" (")[0]
    if (line.split, line.group) != (photo.first.split, photo.first.group):
        raise DataError(f"{where}: another split or group than {photo.first.name}, which is the same image")
    label, *cells = line.label
    if all(plain(cell) in (None, "") for cell in line.label):
        photo.is_negative = True
        return
    found = _box(label, cells, tuple(target[1:]), where)
    if isinstance(found, Box):
        photo.boxes.append(found)
    else:
        photo.problems.append(f"{where}: {found}")


def _example(photo: _Photo) -> Example:
    problems = photo.problems
    if photo.is_negative and photo.lines > 1:
        problems = [*problems, "one of its lines has no box, others have"]
    return replace(photo.first, label=BoxLabel(tuple(photo.boxes), problems=tuple(problems)))
