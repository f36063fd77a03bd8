"""Read COCO instance annotations: one JSON document with images, annotations and categories.

https://cocodataset.org/#format-data. `bbox` is x, y, width and height in pixels; a box with `iscrowd` covers
a group of objects.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from transfer_core.data.bad_input import escaped, printable
from transfer_core.data.box_files import check_any, entries, first_existing, part_in, read_annotations
from transfer_core.data.boxes import Box, BoxLabel
from transfer_core.data.example import PART_NAMES, Example, Part
from transfer_core.data.labels import number
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.limits import excess

# Documents of at most this size are read again with Python's parser, which accepts NaN, to name the box.
_READ_AGAIN = 64 * 10**6
_BEGINNING = 1 << 16
_KEYS = (b'"images"', b'"annotations"', b'"categories"', b'"file_name"', b'"image_id"', b'"bbox"')


class _Image(msgspec.Struct):
    id: Any = None
    file_name: Any = None
    width: Any = None
    height: Any = None


class _Annotation(msgspec.Struct):
    id: Any = None
    image_id: Any = None
    category_id: Any = None
    bbox: Any = None
    iscrowd: Any = 0
    area: Any = None


class _Category(msgspec.Struct):
    id: Any = None
    name: Any = None


class _Document(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def is_coco(path: str) -> bool:
    """Whether a JSON file begins like a COCO document, or has the name of one."""
    if not path.lower().endswith(".json"):
        return False
    if os.path.basename(path).startswith(("instances", "_annotations.coco")):
        return True
    try:
        with open(path, "rb") as file:
            beginning = file.read(_BEGINNING)
    except OSError:
        return False
    return sum(key in beginning for key in _KEYS) >= 2


def coco_files(folder: str) -> list[str]:
    """The COCO documents of a data set: in `annotations/`, beside the images, or in a folder per part."""
    for places in ([os.path.join(folder, "annotations")], [folder], _part_folders(folder)):
        files = [os.path.join(place, name) for place in places for name in entries(place)]
        found = [file for file in files if is_coco(file)]
        instances = [file for file in found if os.path.basename(file).startswith("instances")]
        if found:
            return instances or found
    return []


def read_coco(root: str, files: Sequence[str]) -> list[Example]:
    """Read COCO documents; each is a split part if there are several.

    Parameters
    ----------
    root
        Folder of the data set, which no path leaves.
    files
        Documents within it.

    Raises
    ------
    DataError
        A document is not COCO JSON, or one of several has no split part in its name.
    """
    examples = _read(root, files[0], None) if len(files) == 1 else _read_parts(root, files)
    check_any(examples, files[0], "images, annotations and categories")
    return examples


def _read_parts(root: str, files: Sequence[str]) -> list[Example]:
    examples: list[Example] = []
    parts: dict[Part, str] = {}
    for file in files:
        part = part_in(os.path.basename(file)) or part_in(os.path.basename(os.path.dirname(file)))
        if part is None or part in parts:
            named = f"names {part} a second time" if part else "names none of train, valid and test"
            raise DataError(
                f"{printable(root)} has several COCO files, but the name of {printable(file)} {named}. "
                "Fix: data: { train: …, valid: …, test: … } with a file each",
                escaped(file),
            )
        parts[part] = file
        examples += _read(root, file, part)
    return examples


def _read(root: str, path: str, part: Part | None) -> list[Example]:
    document = _decode(path)
    shown = printable(path)
    if problem := excess(
        "max_rows", len(document.annotations), f"its {len(document.annotations)} annotations"
    ):
        raise DataError(f"{shown}: {problem}", escaped(path))
    names = {_key(each.id): each.name for each in document.categories if isinstance(each.name, str)}
    boxes: dict[Any, list[Box]] = {}
    problems: dict[Any, list[str]] = {}
    for position, annotation in enumerate(document.annotations):
        where = f"{shown} annotation {position if annotation.id is None else printable(str(annotation.id))}"
        owner = _key(annotation.image_id)
        found = _box(annotation, names, where)
        if isinstance(found, Box):
            boxes.setdefault(owner, []).append(found)
        else:
            problems.setdefault(owner, []).append(f"{where}: {found}")
    folders = _image_folders(root, path)
    ids, listed = (Counter(values) for values in _identities(document.images))
    examples = []
    for position, image in enumerate(document.images):
        where = f"{shown} image {position if image.id is None else printable(str(image.id))}"
        key = _key(image.id)
        label = BoxLabel(tuple(boxes.get(key, ())), False, _stated_size(image), tuple(problems.get(key, ())))
        file = first_existing(root, folders, image.file_name) if isinstance(image.file_name, str) else None
        problem = _image_problem(image, file, ids[key] > 1, listed[str(image.file_name)] > 1, root)
        name = f"{where} ({file})" if file else where
        examples.append(Example(None if problem else file, label, part, name, problem=problem))
    known = set(ids)
    for owner, orphans in _without_image(boxes, problems, known):
        for where in orphans:
            reason = f"there is no image {printable(str(owner))}"
            examples.append(Example(None, BoxLabel(), part, where, problem=reason))
    return examples


def _identities(images: Sequence[_Image]) -> tuple[list[Any], list[str]]:
    return [_key(image.id) for image in images], [str(image.file_name) for image in images]


def _without_image(
    boxes: dict[Any, list[Box]], problems: dict[Any, list[str]], known: set[Any]
) -> Iterator[tuple[Any, list[str]]]:
    """The annotations of each image that the document does not list."""
    for owner, own in boxes.items():
        if owner not in known:
            yield owner, [box.where for box in own]
    for owner, messages in problems.items():
        if owner not in known:
            yield owner, [message.partition(": ")[0] for message in messages]


def _decode(path: str) -> _Document:
    content = read_annotations(path)
    try:
        return msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"), type=_Document)
    except msgspec.ValidationError as error:
        raise _not_coco(path, str(error)) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        if len(content) > _READ_AGAIN:
            raise DataError(f"{printable(path)} is not valid JSON: {error}", escaped(path)) from error
    try:
        return msgspec.convert(json.loads(content), _Document)
    except msgspec.ValidationError as error:
        raise _not_coco(path, str(error)) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{printable(path)} is not valid JSON: {error}", escaped(path)) from error


def _not_coco(path: str, reason: str) -> DataError:
    return DataError(
        f"{printable(path)} is not a COCO document: {reason}; expected an object with lists of images, "
        "annotations and categories",
        escaped(path),
    )


def _key(value: Any) -> Any:
    """An id as a key: 7 and 7.0 alike; unhashable ones as text."""
    return value if isinstance(value, int | float | str) or value is None else repr(value)


def _box(annotation: _Annotation, names: dict[Any, str], where: str) -> Box | str:
    """The box of an annotation, or the reason that it has none."""
    label = names.get(_key(annotation.category_id))
    if label is None:
        return f"the category {printable(str(annotation.category_id))} has no name"
    if not isinstance(annotation.bbox, list) or len(annotation.bbox) != 4:
        return "bbox is not a list of four numbers"
    values = [None if isinstance(value, str) else number(value) for value in annotation.bbox]
    x, y, width, height = values
    if x is None or y is None or width is None or height is None:
        return "bbox is not a list of four numbers"
    area = number(annotation.area) if not isinstance(annotation.area, str) else None
    usable = area if area is not None and 0 <= area < 1e14 else None
    crowd = annotation.iscrowd in (1, True)
    return Box(label, (x, y, x + width, y + height), where, crowd, usable)


def _stated_size(image: _Image) -> tuple[float, float] | None:
    width, height = number(image.width), number(image.height)
    return (width, height) if width and height and width > 0 and height > 0 else None


def _image_problem(
    image: _Image, file: str | None, id_twice: bool, file_twice: bool, root: str
) -> str | None:
    if not isinstance(image.file_name, str) or not image.file_name:
        return "it has no file_name"
    if file is None:
        return f"its file_name {printable(image.file_name)} leads out of {printable(root)}"
    if id_twice:
        return f"the id {printable(str(image.id))} belongs to several images"
    return "the file is listed several times" if file_twice else None


def _image_folders(root: str, path: str) -> list[str]:
    """Folders in which the images of a document may lie, the likeliest first."""
    own = os.path.dirname(path)
    stem = os.path.splitext(os.path.basename(path))[0].rpartition("_")[2]
    words = [stem, *(word for word in PART_NAMES if part_in(stem) == PART_NAMES[word])]
    images = os.path.join(root, "images")
    folders = [os.path.join(own, "images"), images]
    folders += [os.path.join(base, word) for word in words for base in (images, root)]
    folders += [own, root] if os.path.basename(own) != "annotations" else [root, own]
    return [folder for folder in dict.fromkeys(folders) if os.path.isdir(folder)] or [own]


def _part_folders(folder: str) -> list[str]:
    return [os.path.join(folder, name) for name in entries(folder) if name.lower() in PART_NAMES]
