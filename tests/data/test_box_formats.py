"""Every format of data with boxes, through the real reader."""

import json
from pathlib import Path

import pytest

from box_sets import (
    NAMES,
    SIGNS,
    coco_document,
    csv_lines,
    row_boxes,
    voc_xml,
    write_coco,
    write_photos,
    write_voc,
    write_yolo_labels,
)
from transfer_core.runtime.errors import DataError


@pytest.fixture(autouse=True)
def _in_scratch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def boxes_by_name(splits):
    """File name to boxes (label, x, y, width, height), rounded to a thousandth of a pixel."""
    found = {}
    for part in (splits.train, splits.valid, splits.test):
        for path, target in zip(part.inputs, part.targets, strict=True):
            rows = splits.task.describe(target, splits.labels)
            found[Path(path).name] = [
                (row["label"], *(round(row[word], 3) for word in ("x", "y", "width", "height")))
                for row in rows
            ]
    return found


def check_signs(splits):
    assert splits.task.name == "detection"
    assert splits.labels == NAMES
    assert boxes_by_name(splits) == SIGNS
    for part in (splits.train, splits.valid, splits.test):
        assert part.targets.dtype == object
        assert all(target.size == (100, 80) for target in part.targets)
    # Every label is on every side that is large enough, though one of them is rare.
    assert (splits.task.counts(splits.train.targets, splits.labels) > 0).all()
    assert (splits.task.counts(splits.test.targets, splits.labels) > 0).all()


def failure(call, *arguments, **words):
    with pytest.raises(DataError) as raised:
        call(*arguments, **words)
    return str(raised.value)


def test_a_coco_folder(read):
    write_photos("signs/images")
    write_coco("signs")
    check_signs(read("signs"))


@pytest.mark.parametrize("name", ["signs/boxes.json", "signs/train/_annotations.coco.json"])
def test_a_coco_file_beside_its_images(read, name):
    write_photos(Path(name).parent)
    write_coco(".", name=name)
    check_signs(read(name))


def test_a_coco_folder_with_its_own_split(read):
    names = list(SIGNS)
    parts = {"train2017": names[:8] + names[-2:-1], "val2017": names[8:10], "test": names[10:12] + names[-1:]}
    for part, own in parts.items():
        some = {name: SIGNS[name] for name in own}
        write_photos(f"signs/{part}", own)
        write_coco("signs", coco_document(some), f"annotations/instances_{part}.json")
    Path("signs/annotations/captions_train2017.json").write_text('{"images": [], "annotations": []}')
    splits = read("signs", split={"near_duplicates": False})
    assert boxes_by_name(splits) == SIGNS
    assert {Path(path).name for path in splits.test.inputs} == set(parts["test"])
    assert {Path(path).name for path in splits.valid.inputs} == set(parts["val2017"])


def test_coco_keeps_crowds_and_areas(read):
    document = coco_document()
    document["annotations"][0] |= {
        "iscrowd": 1,
        "area": 17.5,
        "segmentation": {"counts": [1, 2], "size": [8, 8]},
    }
    write_photos("signs/images")
    write_coco("signs", document)
    splits = read("signs")
    targets = [t for part in (splits.train, splits.valid, splits.test) for t in part.targets]
    crowds = [
        (target.areas[target.crowd].tolist(), len(target.objects)) for target in targets if target.crowd.any()
    ]
    assert crowds == [([17.5], len(SIGNS["0.png"]) - 1)]


def test_a_yolo_folder(read):
    write_photos("signs/images")
    write_yolo_labels("signs/labels")
    Path("signs/data.yaml").write_text("path: .\ntrain: images\nnc: 2\nnames: ['give way', stop]\n")
    splits = read("signs/data.yaml", split={"near_duplicates": False})
    assert boxes_by_name(splits) == SIGNS
    check_signs(read("signs"))


def test_a_yolo_folder_without_yaml(read):
    write_photos("signs/images")
    write_yolo_labels("signs/labels")
    Path("signs/labels/classes.txt").write_text("give way\nstop\n")
    check_signs(read("signs"))


def test_a_yolo_split_as_roboflow_writes_it(read):
    names = list(SIGNS)
    parts = {"train": names[:8] + names[-2:-1], "valid": names[8:10], "test": names[10:12] + names[-1:]}
    for part, own in parts.items():
        write_photos(f"signs/{part}/images", own)
        write_yolo_labels(f"signs/{part}/labels", {name: SIGNS[name] for name in own})
    Path("signs/data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\n"
        "names:\n  0: give way\n  1: stop\nroboflow:\n  version: 3\n"
    )
    splits = read("signs")
    assert boxes_by_name(splits) == SIGNS
    assert {Path(path).name for path in splits.test.inputs} == set(parts["test"])


def test_outlines_of_yolo_become_enclosing_boxes(read):
    write_photos("signs/images")
    write_yolo_labels("signs/labels")
    Path("signs/labels/0.txt").write_text("1 0.1 0.25 0.4 0.25 0.4 0.75 0.2 0.5\n0 0.6 0.21875 0.2 0.3125\n")
    Path("signs/classes.txt").write_text("give way\nstop\n")
    assert boxes_by_name(read("signs"))["0.png"][0] == ("stop", 10, 20, 30, 40)


def test_images_without_a_label_file_have_no_objects(read, warned):
    write_photos("signs/images")
    write_yolo_labels("signs/labels")
    Path("signs/labels/empty0.txt").unlink()
    Path("signs/data.yaml").write_text("train: images\nnames: [give way, stop]\n")
    assert boxes_by_name(read("signs")) == SIGNS
    assert warned[0].startswith(
        "1 image has no label file and so no objects, for example signs/images/empty0.png"
    )


def test_a_voc_folder(read):
    write_photos("signs/JPEGImages")
    write_voc("signs")
    check_signs(read("signs"))


def test_image_sets_of_voc_are_the_split(read):
    write_photos("signs/JPEGImages")
    write_voc("signs")
    stems = [Path(name).stem for name in SIGNS]
    sets = Path("signs/ImageSets/Main")
    sets.mkdir(parents=True)
    (sets / "train.txt").write_text("\n".join(stems[:9]))
    (sets / "val.txt").write_text("\n".join(stems[9:]))
    (sets / "trainval.txt").write_text("\n".join(stems))
    splits = read("signs")
    assert (splits.test_name, {Path(path).stem for path in splits.test.inputs}) == ("valid", set(stems[9:]))


def test_voc_files_beside_their_images(read):
    write_photos("signs")
    for name, own in SIGNS.items():
        Path("signs", f"{Path(name).stem}.xml").write_text(voc_xml(name, own))
    check_signs(read("signs"))


def test_a_csv(read):
    write_photos("images")
    Path("signs.csv").write_text("\n".join(csv_lines()))
    check_signs(read("signs.csv"))


def test_a_csv_with_corners_and_other_columns(read):
    write_photos("images")
    lines = ["filename,width,height,class,xmin,ymin,xmax,ymax,split"]
    for place, (name, own) in enumerate(SIGNS.items()):
        part = "test" if place in (9, 10, 13) else "train"
        lines += [f"images/{name},100,80,{label},{x},{y},{x + w},{y + h},{part}" for label, x, y, w, h in own]
        lines += [] if own else [f"images/{name},100,80,,,,,,{part}"]
    Path("signs.csv").write_text("\n".join(lines))
    splits = read("signs.csv", columns={"input": "filename", "target": "class"})
    assert boxes_by_name(splits) == SIGNS
    assert len(splits.test) == 3


def test_parquet(read):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    write_photos("images")
    rows = [
        {
            "path": f"images/{name}",
            "label": label,
            **dict(zip(("x", "y", "width", "height"), four, strict=True)),
        }
        for name, own in SIGNS.items()
        for label, *four in own or [(None, None, None, None, None)]
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), "signs.parquet")
    check_signs(read("signs.parquet"))


def test_json_lines(read):
    write_photos("images")
    rows = [{"path": f"images/{name}", "boxes": row_boxes(own)} for name, own in SIGNS.items()]
    Path("signs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    check_signs(read("signs.jsonl"))


def test_rows(read):
    write_photos("images")
    rows = [{"input": f"images/{name}", "boxes": row_boxes(own)} for name, own in SIGNS.items()]
    check_signs(read({"stream": "data"}, {"data": rows}))


def test_rows_with_bytes(read):
    write_photos("images")
    rows = [
        {"input": Path("images", name).read_bytes(), "boxes": row_boxes(own)} for name, own in SIGNS.items()
    ]
    splits = read({"stream": "data"}, {"data": rows})
    assert sorted(boxes_by_name(splits).values()) == sorted(SIGNS.values())


def test_to_evaluate_other_data(measure):
    write_photos("signs/images")
    write_coco("signs")
    found = measure("signs", labels=("give way", "stop", "turn"), task="detection")
    assert len(found) == len(SIGNS)
    message = failure(measure, "signs", labels=("stop",), task="detection")
    assert message == 'the model has no class "give way" (its classes: "stop")'
