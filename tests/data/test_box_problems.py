"""Invalid data with boxes: each problem is named with its file and line, and `on_bad_input` decides."""

from pathlib import Path

import pytest

import transfer_core
from box_sets import (
    SIGNS,
    coco_document,
    csv_lines,
    row_boxes,
    voc_xml,
    write_coco,
    write_photo,
    write_photos,
    write_voc,
    write_yolo_labels,
)
from transfer_core.data.box_checks import check_boxes
from transfer_core.data.boxes import Box, BoxLabel
from transfer_core.data.flat_yaml import parse_yaml
from transfer_core.data.photo_size import PhotoSize
from transfer_core.runtime.errors import DataError


@pytest.fixture(autouse=True)
def _in_scratch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def failure(call, *arguments, **words):
    with pytest.raises(DataError) as raised:
        call(*arguments, **words)
    return str(raised.value)


def names_of(splits):
    return {Path(path).name for part in splits.parts for path in part}


def with_line(line):
    """The signs as CSV with one more line."""
    Path("signs.csv").write_text("\n".join([*csv_lines(), line]))
    return len(csv_lines()) + 1


BAD_LINES = {
    "images/0.png,stop,90,10,60,20": "the box reaches 50 px over the right edge of the image (100 x 80)",
    "images/0.png,stop,-20,10,60,20": "the box reaches 20 px over the left edge of the image (100 x 80)",
    "images/0.png,stop,10,10,-5,20": "the box is -5 x 20 px: swapped corners or a negative size",
    "images/0.png,stop,nan,10,5,20": "the corners nan, 10, nan, 30 are not finite pixels",
    "images/0.png,stop,1e300,10,5,20": "the corners 1e+300, 10, 1e+300, 30 are not finite pixels",
    "images/0.png,stop,ten,10,5,20": 'x is "ten", expected a number',
    "images/0.png,stop,10,10,5,": "height is missing",
    "images/0.png,,10,10,5,5": "the label is empty, expected a name",
    # These take no object away: `skip` leaves the box out, not the image.
    "images/0.png,stop,10,10,0,20": "the box has no area, 0 x 20 px",
    "images/0.png,stop,10,20,30,40": "the same box as in signs.csv line 2",
}


@pytest.mark.parametrize(("line", "reason"), BAD_LINES.items(), ids=range(len(BAD_LINES)))
def test_a_bad_box_is_named_with_its_line(read, warned, line, reason):
    write_photos("images")
    number = with_line(line)
    message = failure(read, "signs.csv")
    assert message == (
        f"signs.csv line 2 (images/0.png): signs.csv line {number}: {reason} "
        "(fix or remove it, or use on_bad_input: :skip)"
    )
    splits = read("signs.csv", on_bad_input="skip")
    if reason.startswith(("the box has no area", "the same box")):
        assert names_of(splits) == set(SIGNS)
        assert warned[0] == f"left out 1 box: signs.csv line {number}: {reason}"
    else:
        assert names_of(splits) == set(SIGNS) - {"0.png"}
        assert warned[0].startswith("left out 1 image that can't be used")


def test_a_check_reports_boxes_that_a_training_would_refuse():
    write_photos("images")
    number = with_line("images/0.png,stop,10,10,0,20")
    words = {"data": "signs.csv", "task": "detection"}
    report = transfer_core.check(**words)
    assert not report.ok
    assert f"signs.csv line {number}: the box has no area, 0 x 20 px" in report.problems[0]
    skipping = transfer_core.check(**words, on_bad_input="skip")
    assert skipping.ok
    assert f"left out 1 box: signs.csv line {number}" in skipping.warnings[0]


def test_a_small_overhang_is_clipped_with_a_warning(read, warned):
    write_photos("images")
    number = with_line("images/0.png,stop,60,10,41.5,20")
    splits = read("signs.csv")
    rows = [t for part in (splits.train, splits.valid, splits.test) for t in part.targets if len(t) == 3]
    assert [60, 10, 100, 30] in rows[0].corners.tolist()
    assert warned[0] == f"clipped 1 box at the edge of the image: signs.csv line {number}"


def test_an_image_with_and_without_boxes(read):
    write_photos("images")
    with_line("images/0.png,,,,,")
    assert "one of its lines has no box, others have" in failure(read, "signs.csv")


def test_several_problems_are_named_together(read):
    write_photos("images")
    lines = ["images/0.png,stop,90,10,60,20", "images/1.png,stop,1,1,-5,5", "images/gone.png,stop,1,1,5,5"]
    Path("signs.csv").write_text("\n".join([*csv_lines(), *lines]))
    message = failure(read, "signs.csv")
    assert message.startswith("3 images can't be used: ")
    for part in (
        "line 20: the box reaches 50 px",
        "line 21: the box is -5 x 5 px",
        "gone.png): no such file",
    ):
        assert part in message


def test_an_image_listed_twice_with_other_boxes(read):
    write_photos("images")
    rows = [{"input": f"images/{name}", "boxes": row_boxes(own)} for name, own in SIGNS.items()]
    rows.append({"input": "images/0.png", "boxes": []})
    message = failure(read, {"stream": "data"}, {"data": rows})
    assert "it is the same image as row 15 (images/0.png), which has no label" in message


# EXIF orientation.


@pytest.mark.parametrize("stated", [True, False])
def test_boxes_of_the_photo_before_it_is_turned_upright(read, stated):
    write_photos("signs/images")
    write_photo("signs/images/turned.jpg", (100, 80), orientation=6)
    boxes = {**SIGNS, "turned.jpg": [("stop", 60, 10, 38, 30)]}
    if stated:
        write_coco("signs", coco_document(boxes))
    else:
        Path("signs/boxes.csv").write_text("\n".join(csv_lines(boxes)))
    message = failure(read, "signs" if stated else "signs/boxes.csv")
    for part in (
        "turned.jpg): the boxes fit only the image as stored (100 x 80), before its EXIF orientation",
        "but boxes refer to the upright image (80 x 100). Fix: turn the boxes, or remove the orientation",
    ):
        assert part in message


def test_boxes_of_the_upright_photo(read):
    write_photos("images")
    write_photo("images/turned.jpg", (100, 80), orientation=6)
    boxes = {**SIGNS, "turned.jpg": [("stop", 10, 60, 30, 38)]}
    Path("signs.csv").write_text("\n".join(csv_lines(boxes)))
    splits = read("signs.csv")
    sizes = [t.size for part in (splits.train, splits.valid, splits.test) for t in part.targets]
    assert sorted(set(sizes)) == [(80, 100), (100, 80)]


def test_boxes_of_an_image_of_another_size(read):
    write_photos("signs/images")
    write_coco("signs", coco_document(size=(200, 160)))
    message = failure(read, "signs")
    assert "the boxes are for an image of 200 x 160 pixels, but it has 100 x 80" in message


# COCO.


def coco_with(change):
    document = coco_document()
    change(document)
    write_photos("signs/images")
    return write_coco("signs", document)


COCO_PROBLEMS = {
    "annotation 100: the category 99 has no name": lambda d: d["annotations"][0].update(category_id=99),
    "annotation 100: bbox is not a list of four numbers": lambda d: d["annotations"][0].update(
        bbox=[1, 2, 3]
    ),
    "annotation 100: there is no image 77": lambda d: d["annotations"][0].update(image_id=77),
    "image 1 (signs/images/1.png): the id 1 belongs to several images": lambda d: d["images"][0].update(id=1),
    "image 1 (signs/images/0.png): the file is listed several times": lambda d: d["images"][1].update(
        file_name="0.png"
    ),
    "image 0: its file_name ../../../etc/passwd leads out of signs": lambda d: d["images"][0].update(
        file_name="../../../etc/passwd"
    ),
    "image 0: its file_name /etc/passwd leads out of signs": lambda d: d["images"][0].update(
        file_name="/etc/passwd"
    ),
    "image 0: it has no file_name": lambda d: d["images"][0].pop("file_name"),
    "images/gone.png): no such file": lambda d: d["images"][0].update(file_name="gone.png"),
    "annotation 100: the box is -3 x 4 px": lambda d: d["annotations"][0].update(bbox=[1, 2, -3, 4]),
    "annotation 100: the corners nan, 2, nan, 6 are not": lambda d: d["annotations"][0].update(
        bbox=[float("nan"), 2, 3, 4]
    ),
}


@pytest.mark.parametrize(("reason", "change"), COCO_PROBLEMS.items(), ids=range(len(COCO_PROBLEMS)))
def test_coco_problems(read, reason, change):
    coco_with(change)
    assert reason in failure(read, "signs")
    assert len(names_of(read("signs", on_bad_input="skip"))) >= len(SIGNS) - 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[]",
        "null",
        '{"images": 3, "annotations": [], "categories": []}',
        '{"images": [], "annotations": []}',
        '{"images": [1], "annotations": [], "categories": []}',
        "[" * 100_000,
        '{"images": ' + "[" * 100_000,
        "\ud800".encode("utf-8", "surrogatepass"),
        '{"images": [], "annotations": [], "categories": [], "info": ' + "9" * 5000 + "}",
    ],
)
def test_a_broken_coco_document_is_explained(read, text):
    path = Path("signs/annotations/instances.json")
    path.parent.mkdir(parents=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    message = failure(read, str(path))
    assert str(path) in message
    assert "not a COCO document" in message or "not valid JSON" in message or "has no " in message


def test_several_coco_files_without_a_split(read):
    write_photos("signs/images")
    write_coco("signs", name="annotations/instances_a.json")
    write_coco("signs", name="annotations/instances_b.json")
    assert failure(read, "signs") == (
        "signs has several COCO files, but the name of signs/annotations/instances_a.json names none of "
        "train, valid and test. Fix: data: { train: …, valid: …, test: … } with a file each"
    )


# YOLO.


def yolo_with(yaml="train: images\nnames: [give way, stop]\n", line=None):
    write_photos("signs/images")
    write_yolo_labels("signs/labels")
    Path("signs/data.yaml").write_text(yaml)
    if line is not None:
        Path("signs/labels/0.txt").write_text(line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("7 0.5 0.5 0.1 0.1", 'line 1: the class 7 has no name (names: "give way", "stop")'),
        ("1.5 0.5 0.5 0.1 0.1", "line 1: the class 1.5 has no name"),
        ("1 0.5 0.5 0.1", "line 1: expected class, x, y, width and height, got 1 0.5 0.5 0.1"),
        ("1 a b c d", "line 1: expected class, x, y, width and height, got 1 a b c d"),
        ("1 320 200 64 32", "line 1: the values 320, 200, 64, 32 are not shares of the image (0 to 1)"),
        ("1 0.5 0.5 -0.1 0.1", "line 1: the box is -10 x 8 px: swapped corners or a negative size"),
        ("1 0.9 0.5 0.6 0.1", "line 1: the box reaches 20 px over the right edge"),
        ("1 nan 0.5 0.6 0.1", "line 1: the corners nan"),
        ("\n1 0.5 0.5 0 0.1", "line 2: the box has no area, 0 x 8 px"),
    ],
)
def test_yolo_problems(read, line, reason):
    yolo_with(line=line)
    message = failure(read, "signs")
    assert f"signs/images/0.png: signs/labels/0.txt {reason}" in message


@pytest.mark.parametrize(
    ("yaml", "reason"),
    [
        ("train: images\n", "has no names of classes"),
        ("train: images\nnames: stop\n", "names is one text, expected a list"),
        ("train: images\nnames:\n  a: stop\n", "names has keys that are not numbers"),
        ("train: images\nnames: [stop\n", "line 2: a bracket is not closed"),
        ("nonsense\n", "line 1: expected key: value, got nonsense"),
        ("train: pictures\nnames: [stop]\n", "signs/pictures does not exist"),
        ("train: /etc\nnames: [stop]\n", "/etc leads out of signs"),
        ("train: ../../elsewhere\nnames: [stop]\n", "../../elsewhere leads out of signs"),
        ("train: images\nnames: [a, b]\nkpt_shape: [17, 3]\n", "is for keypoints"),
        ("train: list.txt\nnames: [a, b]\n", "/etc/passwd leads out of signs"),
    ],
)
def test_yolo_files_that_are_refused(read, yaml, reason):
    yolo_with(yaml)
    Path("signs/list.txt").write_text("./images/0.png\n/etc/passwd\n")
    assert reason in failure(read, "signs")


def test_yolo_without_any_label_file(read):
    write_photos("signs/images")
    Path("signs/data.yaml").write_text("train: images\nnames: [stop]\n")
    assert failure(read, "signs") == ("signs: no image has a label file, for example signs/labels/0.txt")


def test_yaml():
    script = (
        "download: |\n  from x import y\n  print('[{')\n\nnames: {0: a, 1: 'b: c'}\nval:\n  - one\n  - two\n"
    )
    assert parse_yaml(script) == {"download": "|", "names": {"0": "a", "1": "b: c"}, "val": ["one", "two"]}
    assert parse_yaml("names: [\n  'a, b', # comment\n  c]\n") == {"names": ["a, b", "c"]}


# Pascal VOC.


def voc_with(text):
    write_photos("signs/JPEGImages")
    write_voc("signs")
    Path("signs/Annotations/0.xml").write_text(text)


BILLION = '<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (voc_xml("0.png", [("stop", 1, 1, 9, 9)], head=BILLION), "it has a document type"),
        ("<annotation>", "not valid XML, no element found"),
        ("", "not valid XML"),
        ("<html/>", "its root is <html>, expected <annotation>"),
        ("<annotation>" + "<a>" * 40, "nested more than 20 levels"),
        (voc_xml("../../etc/passwd", []), "its filename ../../etc/passwd leads out of signs"),
        (voc_xml("0.png", [("stop", 50, 1, -20, 9)]), "object 1: swapped corners, 51, 2 and 30, 10"),
        (voc_xml("0.png", [("", 1, 1, 9, 9)]), "object 1: it has no name"),
        (
            voc_xml("0.png", [("stop", 1, 1, 9, 9)]).replace("<xmin>2<", "<xmin>a<"),
            "bndbox has no four numbers",
        ),
        (voc_xml("0.png", [("stop", 50, 1, 90, 9)]), "object 1: the box reaches 40 px over the right edge"),
    ],
)
def test_voc_problems(read, text, reason):
    voc_with(text)
    message = failure(read, "signs")
    assert "signs/Annotations/0.xml" in message
    assert reason in message
    assert names_of(read("signs", on_bad_input="skip")) == set(SIGNS) - {"0.png"}


def test_a_year_of_voc_is_found(read):
    write_photos("VOCdevkit/VOC2012/JPEGImages")
    write_voc("VOCdevkit/VOC2012")
    assert failure(read, "VOCdevkit", task="detection") == (
        "VOCdevkit contains a Pascal VOC data set. Fix: name VOCdevkit/VOC2012"
    )


# Other data, and other tasks.


def test_data_without_boxes(read, class_folder):
    class_folder("photos", cat=3, dog=3)
    assert failure(read, "photos", task="detection") == (
        "photos has no boxes, which detection needs; expected COCO JSON, YOLO (data.yaml), Pascal VOC "
        "(Annotations/*.xml), or a CSV with the columns path, label, x, y, width and height"
    )
    Path("labels.csv").write_text("path,label\na.jpg,cat\n")
    assert failure(read, "labels.csv", task="detection") == (
        'labels.csv has no column "x" (found: "path", "label")'
    )
    rows = [{"input": "photos/cat/0.png", "label": "cat"}]
    assert "a label without boxes, but detection needs boxes" in failure(
        read, {"stream": "data"}, {"data": rows}, task="detection"
    )


def test_boxes_for_another_task(read):
    write_photos("signs/images")
    write_coco("signs")
    assert failure(read, "signs", task="classification").startswith(
        "signs has the COCO layout of object detection. Fix: task: :detection"
    )
    assert failure(read, "signs/annotations/instances_default.json", task="classification") == (
        "signs/annotations/instances_default.json is the file of a COCO data set, for task: :detection"
    )
    rows = [{"input": "signs/images/0.png", "boxes": []}]
    assert failure(read, {"stream": "data"}, {"data": rows}, task="multi_label") == (
        "the rows have boxes, which need task: :detection and a backbone for images"
    )


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        (3, "row 1: boxes is int, expected a list of boxes (empty for none)"),
        ([3], "box 1: int, expected {label:, x:, y:, width:, height:}"),
        ([{"lable": "stop"}], 'box 1: unknown word "lable", did you mean "label"?'),
        ([{"label": "stop", "x": 1, "y": 2, "width": 3}], "box 1: height is missing"),
        ([{"label": None, "x": 1, "y": 2, "width": 3, "height": 3}], "box 1: the label is empty"),
        (
            [{"label": "stop", "x": "1a", "y": 2, "width": 3, "height": 3}],
            'box 1: x is "1a", expected a number',
        ),
    ],
)
def test_rows_with_malformed_boxes(read, boxes, reason):
    write_photos("images")
    rows = [{"input": f"images/{name}", "boxes": row_boxes(own)} for name, own in SIGNS.items()]
    rows[0]["boxes"] = boxes
    assert reason in failure(read, {"stream": "data"}, {"data": rows})


def test_a_row_with_a_label_and_boxes(read):
    rows = [{"input": "a.png", "label": "cat", "boxes": []}]
    message = failure(read, {"stream": "data"}, {"data": rows})
    assert message == "row 1: label and boxes, expected one of them (a row is {input:, boxes:})"


def test_only_images_without_objects(read):
    write_photos("images")
    rows = [{"input": f"images/{name}", "boxes": []} for name in SIGNS]
    assert failure(read, {"stream": "data"}, {"data": rows}) == (
        "no box in 14 images; a detector needs labelled boxes"
    )


def test_corners_are_checked_in_order():
    label = BoxLabel((Box("a", (5, 5, 5, 5), "one"), Box("a", (-1, 0, 101, 80), "two")))
    found = check_boxes(label, PhotoSize(100, 80))
    assert [box.corners for box in found.boxes] == [(0, 0, 100, 80)]
    assert (found.removed, found.clipped) == (("one: the box has no area, 0 x 0 px",), ("two",))
