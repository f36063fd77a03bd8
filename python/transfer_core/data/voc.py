"""Read Pascal VOC annotations: one XML file per image, and lists of image names per split part.

http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html. Corners count pixels from 1 and
include the last one, so that a box becomes xmin - 1, ymin - 1, xmax, ymax.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from xml.parsers import expat

from transfer_core.data.bad_input import Unreadable, counted, escaped, printable
from transfer_core.data.box_files import check_any, entries, images_in, read_label_file, within
from transfer_core.data.boxes import Box, BoxLabel
from transfer_core.data.example import PART_NAMES, Example, Part
from transfer_core.data.labels import number
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress

_EXPECTED = "the folders Annotations (XML) and JPEGImages, or XML files beside the images"
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_DEEPEST = 20
# Elements that are read, by their path below the root.
_READ = (
    "filename",
    "size/width",
    "size/height",
    "object/name",
    *(f"object/bndbox/{side}" for side in _SIDES),
)


def is_voc(folder: str) -> bool:
    """Whether a folder has the layout of Pascal VOC."""
    return bool(_annotation_folders(folder))


def read_voc(folder: str, progress: Progress) -> list[Example]:
    """Read a Pascal VOC data set.

    Images without an annotation file are left out, with a warning through `progress`.

    Raises
    ------
    DataError
        There is no annotation.
    """
    parts = _image_sets(folder)
    examples: list[Example] = []
    lonely: list[str] = []
    for place, part in _annotation_folders(folder):
        stems = [name[:-4] for name in entries(place) if name.lower().endswith(".xml")]
        for stem in stems:
            if parts and stem not in parts:
                continue
            examples.append(_example(folder, place, stem, parts[stem] if parts else part))
        beside = images_in(place) or images_in(os.path.join(folder, "JPEGImages"))
        known = set(stems)
        lonely += [image for image in beside if os.path.splitext(os.path.basename(image))[0] not in known]
    check_any(examples, folder, _EXPECTED)
    if lonely:
        images = counted(len(lonely))
        progress.warning(f"left out {images} without an annotation file, for example {printable(lonely[0])}")
    return examples


def _annotation_folders(folder: str) -> list[tuple[str, Part | None]]:
    """Folders with XML files: `Annotations`, the folder itself, or one per part."""
    for places in (
        [("Annotations", None)],
        [("", None)],
        [(n, PART_NAMES.get(n.lower())) for n in entries(folder)],
    ):
        found = [
            (os.path.join(folder, name), part)
            for name, part in places
            if (part or name in ("", "Annotations")) and _has_annotations(os.path.join(folder, name), name)
        ]
        if found:
            return found
    return []


def _has_annotations(place: str, name: str) -> bool:
    """Whether a folder has XML files, with images beside them unless it is called Annotations."""
    has_xml = any(entry.lower().endswith(".xml") for entry in entries(place))
    return has_xml and (name == "Annotations" or bool(images_in(place)))


def _image_sets(folder: str) -> dict[str, Part]:
    """Image name to part, from `ImageSets/Main`; empty if it names no test or validation part."""
    place = os.path.join(folder, "ImageSets", "Main")
    parts: dict[str, Part] = {}
    for word in ("test", "val", "train"):
        try:
            lines = (
                read_label_file(os.path.join(place, f"{word}.txt")).decode("utf-8", "replace").splitlines()
            )
        except Unreadable:
            continue
        for cells in filter(None, map(str.split, lines)):
            parts.setdefault(cells[0], PART_NAMES[word])
    return parts if {"valid", "test"} & set(parts.values()) and "train" in parts.values() else {}


def _example(root: str, place: str, stem: str, part: Part | None) -> Example:
    path = os.path.join(place, f"{stem}.xml")
    shown = printable(path)
    try:
        fields = _Fields(read_label_file(path))
        image = _image(root, place, stem, fields.first("filename"))
    except (Unreadable, ValueError) as reason:
        return Example(None, BoxLabel(), part, path, problem=str(reason))
    boxes, problems = [], []
    for place_of, one in enumerate(fields.objects, start=1):
        where = f"{shown} object {place_of}"
        found = _box(one, where)
        if isinstance(found, Box):
            boxes.append(found)
        else:
            problems.append(f"{where}: {found}")
    width, height = number(fields.first("size/width")), number(fields.first("size/height"))
    size = (width, height) if width and height else None
    label = BoxLabel(tuple(boxes), False, size, tuple(problems))
    return Example(image, label, part, f"{path} ({image})")


def _image(root: str, place: str, stem: str, name: str) -> str:
    """The image of an annotation: the file that it names, or one of the same name as the XML file."""
    folders = [os.path.join(root, "JPEGImages"), place, os.path.join(root, "images"), root]
    for folder in folders:
        if name and within(root, folder, name) is None:
            raise ValueError(f"its filename {printable(name)} leads out of {printable(root)}")
        named = within(root, folder, name) if name else None
        if named and os.path.isfile(named):
            return named
    for folder in folders:
        for image in (
            os.path.join(folder, f"{stem}{ending}") for ending in (".jpg", ".jpeg", ".png", ".JPG")
        ):
            if os.path.isfile(image):
                return image
    return os.path.join(folders[0], name or f"{stem}.jpg")


def _box(fields: dict[str, str], where: str) -> Box | str:
    label = fields.get("object/name", "")
    if not label:
        return "it has no name"
    values = [number(fields.get(f"object/bndbox/{side}")) for side in _SIDES]
    x1, y1, x2, y2 = values
    if x1 is None or y1 is None or x2 is None or y2 is None:
        return "bndbox has no four numbers xmin, ymin, xmax and ymax"
    if x1 > x2 or y1 > y2:
        return f"swapped corners, {x1:g}, {y1:g} and {x2:g}, {y2:g}"
    # Tools that count from 0 write 0 for the first pixel.
    return Box(label, (x1 - 1 if x1 else x1, y1 - 1 if y1 else y1, x2, y2), where)


class _Fields:
    """The texts of an annotation, read without document types and so without entities.

    Raises
    ------
    ValueError
        The content is not such XML.
    """

    def __init__(self, content: bytes) -> None:
        self.objects: list[dict[str, str]] = []
        self._own: dict[str, str] = {}
        self._path: list[str] = []
        self._text = ""
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._add
        try:
            parser.Parse(content, True)
        except expat.ExpatError as error:
            raise ValueError(f"not valid XML, {error}") from None

    def first(self, path: str) -> str:
        """The text at `path`, or an empty one."""
        return self._own.get(path, "")

    def _refuse(self, *_: object) -> None:
        raise ValueError(
            "it has a document type, which annotations don't need and which may contain entities"
        )

    def _start(self, name: str, _: dict[str, str]) -> None:
        if not self._path and name != "annotation":
            raise ValueError(f"its root is <{printable(name)}>, expected <annotation>")
        if len(self._path) > _DEEPEST:
            raise ValueError(f"its elements are nested more than {_DEEPEST} levels deep")
        self._path.append(name)
        self._text = ""
        if self._path[1:] == ["object"]:
            self.objects.append({})

    def _end(self, _: str) -> None:
        path = "/".join(self._path[1:])
        if path in _READ:
            target = self.objects[-1] if path.startswith("object/") else self._own
            target.setdefault(path, self._text.strip())
        self._path.pop()
        self._text = ""

    def _add(self, text: str) -> None:
        self._text += text


def voc_problem(folder: str, names: Sequence[str]) -> DataError | None:
    """The error for the parent folder of Pascal VOC years, `VOCdevkit/VOC2012`; None if it is none."""
    years = [name for name in names if is_voc(os.path.join(folder, name)) and name not in PART_NAMES]
    if not years:
        return None
    shown = printable(os.path.join(folder, years[0]))
    return DataError(
        f"{printable(folder)} contains a Pascal VOC data set. Fix: name {shown}", escaped(folder)
    )
