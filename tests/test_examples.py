"""Run the Python examples with little data."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from transfer_core.data import read_splits
from transfer_core.data.image import IMAGE
from transfer_core.recipe.parser import parse_recipe
from transfer_core.runtime.progress import Progress
from transfer_core.tasks import choose_task

pytestmark = pytest.mark.slow


def example(name, *arguments):
    environment = {**os.environ, "PYTHONPATH": "python"}
    command = [sys.executable, f"examples/{name}", *arguments]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_multi_label():
    output = example("multi_label.py", "160")
    assert output.startswith("10 labels, {'train': 102, 'valid': 18, 'test': 40}\n")
    ours = float(re.search(r"^mean average precision (\S+)", output, re.M)[1])
    baseline, plain, standardised = (float(line.split()[-1]) for line in output.splitlines()[2:5])
    assert ours > 2 * baseline
    # 40 sheets with some eight of each label: within two standard deviations of the difference.
    assert abs(ours - max(plain, standardised)) < 0.08


def test_scenes_are_read_alike_as_coco_and_as_yolo(tmp_path):
    sys.path.insert(0, "examples")
    from scenes import DISTRACTORS, LABELS
    from stamps import CLASSES

    rng = np.random.default_rng(0)
    for name in (*LABELS, *DISTRACTORS):
        folder = tmp_path / "stamps" / CLASSES[name]
        folder.mkdir(parents=True)
        for number in range(8):
            picture = Image.fromarray(rng.integers(0, 256, (120, 90, 4), dtype=np.uint8)).resize((180, 240))
            mask = Image.new("L", picture.size)
            ImageDraw.Draw(mask).ellipse((20, 20, 160, 220), 255)
            picture.putalpha(mask)
            picture.save(folder / f"{number}.png")
    (tmp_path / "photos").mkdir()
    for number in range(10):
        photo = Image.fromarray(rng.integers(0, 256, (500, 640, 3), dtype=np.uint8))
        photo.save(tmp_path / "photos" / f"{number}.jpg")
    folders = [str(tmp_path / name) for name in ("stamps", "photos", "scenes")]
    output = example("scenes.py", *folders, "12", "3", "5")
    assert [line.split(":")[0] for line in output.splitlines()] == ["train", "valid", "test"]

    yolo = read_scenes(tmp_path / "scenes" / "data.yaml", tmp_path)
    for part, count in (("train", 12), ("valid", 3), ("test", 5)):
        document = tmp_path / "scenes" / "annotations" / f"instances_{part}.json"
        coco = read_scenes(document, tmp_path, split={"test": 0, "valid": 0, "near_duplicates": False})
        own = {path: boxes for path, boxes in yolo.items() if f"/{part}/" in path}
        assert len(own) == count
        assert coco.keys() == own.keys()
        for path, boxes in coco.items():
            np.testing.assert_allclose(boxes, own[path], atol=0.01)
    assert sum(map(len, yolo.values())) > 20
    assert any(not len(boxes) for boxes in yolo.values())


def read_scenes(path, folder, **words):
    """Path of each image to its corners, as the reader of a training has them."""
    recipe = parse_recipe({"data": str(path), "backbone": "mobilenet_v2", "task": "detection", **words})
    splits = read_splits(recipe, IMAGE, choose_task, {}, folder / "spool", Progress())
    parts = (splits.train, splits.valid, splits.test)
    return {
        os.path.realpath(path): boxes.corners
        for part in parts
        for path, boxes in zip(part.inputs, part.targets, strict=True)
    }
