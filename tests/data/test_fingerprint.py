import hashlib
import os
import time
from pathlib import Path

import pytest

from transfer_core.cache import digests as cache_of_digests
from transfer_core.data import fingerprint
from transfer_core.data.fingerprint import fingerprints
from transfer_core.data.formats import complaint
from transfer_core.runtime.errors import Cancelled
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.temp_dir import spool_folder


def test_digests_are_sha256_in_the_order_of_the_paths(photo):
    paths = [photo(f"{i}.png") for i in range(20)]
    paths.append(paths[0])
    found = fingerprints(paths, Progress())
    assert [f.digest for f in found] == [hashlib.sha256(Path(p).read_bytes()).hexdigest() for p in paths]
    assert {f.problem for f in found} == {None}


def test_a_file_of_several_chunks(tmp_path):
    image = b"\xff\xd8\xff" + os.urandom(3_000_000)
    (tmp_path / "big.jpg").write_bytes(image)
    assert (
        fingerprints([str(tmp_path / "big.jpg")], Progress())[0].digest == hashlib.sha256(image).hexdigest()
    )


def test_files_that_cannot_be_used(tmp_path, monkeypatch):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello, Grüße")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    problems = {
        "empty.jpg": "the file is empty",
        "text.jpg": "it is not an image, it holds text (expected JPEG, PNG, WebP, GIF, BMP or TIFF)",
        "folder.jpg": "it is a folder, not an image",
        "broken.jpg": "no such file",
        "pipe.jpg": "it is not a regular file",
        "missing.jpg": "no such file",
        "nul\0.jpg": "it can't be opened, embedded null byte",
        "x" * 300: "it can't be opened, file name too long",
        "caf\udce9.jpg": "its name is not valid UTF-8, rename it",
    }
    found = fingerprints([str(tmp_path / name) for name in problems], Progress())
    assert [f.problem for f in found] == list(problems.values())


def test_a_forbidden_file(photo, monkeypatch):
    # The suite may run as root, whom no mode bits stop.
    path = photo("1.png")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert fingerprints([path], Progress())[0].problem == "it can't be read, permission denied"


@pytest.mark.parametrize(
    ("header", "name", "problem"),
    [
        (b"\x00\x00\x00\x18ftypheic", "a.jpg", "HEIC images need conversion to JPEG or PNG first"),
        (b"\x00\x00\x00\x18ftypmif1", "a.heic", "HEIC images need conversion to JPEG or PNG first"),
        (b"\x00\x00\x00\x18ftypavif", "", "AVIF images need conversion to JPEG or PNG first"),
        (b"<svg xmlns=", "a.svg", "SVG images need conversion to JPEG or PNG first"),
        (
            b'\xef\xbb\xbf<?xml version="1.0"?>\n<svg>',
            "a.png",
            "SVG images need conversion to JPEG or PNG first",
        ),
        (b"II*\x00", "a.NEF", "Camera raw images need conversion to JPEG or PNG first"),
        (b"8BPS", "a.psd", "Photoshop images need conversion to JPEG or PNG first"),
        (b"\xff\xd8\xff", "a.heic", None),
        (b"RIFF\x00\x00\x00\x00WEBP", "a.jpg", None),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a.jpg",
            "it is a Git LFS pointer and not the image, run git lfs pull",
        ),
        (
            b"\x00\x01\x02\x03",
            "a.jpg",
            "it is not an image (expected JPEG, PNG, WebP, GIF, BMP or TIFF)",
        ),
        (
            ("é" * 1024).encode()[:1024],
            "a.jpg",
            "it is not an image, it holds text (expected JPEG, PNG, WebP, GIF, BMP or TIFF)",
        ),
    ],
)
def test_first_bytes(header, name, problem):
    assert complaint(header, name) == problem


def test_progress_counts_images_and_hears_cancel(photo):
    paths = [photo(f"{i}.png") for i in range(3)]
    events = []
    fingerprints(paths * 2, Progress(emit=events.append))
    assert events[-1] == {"event": "progress", "step": "choose", "done": 3, "total": 3, "unit": "images"}
    with pytest.raises(Cancelled):
        fingerprints(paths, Progress(cancelled=lambda: True))


@pytest.fixture
def settled(monkeypatch):
    """Files that were written just now are as good as old ones."""
    monkeypatch.setattr(cache_of_digests, "SETTLED_AFTER_NS", -(10**12))


@pytest.fixture
def opened(monkeypatch):
    """The paths that are opened, in any order."""
    paths, usual = [], fingerprint.open_input
    monkeypatch.setattr(fingerprint, "open_input", lambda path: paths.append(path) or usual(path))
    return paths


def test_an_unchanged_file_is_not_read_again(photo, settled, opened):
    paths = [photo(f"{i}.png") for i in range(5)]
    first = fingerprints(paths[:4], Progress())
    opened.clear()
    assert fingerprints([paths[4], *paths[:4]], Progress())[1:] == first
    assert opened == [paths[4]]


def test_a_file_that_was_written_just_now_is_read_again(photo, opened):
    path = photo("1.png")
    first = fingerprints([path], Progress())
    opened.clear()
    assert fingerprints([path], Progress()) == first
    assert opened == [path]


def test_a_pixel_that_changed_behind_the_clock_s_back_is_seen(photo, settled):
    path = photo("1.png")
    fingerprints([path], Progress())
    before, image = os.stat(path), bytearray(Path(path).read_bytes())
    image[-20] ^= 1
    time.sleep(0.02)  # a tick of the file system's clock
    with open(path, "r+b") as file:
        file.write(image)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert os.stat(path).st_ino == before.st_ino
    assert fingerprints([path], Progress())[0].digest == hashlib.sha256(image).hexdigest()


def test_a_file_that_changes_while_it_is_read_is_not_remembered(tmp_path, settled, monkeypatch, opened):
    path = tmp_path / "1.jpg"
    path.write_bytes(b"\xff\xd8\xff" + bytes(3000))

    def complain(header, name):
        with open(path, "ab") as file:
            file.write(b"more")

    monkeypatch.setattr(fingerprint, "complaint", complain)
    fingerprints([str(path)], Progress())
    monkeypatch.undo()
    assert fingerprints([str(path)], Progress())[0].digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_files_that_cannot_be_used_are_looked_at_again(tmp_path, settled):
    path = tmp_path / "1.jpg"
    path.write_text("hello")
    assert fingerprints([str(path)], Progress())[0].problem
    path.write_bytes(b"\xff\xd8\xff")
    assert fingerprints([str(path)], Progress())[0].problem is None


def test_what_was_read_before_a_cancellation_is_remembered(photo, settled, opened):
    paths = [photo(f"{i}.png") for i in range(50)]
    asked = []
    with pytest.raises(Cancelled):
        fingerprints(paths, Progress(cancelled=lambda: asked.append(1) or len(asked) > 30))
    opened.clear()
    fingerprints(paths, Progress())
    assert set(opened) <= set(paths[29:])


def test_streamed_images_are_not_remembered(photo, settled, opened):
    with spool_folder() as spool:
        path = spool / "1.png"
        path.write_bytes(Path(photo("1.png")).read_bytes())
        for _ in range(2):
            fingerprints([str(path)], Progress())
        assert opened == [str(path)] * 2


def test_progress_counts_files_that_are_known(photo, settled):
    paths = [photo(f"{i}.png") for i in range(3)]
    fingerprints(paths, Progress())
    events = []
    fingerprints(paths, Progress(emit=events.append))
    assert events[-1] == {"event": "progress", "step": "choose", "done": 3, "total": 3, "unit": "images"}
