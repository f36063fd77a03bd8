import numpy as np
import pytest

from transfer_core.data import Dataset, DataSplits, decode_image
from transfer_core.runtime.errors import DataError
from transfer_core.tasks import TASKS


def dataset(*rows):
    return Dataset(
        tuple(path for path, _ in rows),
        tuple(f"sha-{path}" for path, _ in rows),
        np.array([target for _, target in rows], dtype=np.int64),
    )


@pytest.fixture
def splits():
    return DataSplits(
        TASKS["classification"],
        ("cat", "dog"),
        train=dataset(("a", 0), ("b", 1), ("c", 1)),
        valid=dataset(("d", 0)),
        test=dataset(("e", 0), ("f", 1)),
    )


def test_take():
    taken = dataset(("a", 0), ("b", 1), ("c", 2)).take(np.array([2, 0]))
    assert (taken.inputs, taken.digests, taken.targets.tolist(), len(taken)) == (
        ("c", "a"),
        ("sha-c", "sha-a"),
        [2, 0],
        2,
    )


def test_without_drops_rows_in_every_part(splits):
    left = splits.without({"b": "truncated", "d": "truncated", "e": "damaged"})
    assert (left.train.inputs, left.valid.inputs, left.test.inputs) == (("a", "c"), (), ("f",))
    assert left.skipped == ("b: truncated", "d: truncated", "e: damaged")
    assert left.train.targets.tolist() == [0, 1]
    assert splits.without({}).train.inputs == splits.train.inputs


def test_without_takes_the_message_of_the_decoder(splits, tmp_path):
    path = str(tmp_path / "gone.jpg")
    with pytest.raises(DataError) as raised:
        decode_image(path)
    assert splits.without({path: str(raised.value)}).skipped == (f"{path}: no such file",)


def test_without_keeps_every_class_in_training(splits):
    with pytest.raises(DataError) as raised:
        splits.without({"a": "truncated"})
    assert str(raised.value) == (
        'class "cat" has no readable training image left (replace its images, or remove the class)'
    )


def test_without_keeps_something_to_measure(splits):
    with pytest.raises(DataError) as raised:
        splits.without({"e": "truncated", "f": "the file is empty"})
    assert str(raised.value) == "none of the 2 test images can be read: f: the file is empty"
