import hashlib
import os
import tracemalloc
from pathlib import Path

import pytest

from transfer_core.data.image import IMAGE
from transfer_core.data.spooled import spool_bytes
from transfer_core.data.stream import read_stream
from transfer_core.runtime.errors import ConfigurationError, DataError


def test_rows_of_paths_and_bytes(tmp_path):
    rows = [
        {"input": "a.jpg", "label": "cat"},
        {"input": Path("b.jpg"), "label": 2, "split": "val"},
        {"input": b"image", "label": [1.0, 2.0], "split": None},
    ]
    a, b, c = read_stream(rows, IMAGE, tmp_path)
    assert (a.input, a.label, a.split, a.name) == ("a.jpg", "cat", None, "row 1 (a.jpg)")
    assert (b.input, b.label, b.split) == ("b.jpg", 2, "valid")
    assert (Path(c.input).read_bytes(), c.label, c.split, c.name) == (b"image", [1.0, 2.0], None, "row 3")


def test_bytes_are_kept_once_under_their_sha256(tmp_path):
    digest = hashlib.sha256(b"image").hexdigest()
    inode = os.stat(spool_bytes(b"image", tmp_path)).st_ino
    assert os.stat(spool_bytes(b"image", tmp_path)).st_ino == inode
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [tmp_path / digest[:2] / digest]


def test_one_image_is_in_memory_at_a_time(tmp_path):
    rows = ({"input": bytes([i]) * 1_000_000, "label": i} for i in range(30))
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_stream(rows, IMAGE, tmp_path)) == 30
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("a.jpg", "cat"), "row 1: expected {input:, label:}, got tuple"),
        ({"input": "a.jpg"}, "row 1: label is missing (a row is {input:, label:})"),
        ({"label": "cat"}, "row 1: input is missing (a row is {input:, label:})"),
        (
            {"inputs": "a", "label": "b"},
            'row 1: unknown word "inputs", did you mean "input"? (one of: input, label, boxes, split)',
        ),
        ({"input": 3, "label": "b"}, "row 1: input is a path or the bytes of an image, not int"),
        (
            {"input": "a", "label": "b", "split": "holdout"},
            'row 1: unknown split "holdout" (one of: train, valid, test)',
        ),
    ],
)
def test_malformed_rows(tmp_path, row, message):
    with pytest.raises(DataError) as raised:
        list(read_stream([row], IMAGE, tmp_path))
    assert str(raised.value) == message


def test_a_spool_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError) as raised:
        spool_bytes(b"image", tmp_path / "file")
    assert str(raised.value) == f"can't keep streamed images in {tmp_path}/file: not a directory"
