import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transfer_core.data import emit_data_warnings, read_labelled, read_splits
from transfer_core.data.image import IMAGE
from transfer_core.recipe.parser import parse_recipe
from transfer_core.runtime.progress import Progress
from transfer_core.tasks import TASKS, choose_task


@pytest.fixture
def photo(tmp_path):
    """Writes 8 × 8 images, each with other pixels than all before; `like` copies one instead."""
    numbers = itertools.count(1)

    def write(name, like=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if like:
            path.write_bytes((tmp_path / like).read_bytes())
        else:
            pixels = np.random.default_rng(next(numbers)).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
        return str(path)

    return write


@pytest.fixture
def class_folder(photo, tmp_path):
    """`class_folder("photos", cat=3, dog=2)` writes photos/cat/0.png … and returns the folder."""

    def write(root, **counts):
        for label, count in counts.items():
            for i in range(count):
                photo(f"{root}/{label}/{i}.png")
        return str(tmp_path / root)

    return write


@pytest.fixture
def warned():
    """The warnings of the `read` and `measure` fixtures."""
    return []


@pytest.fixture
def progress(warned):
    return Progress(emit=lambda e: warned.append(e["message"]) if e["event"] == "warning" else None)


@pytest.fixture
def read(tmp_path, progress):
    """`read_splits` for recipe words."""

    def read(data, streams=None, **words):
        recipe = parse_recipe({"data": data, "backbone": "mobilenet_v2", **words})
        splits = read_splits(recipe, IMAGE, choose_task, streams or {}, tmp_path / "spool", progress)
        emit_data_warnings(splits, recipe, progress)
        return splits

    return read


@pytest.fixture
def measure(tmp_path, progress):
    """`read_labelled` for recipe words."""

    def measure(data, labels, task="classification", streams=None, **words):
        recipe = parse_recipe({"data": data, "backbone": "mobilenet_v2", **words})
        return read_labelled(
            recipe.data,
            IMAGE,
            labels,
            TASKS[task],
            recipe.columns,
            recipe.on_bad_input,
            streams or {},
            tmp_path / "spool",
            progress,
        )

    return measure


@pytest.fixture
def names():
    """The file names of a dataset, without their folders."""
    return lambda dataset: [Path(path).name for path in dataset.inputs]
