"""Files of data sets with boxes: bounded reading, and paths that stay within the data set's folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from transfer_core.data.bad_input import Unreadable, escaped, explain, open_input, printable
from transfer_core.data.example import PART_NAMES, Part
from transfer_core.data.formats import has_image_extension
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.limits import excess, limit

# Bytes of one label file of YOLO or Pascal VOC: 10,000 boxes with polygons fit.
LARGEST_LABEL_FILE = 16 * 10**6


def read_label_file(path: str) -> bytes:
    """Read a small file; raise `Unreadable` if it is missing or above `LARGEST_LABEL_FILE`."""
    with open_input(path) as file:
        content = file.read(LARGEST_LABEL_FILE + 1)
    if len(content) > LARGEST_LABEL_FILE:
        raise Unreadable(f"it is larger than {LARGEST_LABEL_FILE} bytes")
    return content


def read_annotations(path: str) -> bytes:
    """Read a large file, up to `max_data_bytes`; raise `DataError`."""
    try:
        with open_input(path) as file:
            content = file.read(limit("max_data_bytes") + 1)
    except Unreadable as reason:
        raise DataError(f"{printable(path)}: {reason}", escaped(path)) from None
    except OSError as error:
        raise DataError(f"{printable(path)} can't be read: {explain(error)}", escaped(path)) from error
    if problem := excess("max_data_bytes", len(content), "its bytes"):
        raise DataError(f"{printable(path)}: {problem}", escaped(path))
    return content


def within(root: str, folder: str, name: str) -> str | None:
    """Join `folder` and `name`; None if the path leaves `root`.

    >>> within("data", "data/labels", "../images/a.jpg")
    'data/images/a.jpg'
    >>> within("data", "data/labels", "../../secret.jpg") is None
    True
    """
    if os.path.isabs(name) or "\0" in name:
        return None
    path = os.path.normpath(os.path.join(folder, name.replace("\\", "/")))
    base = os.path.normpath(root)
    inside = os.path.relpath(path, base)
    return None if inside == ".." or inside.startswith("../") else path


def images_in(folder: str) -> list[str]:
    """Paths of the images in `folder`, sorted; empty if there is no such folder."""
    names = (name for name in entries(folder) if has_image_extension(name) and not name.startswith("."))
    return [os.path.join(folder, name) for name in names]


def entries(folder: str) -> list[str]:
    """Names in `folder`, sorted; empty if it is missing or can't be listed."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def part_in(name: str) -> Part | None:
    """The split part that a file or folder name contains as a word: `instances_train2017.json`.

    >>> part_in("instances_val2017.json"), part_in("training"), part_in("trainer.json")
    ('valid', 'train', None)
    """
    letters = "".join(c if c.isalpha() else " " for c in name.lower())
    return next((PART_NAMES[word] for word in letters.split() if word in PART_NAMES), None)


def first_existing(root: str, folders: Iterable[str], name: str) -> str | None:
    """The first existing file `name` in `folders` that lies within `root`; else its path in the first folder;
    None if all of these leave `root`."""
    paths = [path for folder in folders if (path := within(root, folder, name))]
    return next((path for path in paths if os.path.exists(path)), paths[0] if paths else None)


def check_any(found: Sequence[object], path: str, expected: str) -> None:
    """Raise `DataError` if a data set has no images."""
    if not found:
        raise DataError(f"{printable(path)} has no images; expected {expected}", escaped(path))
