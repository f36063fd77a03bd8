"""Read a recipe's `data` source (folder, manifest, stream or splits) into examples."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from transfer_core.data.bad_input import escaped, printable
from transfer_core.data.box_rows import box_columns, expected_columns, one_per_image, with_box_lists
from transfer_core.data.box_source import header, layout, no_boxes, read_boxes
from transfer_core.data.boxes import BoxLabel
from transfer_core.data.example import Example, Found, Labels, Part
from transfer_core.data.folder import holds_images_alone, read_folder, read_images
from transfer_core.data.formats import has_image_extension
from transfer_core.data.manifest import read_manifest
from transfer_core.data.modality import Modality
from transfer_core.data.pair_source import (
    is_parallel_file,
    pair_columns,
    read_parallel_file,
    read_parallel_folder,
)
from transfer_core.data.pairs import TEXT_TASKS
from transfer_core.data.stream import Row, read_stream
from transfer_core.data.table import with_columns
from transfer_core.recipe.schema import Columns, Languages, PathSource, Source, Splits, StreamSource
from transfer_core.runtime.errors import DataError, did_you_mean
from transfer_core.runtime.limits import excess
from transfer_core.runtime.progress import Progress

# The name of the task whose labels are boxes.
DETECTION = "detection"
# Rows after which their number is compared with the limit.
_COUNTED_EVERY = 100
_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
_DOCUMENTS = (".pdf", ".doc", ".docx", ".odt", ".rtf")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


@dataclass(frozen=True)
class SourceContext:
    """Context of reading a source: kind of input, column names, open streams, temporary directory, progress,
    the column of groups that a split keeps together, the name of the task, `auto` where the recipe has none,
    its languages, whether labels are needed, and whether the column of subgroups may be missing."""

    modality: Modality
    columns: Columns
    streams: Mapping[str, Iterable[Row]]
    spool: Path
    progress: Progress
    group: str | None = None
    task: str = "auto"
    languages: Languages = Languages()
    labels: Labels = "required"
    lacks_subgroups: bool = False

    @property
    def is_of_pairs(self) -> bool:
        """Whether labels are texts."""
        return self.task in TEXT_TASKS

    @property
    def may_have_boxes(self) -> bool:
        """Whether data with boxes are read as such."""
        return self.modality.name == "image" and self.task in ("auto", DETECTION)


def read_source(source: Source, context: SourceContext) -> Found:
    """Read all examples of `source`, in its order.

    Raises
    ------
    DataError
        The path doesn't exist or has an unsupported type, the source is empty, or an example of a named part
        (`data: {train: …}`) is marked as another part.
    """
    if not isinstance(source, Splits):
        return _read_one(source, context)
    named: dict[Part, PathSource | StreamSource | None]
    named = {"train": source.train, "valid": source.valid, "test": source.test}
    given = {part: one for part, one in named.items() if one is not None}
    if len(given) == 1:
        return _read_one(source.train, context)
    parts = {part: _read_one(one, context) for part, one in given.items()}
    return Found(
        [_placed(example, part) for part, found in parts.items() for example in found.examples],
        parts["train"].empty,
    )


def _placed(example: Example, part: Part) -> Example:
    if example.split in (None, part):
        return replace(example, split=part)
    raise DataError(
        f"data.{part}: {printable(example.name)} belongs to the split {example.split}; "
        f"name a source that holds {part} alone, or give the whole as data: and let its own split count"
    )


def _read_one(source: PathSource | StreamSource, context: SourceContext) -> Found:
    if isinstance(source, StreamSource):
        return _read_rows(source, context)
    path = os.path.expanduser(source.path)
    if not path:
        raise DataError("the path of the data is empty, expected a folder or a manifest")
    if re.match(r"[a-z][a-z0-9+.-]+://", path, re.IGNORECASE):
        raise DataError(f"{printable(path)} is a URL, expected a path. Fix: download it first")
    if not os.path.exists(path):
        raise DataError(f"{printable(source.path)} does not exist{_nearest_sibling(path)}", escaped(path))
    if os.path.isdir(path):
        return _read_folder(path, context)
    if kind := _known_misfit(path, context):
        raise DataError(f"{printable(path)} is {kind}", escaped(path))
    try:
        _check_size(path)
        examples = _read_file(path, context)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{printable(path)} can't be read: {reason}", escaped(path)) from error
    if not examples:
        raise DataError(f"{printable(path)} has no rows", escaped(path))
    return Found(examples)


def _read_folder(path: str, context: SourceContext) -> Found:
    if context.is_of_pairs:
        pairs = read_parallel_folder(path, context.columns, context.languages, context.progress)
        return Found(pairs)
    if context.modality.name != "image":
        raise DataError(
            f"{printable(path)} is a folder, but this backbone takes {context.modality.many}: "
            "name a manifest (.csv, .jsonl, .parquet)",
            escaped(path),
        )
    subgroup = None if context.lacks_subgroups else context.columns.group
    for word, name in (("split", context.group), ("columns", subgroup)):
        if name:
            raise DataError(
                f'{printable(path)} is a folder, which has no column "{printable(name)}" for {word} '
                "group:. Fix: name a manifest with the columns path, label and that one",
                escaped(path),
            )
    if not context.may_have_boxes:
        if kind := layout(path):
            raise DataError(f"{printable(path)} {_of_boxes(kind)}", escaped(path))
    elif boxes := read_boxes(path, context.progress):
        return Found(boxes)
    elif context.task == DETECTION:
        raise no_boxes(path)
    bare = context.labels == "none" or (context.labels == "optional" and holds_images_alone(path))
    found = read_images(path) if bare else read_folder(path)
    _check_count(len(found.examples), 0, printable(path))
    return found


def _read_file(path: str, context: SourceContext) -> list[Example]:
    """Read a manifest, or a file with boxes."""
    if context.may_have_boxes and (boxes := read_boxes(path, context.progress)):
        return boxes
    columns = context.columns
    if context.is_of_pairs:
        if is_parallel_file(path):
            return read_parallel_file(path, columns, context.languages, context.progress)
        columns = pair_columns(path, header(path), columns)
        pairs = read_manifest(path, columns, context.modality, context.spool, context.group)
        return _collect(pairs, context.progress, printable(path))
    if context.may_have_boxes and (of_boxes := box_columns(header(path), columns)):
        columns = of_boxes
    elif context.task == DETECTION:
        columns = expected_columns(columns)
    how = context.modality, context.spool, context.group, context.labels, context.lacks_subgroups
    rows = read_manifest(path, columns, *how)
    if columns is context.columns:
        return _collect(rows, context.progress, printable(path))
    if isinstance(columns.target, str):
        return _collect(with_box_lists(rows), context.progress, printable(path))
    return one_per_image(_checking(rows, context.progress), columns.target)


def _read_rows(source: StreamSource, context: SourceContext) -> Found:
    if source.stream not in context.streams:
        raise DataError(f'no stream is called "{source.stream}"')
    given = context.streams[source.stream]
    how = context.modality, context.spool, context.group, context.labels, context.columns.group
    rows = read_stream(given, *how)
    chosen = (with_columns(row, context.columns.input) for row in rows)
    examples = _collect(chosen, context.progress, "the data")
    if not examples:
        raise DataError(f"the data has no rows, expected {{input:, label:}} for each {context.modality.one}")
    if isinstance(examples[0].label, BoxLabel) and not context.may_have_boxes:
        raise DataError("the rows have boxes, which need task: :detection and a backbone for images")
    return Found(examples)


def _checking(examples: Iterable[Example], progress: Progress) -> Iterator[Example]:
    """The same examples, with a check for cancellation at each."""
    for example in examples:
        progress.check()
        yield example


def _collect(examples: Iterable[Example], progress: Progress, where: str) -> list[Example]:
    collected: list[Example] = []
    cells = 0
    for example in _checking(examples, progress):
        collected.append(example)
        cells += len(example.columns)
        if not len(collected) % _COUNTED_EVERY:
            _check_count(len(collected), cells, where)
    _check_count(len(collected), cells, where)
    return collected


def _check_count(rows: int, cells: int, where: str) -> None:
    problem = excess("max_rows", rows, f"its {rows} rows") or excess("max_cells", cells, f"its {cells} cells")
    if problem:
        raise DataError(f"{where}: {problem}")


def _check_size(path: str) -> None:
    size = os.path.getsize(path)
    if problem := excess("max_data_bytes", size, f"its {size} bytes"):
        raise DataError(f"{printable(path)}: {problem}", escaped(path))


def _nearest_sibling(path: str) -> str:
    """A clause that names the nearest file or folder beside the first missing part of `path`."""
    missing = os.path.abspath(path)
    while not os.path.isdir(os.path.dirname(missing)):
        missing = os.path.dirname(missing)
    folder = os.path.dirname(missing)
    siblings = os.listdir(folder) if os.access(folder, os.R_OK) else []
    return did_you_mean(os.path.basename(missing), [printable(name) for name in siblings])


def _known_misfit(path: str, context: SourceContext) -> str | None:
    """The kind of an unsupported file, with the remedy."""
    if has_image_extension(path):
        return "one image, expected a folder of class folders or a manifest"
    name = path.lower()
    if name.endswith(_ARCHIVES):
        return "an archive. Fix: unpack it and name the folder"
    if name.endswith(_SPREADSHEETS):
        return "a spreadsheet. Fix: save it as CSV (UTF-8)"
    if name.endswith(_DOCUMENTS):
        names = "source and target" if context.is_of_pairs else "text and label"
        return f"a document. Fix: write its texts into a CSV with the columns {names}"
    if kind := layout(path):
        return None if context.may_have_boxes else f"the file of a {kind} data set, for task: :detection"
    if name.endswith(".json"):
        return "one JSON document. Fix: JSON Lines, an object a line (.jsonl); for photos a folder per label"
    return None


def _of_boxes(kind: str) -> str:
    return (
        f"has the {kind} layout of object detection. Fix: task: :detection; or for classification, move each "
        "label's photos into a folder of its name"
    )
