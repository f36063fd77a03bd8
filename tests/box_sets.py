"""Small data sets with boxes, in every format, written by hand."""

import json
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

# Photos of 100 × 80 pixels: name to boxes (label, x, y, width, height).
SIGNS = {
    f"{number}.png": [("stop", 10 + number, 20, 30, 40)]
    + ([("give way", 50, 5, 20, 25)] if number % 3 == 0 else [])
    for number in range(12)
} | {"empty0.png": [], "empty1.png": []}
NAMES = ("give way", "stop")


def write_photo(path, size=(100, 80), orientation=None):
    """A photo of other pixels than those with another name."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(path.name.encode())
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def write_photos(folder, names=SIGNS):
    for name in names:
        write_photo(Path(folder, name))


def coco_document(boxes=SIGNS, size=(100, 80)):
    images = [
        {"id": number, "file_name": name, "width": size[0], "height": size[1]}
        for number, name in enumerate(boxes)
    ]
    annotations = [
        {"id": 100 + number, "image_id": image, "category_id": 7 + NAMES.index(label), "bbox": [x, y, w, h]}
        for number, (image, (label, x, y, w, h)) in enumerate(
            (image, box) for image, own in enumerate(boxes.values()) for box in own
        )
    ]
    categories = [{"id": 7 + number, "name": name} for number, name in enumerate(NAMES)]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_coco(folder, document=None, name="annotations/instances_default.json"):
    path = Path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document or coco_document()))
    return path


def write_yolo_labels(folder, boxes=SIGNS, size=(100, 80)):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, own in boxes.items():
        lines = []
        for label, x, y, w, h in own:
            shares = (x + w / 2) / size[0], (y + h / 2) / size[1], w / size[0], h / size[1]
            lines.append(" ".join(map(str, (NAMES.index(label), *shares))))
        (folder / f"{Path(name).stem}.txt").write_text("\n".join(lines))


def voc_xml(name, boxes, size=(100, 80), head=""):
    objects = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
        f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
        for label, x, y, w, h in boxes
    )
    return (
        f"{head}<annotation><filename>{name}</filename><size><width>{size[0]}</width><height>{size[1]}</height>"
        f"<depth>3</depth></size>{objects}</annotation>"
    )


def write_voc(folder, boxes=SIGNS):
    place = Path(folder, "Annotations")
    place.mkdir(parents=True, exist_ok=True)
    for name, own in boxes.items():
        (place / f"{Path(name).stem}.xml").write_text(voc_xml(name, own))


def csv_lines(boxes=SIGNS, prefix="images/"):
    lines = ["path,label,x,y,width,height"]
    for name, own in boxes.items():
        lines += [f"{prefix}{name},{label},{x},{y},{w},{h}" for label, x, y, w, h in own]
        lines += [] if own else [f"{prefix}{name},,,,,"]
    return lines


def row_boxes(own):
    return [{"label": label, "x": x, "y": y, "width": w, "height": h} for label, x, y, w, h in own]
