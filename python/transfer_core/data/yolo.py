"""Read YOLO data sets: `data.yaml`, images, and a text file of labels per image.

https://docs.ultralytics.com/datasets/detect. A line is `class x y width height`, the centre and the sides as
shares of the image; with more numbers it is the outline of an object, which becomes its enclosing box.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from transfer_core.data.bad_input import Unreadable, counted, escaped, listed, printable
from transfer_core.data.box_files import check_any, entries, images_in, read_label_file, within
from transfer_core.data.boxes import Box, BoxLabel
from transfer_core.data.example import PART_NAMES, Example, Part
from transfer_core.data.flat_yaml import Value, parse_yaml
from transfer_core.data.labels import number
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress

YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_NAMES_FILES = ("classes.txt", "obj.names", "labels/classes.txt", "predefined_classes.txt")
_PARTS: dict[str, Part] = {"train": "train", "val": "valid", "valid": "valid", "test": "test"}
_EXPECTED = "data.yaml with names and train, or the folders images and labels"


def is_yolo(folder: str) -> bool:
    """Whether a folder has the layout of YOLO."""
    if any(os.path.isfile(os.path.join(folder, name)) for name in YAML_NAMES):
        return True
    parts = [folder, *(os.path.join(folder, name) for name in entries(folder) if name.lower() in PART_NAMES)]
    return any(_has_texts(os.path.join(part, "labels")) for part in parts)


def read_yolo(path: str, progress: Progress) -> list[Example]:
    """Read a YOLO data set.

    Parameters
    ----------
    path
        Its folder, or its `data.yaml`.
    progress
        Receives a warning about images without a label file, which are taken as images without objects.

    Raises
    ------
    DataError
        Class names or images are missing, or a path leads out of the folder.
    """
    folder, yaml = _open(path)
    names = _class_names(folder, yaml, path)
    places = _places(folder, yaml, path)
    check_any([image for images in places.values() for image in images], path, _EXPECTED)
    examples, unlabelled = [], []
    for part, images in places.items():
        for image in images:
            text = _label_file(folder, image)
            if not os.path.exists(text):
                unlabelled.append(image)
            examples.append(_example(image, text, names, part))
    if unlabelled:
        if len(unlabelled) == len(examples):
            text = printable(_label_file(folder, unlabelled[0]))
            raise DataError(
                f"{printable(path)}: no image has a label file, for example {text}", escaped(path)
            )
        count = counted(len(unlabelled), "image has", "images have")
        progress.warning(
            f"{count} no label file and so no objects, for example {printable(unlabelled[0])}; "
            "an empty file means the same without this warning"
        )
    return examples


def _open(path: str) -> tuple[str, Mapping[str, Value]]:
    """The folder, and the content of its YAML file."""
    if os.path.isdir(path):
        file = next(
            (os.path.join(path, n) for n in YAML_NAMES if os.path.isfile(os.path.join(path, n))), None
        )
        if file is None:
            return path, {}
        path = file
    try:
        content = read_label_file(path).decode()
        return os.path.dirname(path) or ".", parse_yaml(content)
    except (Unreadable, ValueError) as reason:
        raise DataError(f"{printable(path)}: {reason}", escaped(path)) from None


def _class_names(folder: str, yaml: Mapping[str, Value], path: str) -> dict[int, str]:
    if "kpt_shape" in yaml:
        raise DataError(f"{printable(path)} is for keypoints (kpt_shape), expected boxes", escaped(path))
    names = yaml.get("names")
    if names is None:
        texts = (os.path.join(folder, name) for name in _NAMES_FILES)
        file = next((text for text in texts if os.path.isfile(text)), None)
        if file is None:
            raise DataError(
                f"{printable(path)} has no names of classes. Fix: names: [first, second, …] in data.yaml, or "
                "classes.txt with a name per line",
                escaped(path),
            )
        names = read_label_file(file).decode("utf-8", "replace").splitlines()
    if isinstance(names, Mapping):
        known = {int(key): str(name) for key, name in names.items() if key.isdecimal() and len(key) < 7}
        if len(known) != len(names):
            raise DataError(f"{printable(path)}: names has keys that are not numbers", escaped(path))
        return known
    if isinstance(names, str):
        raise DataError(f"{printable(path)}: names is one text, expected a list", escaped(path))
    return {number: str(name) for number, name in enumerate(names) if str(name).strip()}


def _places(folder: str, yaml: Mapping[str, Value], path: str) -> dict[Part | None, list[str]]:
    """The images of each split part."""
    found: dict[Part | None, list[str]] = {}
    base = _inside(folder, folder, yaml.get("path", "."), path)
    for word, part in _PARTS.items():
        value = yaml.get(word)
        given = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        for one in filter(None, map(str, given)):
            found.setdefault(part, []).extend(_listed(folder, _inside(folder, base, one, path)))
    if found:
        return {part: list(dict.fromkeys(images)) for part, images in found.items()}
    for name in entries(folder):
        if name.lower() in PART_NAMES:
            images = _listed(folder, os.path.join(folder, name))
            if images:
                found.setdefault(PART_NAMES[name.lower()], []).extend(images)
    return found or _parts_within(os.path.join(folder, "images"))


def _parts_within(folder: str) -> dict[Part | None, list[str]]:
    parts = {name: PART_NAMES[name.lower()] for name in entries(folder) if name.lower() in PART_NAMES}
    if not parts:
        return {None: images_in(folder)}
    return {part: images_in(os.path.join(folder, name)) for name, part in parts.items()}


def _inside(root: str, base: str, name: Value, path: str) -> str:
    """A path of `data.yaml` within its folder; a leading `../` is dropped if it leads out of the folder."""
    text = str(name)
    found = within(root, base, text)
    if found is None or not os.path.exists(found):
        beside = within(root, root, text.removeprefix("../"))
        if beside is not None and os.path.exists(beside):
            return beside
    if found is None:
        raise DataError(
            f"{printable(path)}: {printable(text)} leads out of {printable(root)}. Fix: put data.yaml "
            "beside the images, with paths relative to it",
            escaped(path),
        )
    if not os.path.exists(found):
        raise DataError(f"{printable(path)}: {printable(found)} does not exist", escaped(path))
    return found


def _listed(root: str, place: str) -> list[str]:
    """The images of a folder (or of its `images`), or those that a text file lists."""
    if os.path.isdir(place):
        return images_in(os.path.join(place, "images")) or images_in(place)
    try:
        lines = read_label_file(place).decode("utf-8", "replace").splitlines()
    except Unreadable as reason:
        raise DataError(f"{printable(place)}: {reason}", escaped(place)) from None
    images = []
    for line in filter(str.strip, lines):
        image = within(root, os.path.dirname(place), line.strip()) or within(root, root, line.strip())
        if image is None:
            raise DataError(
                f"{printable(place)}: {printable(line)} leads out of {printable(root)}", escaped(place)
            )
        images.append(image)
    return images


def _label_file(root: str, image: str) -> str:
    """`labels/a.txt` for `images/a.jpg`; beside the image if no folder is called images."""
    stem = os.path.splitext(image)[0]
    inside = os.path.relpath(stem, root)
    before, separator, after = f"/{inside}".rpartition("/images/")
    swapped = os.path.join(root, f"{before}/labels/{after}".lstrip("/")) if separator else stem
    return f"{swapped}.txt"


def _example(image: str, text: str, names: Mapping[int, str], part: Part | None) -> Example:
    try:
        lines = read_label_file(text).decode("utf-8", "replace").splitlines() if os.path.exists(text) else []
    except Unreadable as reason:
        return Example(image, BoxLabel(), part, image, problem=f"{printable(text)}: {reason}")
    boxes, problems = [], []
    for place, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{printable(text)} line {place}"
        found = _box(line.split(), names, where)
        if isinstance(found, Box):
            boxes.append(found)
        else:
            problems.append(f"{where}: {found}")
    return Example(image, BoxLabel(tuple(boxes), True, None, tuple(problems)), part, image)


def _box(cells: Sequence[str], names: Mapping[int, str], where: str) -> Box | str:
    """The box of a line, or the reason that it has none."""
    values = [value for value in map(number, cells) if value is not None]
    outline = len(cells) >= 7 and len(cells) % 2 == 1
    if len(values) != len(cells) or not (len(cells) == 5 or outline):
        shown = printable(" ".join(cells[:6]))
        return f"expected class, x, y, width and height, got {shown}{' …' if len(cells) > 6 else ''}"
    kind, *shares = values
    if not kind.is_integer() or int(kind) not in names:
        some = listed([names[key] for key in sorted(names)])
        return f"the class {kind:g} has no name (names: {some})"
    if outline:
        across, down = shares[::2], shares[1::2]
        corners = min(across), min(down), max(across), max(down)
    else:
        x, y, width, height = shares
        corners = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if any(abs(value) > 2 for value in corners):
        shown = ", ".join(f"{share:g}" for share in shares[:4])
        return f"the values {shown} are not shares of the image (0 to 1)"
    return Box(names[int(kind)], corners, where)


def _has_texts(folder: str) -> bool:
    inner = [folder, *(os.path.join(folder, name) for name in entries(folder) if name.lower() in PART_NAMES)]
    return any(name.endswith(".txt") for place in inner for name in entries(place))
