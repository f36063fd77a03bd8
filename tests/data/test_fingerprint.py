import hashlib
import os
from pathlib import Path

import pytest

from transfer_core.data.fingerprint import fingerprints
from transfer_core.data.formats import complaint
from transfer_core.errors import Cancelled
from transfer_core.progress import Progress


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
