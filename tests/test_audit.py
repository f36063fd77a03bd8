"""Audits through the public function: planted defects are found, a corrected table trains without them."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import sklearn.preprocessing  # noqa: F401  its first import changes the environment
from benchmarks import planted_defects
from PIL import Image, ImageOps

import transfer_core
from photos import COLORS, class_folder, png
from test_report import check, pictures
from transfer_core.runtime.errors import ConfigurationError, RecipeError

TABLE = "sklearn:StandardScaler"
HOSTILE = ('=1+1,"x".png', "a\nb.png", "<script>.png")


def spots(seed, size=96):
    """Spots of many sizes and colours: like a photo, it has some detail of every frequency."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size]
    found = np.full((size, size, 3), 128.0)
    for _ in range(40):
        at, radius = rng.uniform(0, size, 2), rng.uniform(3, 25)
        spot = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * radius**2))
        found += spot[..., None] * rng.normal(0, 60, 3)
    return Image.fromarray(np.clip(found, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A photo that is cut short in the middle of its class, copies, a mirrored copy, and hostile names."""
    root = Path(class_folder(tmp_path_factory.mktemp("audit") / "photos", per_class=6))
    whole = (root / "leaf" / "3.png").read_bytes()
    (root / "leaf" / "3.png").write_bytes(whole[: len(whole) // 2])
    spots(0).save(root / "sky" / "spots.png")
    ImageOps.mirror(spots(0)).resize((80, 80)).save(root / "sky" / "mirrored.jpg", quality=60)
    shutil.copy(root / "brick" / "0.png", root / "sky" / "copy.png")
    for number, name in enumerate(HOSTILE):
        color = COLORS["brick"]
        (root / "brick" / name).write_bytes(png(np.full((64, 64, 3), color, np.uint8) + np.uint8(number)))
    return root


@pytest.fixture(scope="module")
def report(photos):
    return transfer_core.audit(data=str(photos), report=photos.parent / "audit.html")


def test_unreadable_copies_and_near_duplicates(photos, report):
    assert (report.modality, report.task, report.examples) == ("image", "classification", 23)
    assert report.labels == {"brick": 9, "leaf": 5, "sky": 9}
    (bad,) = report.of("unreadable")
    assert (bad.input, bad.keep, bad.label) == (str(photos / "leaf" / "3.png"), False, "leaf")
    assert "truncated" in bad.detail
    (copy,) = report.of("duplicate")
    assert copy.input == str(photos / "sky" / "copy.png")
    assert (copy.label, copy.suggested) == ("sky", "brick")
    near = [one for one in report.of("near_duplicate") if "spots" in one.input + one.detail]
    assert [{one.input, one.detail.split("as ")[1]} for one in near] == [
        {str(photos / "sky" / "spots.png"), str(photos / "sky" / "mirrored.jpg")}
    ]
    assert str(report).splitlines()[0] == f"23 readable examples, {len(report.findings)} findings"
    assert all(line.isprintable() for line in str(report).splitlines())


def test_the_page_shows_the_findings_with_their_pictures(photos, report):
    page = check((photos.parent / "audit.html").read_text())
    assert {"Unreadable inputs", "Exact duplicates", "Near-duplicates", "23 readable examples"} <= {
        text.split(" (")[0] for text in page.text
    }
    copies = pictures((photos.parent / "audit.html").read_text(), "Exact duplicates")
    assert [image.size for image in copies] == [(64, 64)] * 2
    assert np.abs(np.subtract(*(np.asarray(image, int) for image in copies))).max() == 0
    assert str(photos / "leaf" / "3.png") in page.text
    with pytest.raises(ConfigurationError, match=r"audit\.pdf. Fix: end the name with \.html"):
        transfer_core.audit(data=str(photos), report="audit.pdf")


def test_a_corrected_table_trains_without_the_defects(photos, report, tmp_path):
    report.save(tmp_path / "audit.csv")
    with open(tmp_path / "audit.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert len(rows) == sum(one.input is not None for one in report.findings)
    columns = dict(zip(header, range(len(header)), strict=True))
    hostile = [[str(photos / "brick" / name), "wrong_label", "leaf", "", "", "yes", ""] for name in HOSTILE]
    for row in rows:
        if row[columns["kind"]] == "duplicate":
            row[columns["keep"]] = "no"
    with open(tmp_path / "audit.csv", "w", newline="") as file:
        csv.writer(file).writerows([header, *rows, *hostile])
    again = transfer_core.audit(data=str(photos), corrections=str(tmp_path / "audit.csv"))
    assert again.labels == {"brick": 6, "leaf": 8, "sky": 8}
    assert not again.of("unreadable")
    assert not again.of("duplicate")
    words = {"split": {"near_duplicates": False}, "corrections": str(tmp_path / "audit.csv")}
    model = transfer_core.train(backbone="mobilenet_v2", data=str(photos), **words)
    assert sum(model.header.sizes.values()) == 22


@pytest.fixture(scope="module")
def rows():
    """Two columns that tell three classes, one that gives the label away, and twelve wrong labels."""
    rng = np.random.default_rng(0)
    centers = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    true = np.arange(300) % 3
    given = true.copy()
    wrong = rng.choice(300, 12, replace=False)
    given[wrong] = (given[wrong] + 1 + np.arange(12) % 2) % 3
    points = centers[true] + 0.7 * rng.standard_normal((300, 2))
    cells = [
        {"x": float(x), "y": float(y), "code": float(k)} for (x, y), k in zip(points, given, strict=True)
    ]
    made = [{"input": cell, "label": "abc"[k]} for cell, k in zip(cells, given, strict=True)]
    return made, {int(row) + 1: "abc"[true[row]] for row in wrong}


def test_wrong_labels_and_leaking_columns_of_a_table(rows):
    made, wrong = rows
    leaking = transfer_core.audit(backbone=TABLE, data=made)
    (column,) = leaking.of("leaking_column")
    assert 'the column "code" alone predicts 100.0%' in column.detail
    without = transfer_core.audit(backbone=TABLE, data=made, columns={"input": ["x", "y"]})
    found = {one.input: one.suggested for one in without.of("wrong_label")}
    assert found.items() <= wrong.items()
    assert len(found) >= 9
    assert not without.of("leaking_column")


def test_copies_across_the_parts_of_a_split_come_first(tmp_path):
    lines = [f"{x},{x * 7 % 11},{x / 7:.3f},{'ab'[x % 2]},{'test' if x > 30 else 'train'}" for x in range(40)]
    lines += ["3.0,10,0.429,b,test"]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["x,y,z,label,split", *lines]))
    report = transfer_core.audit(backbone=TABLE, data=str(path))
    (near,) = report.of("near_duplicate")
    assert (near.input, near.detail) == (41, "nearly the same as row 4 in train, while this one is in test")


def test_the_benchmark_plants_defects_that_are_found(tmp_path):
    labels = ["a", "b"] * 50
    given = planted_defects.with_wrong_labels(labels, seed=1)
    assert sum(one != other for one, other in zip(labels, given, strict=True)) == 5
    files = [tmp_path / "ab"[seed % 2] / f"{seed}.png" for seed in range(6)]
    for seed, file in enumerate(files):
        file.parent.mkdir(exist_ok=True)
        spots(seed).save(file)
    assert planted_defects.near_duplicates(files, 3) == (3, 0)  # compressed, mirrored, smaller


def test_only_tasks_on_embeddings(photos):
    with pytest.raises(RecipeError, match="an audit is for tasks on embeddings"):
        transfer_core.audit(data=[{"input": "a.png", "boxes": []}], task="detection")
    with pytest.raises(RecipeError, match="is for data of one domain"):
        transfer_core.train(backbone=TABLE, data=str(photos), source=str(photos), corrections="a.csv")
