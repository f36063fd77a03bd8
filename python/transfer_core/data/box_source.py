"""Recognize and read data sets with boxes: COCO, YOLO and Pascal VOC folders and files, and manifests."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence

from transfer_core.data import parquet
from transfer_core.data.bad_input import escaped, printable
from transfer_core.data.box_files import entries
from transfer_core.data.coco import coco_files, is_coco, read_coco
from transfer_core.data.example import Example
from transfer_core.data.voc import is_voc, read_voc, voc_problem
from transfer_core.data.yolo import YAML_NAMES, is_yolo, read_yolo
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress

_EXPECTED = (
    "expected COCO JSON, YOLO (data.yaml), Pascal VOC (Annotations/*.xml), or a CSV with the columns path, "
    "label, x, y, width and height"
)


def layout(path: str) -> str | None:
    """The format of a folder or file with boxes, `COCO`, `YOLO` or `Pascal VOC`; None for others."""
    if not os.path.isdir(path):
        if os.path.basename(path).lower() in YAML_NAMES:
            return "YOLO"
        return "COCO" if is_coco(path) else None
    if any(name in YAML_NAMES for name in entries(path)):
        return "YOLO"
    if coco_files(path):
        return "COCO"
    if is_voc(path):
        return "Pascal VOC"
    return "YOLO" if is_yolo(path) else None


def read_boxes(path: str, progress: Progress) -> list[Example] | None:
    """Read a folder or a file with boxes; None if it has none of the known layouts.

    Raises
    ------
    DataError
        It has the layout, but can't be read.
    """
    match layout(path):
        case "YOLO":
            return read_yolo(path, progress)
        case "COCO" if os.path.isdir(path):
            return read_coco(path, coco_files(path))
        case "COCO":
            return read_coco(_data_set(path), [path])
        case "Pascal VOC":
            return read_voc(path, progress)
    return None


def no_boxes(path: str) -> DataError:
    """The error for a folder or file without boxes, given for detection."""
    if os.path.isdir(path) and (error := voc_problem(path, entries(path))):
        return error
    manifests = [name for name in entries(path) if name.lower().endswith((".csv", ".jsonl", ".parquet"))]
    nearest = f', did you mean "{printable(os.path.join(path, manifests[0]))}"?' if manifests else ""
    return DataError(
        f"{printable(path)} has no boxes, which detection needs{nearest}; {_EXPECTED}", escaped(path)
    )


def header(path: str) -> Sequence[str]:
    """The columns of a manifest; empty if they can't be read, which its reader reports."""
    ending = os.path.splitext(path)[1].lower()
    try:
        if ending == ".parquet":
            return parquet.column_names(path)
        with open(path, encoding="utf-8-sig", newline="") as file:
            line = next((line for line in iter(lambda: file.readline(1 << 20), "") if line.strip()), "")
        if ending in (".jsonl", ".ndjson"):
            record = json.loads(line)
            return list(record) if isinstance(record, dict) else []
        cells = next(csv.reader([line], delimiter=max(",;\t", key=line.count)), [])
        return [cell.strip() for cell in cells]
    except Exception:  # of pyarrow, csv and json
        return []


def _data_set(file: str) -> str:
    """The folder that the images of a document lie in: beside it, or beside its folder `annotations`."""
    own = os.path.dirname(file) or "."
    return os.path.dirname(os.path.abspath(own)) if os.path.basename(own) == "annotations" else own
