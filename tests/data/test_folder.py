import contextlib
import errno
import os
import shutil

import pytest

from transfer_core.data.folder import read_folder
from transfer_core.runtime.errors import DataError


def listing(root):
    return [(e.input.removeprefix(f"{root}/"), e.label, e.split) for e in read_folder(str(root)).examples]


def test_labels_are_the_folders_below_the_root_in_sorted_order(photo, tmp_path):
    for name in ("dog/b.png", "dog/a.png", "cat/z.png"):
        photo(f"photos/{name}")
    assert listing(tmp_path / "photos") == [
        ("cat/z.png", "cat", None),
        ("dog/a.png", "dog", None),
        ("dog/b.png", "dog", None),
    ]


def test_folders_inside_a_class_count_as_that_class(photo, tmp_path):
    photo("photos/cat/2024/may/1.png")
    photo("photos/cat/2.png")
    photo("photos/dog/3.png")
    assert [row[:2] for row in listing(tmp_path / "photos")] == [
        ("cat/2.png", "cat"),
        ("cat/2024/may/1.png", "cat"),
        ("dog/3.png", "dog"),
    ]


def test_hidden_files_and_files_that_are_no_photos_are_ignored(photo, tmp_path):
    photo("photos/cat/1.png")
    photo("photos/dog/1.png")
    for name in (
        ".DS_Store",
        "Thumbs.db",
        "README.txt",
        "._1.png",
        "drawing.svg",
        "IMG_1.CR2",
        "no_extension",
    ):
        (tmp_path / "photos/cat" / name).write_text("x")
    for folder in (".git", "__MACOSX", "@eaDir"):
        photo(f"photos/{folder}/1.png")
    assert len(listing(tmp_path / "photos")) == 2


@pytest.mark.parametrize(
    "name", ["A.JPG", "b.JpEg", "c.WEBP", "d.tiff", "e.bmp", "f.gif", "g.HEIC", "h.avif"]
)
def test_extensions_in_any_case(tmp_path, name):
    (tmp_path / "photos/cat").mkdir(parents=True)
    (tmp_path / "photos/cat" / name).write_bytes(b"")
    assert listing(tmp_path / "photos") == [(f"cat/{name}", "cat", None)]


def test_names_with_spaces_newlines_and_unicode(photo, tmp_path):
    names = ["cat/a b.png", "cat/line\nbreak.png", "grüße/ñ 猫.png"]
    for name in names:
        photo(f"photos/{name}")
    assert [row[0] for row in listing(tmp_path / "photos")] == names


def test_labels_are_composed_whatever_the_file_system_keeps(photo, tmp_path):
    photo("photos/cafe\u0301/1.png")
    assert listing(tmp_path / "photos")[0][1] == "caf\u00e9"


def test_links_are_followed_and_loops_end(photo, tmp_path):
    photo("elsewhere/1.png")
    photo("photos/cat/2.png")
    (tmp_path / "photos/dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos/cat/again").symlink_to(tmp_path / "photos/cat")
    (tmp_path / "photos/cat/up").symlink_to(tmp_path / "photos/cat/..")
    assert [row[0] for row in listing(tmp_path / "photos")] == ["cat/2.png", "dog/1.png"]


def test_links_that_lead_nowhere_are_no_folders(photo, tmp_path):
    photo("photos/cat/1.png")
    photo("photos/dog/2.png")
    cat = tmp_path / "photos/cat"
    for name, target in (
        ("self", "self"),
        ("self.png", "self.png"),
        ("gone", "gone for good"),
        ("through", "1.png/further"),
        ("long", "x" * 300),
    ):
        (cat / name).symlink_to(target)
    (tmp_path / "photos/round").symlink_to("round")
    # What is called an image is one that can't be read, which is told then.
    assert [row[0] for row in listing(tmp_path / "photos")] == ["cat/1.png", "cat/self.png", "dog/2.png"]


def test_a_folder_that_can_not_be_asked_about_is_not_passed_over(photo, tmp_path, monkeypatch):
    photo("photos/cat/1.png")
    scandir = os.scandir

    class Unreachable:
        name = "dog"

        def is_dir(self):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "photos/dog")

    @contextlib.contextmanager
    def one_more(folder):
        with scandir(folder) as entries:
            yield [*entries, Unreachable()]

    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", one_more)
        with pytest.raises(DataError) as raised:
            read_folder("photos")
    assert str(raised.value) == "photos/dog/ can't be listed: permission denied"


@pytest.mark.parametrize("call", ["scandir", "stat", "listdir"])
def test_a_folder_that_is_deleted_while_it_is_read(photo, tmp_path, monkeypatch, call):
    if call == "listdir":
        (tmp_path / "photos").mkdir()
    else:
        photo("photos/cat/1.png")
    real = getattr(os, call)
    folder = "photos/cat" if call == "stat" else "photos"

    def deleted_before(path, *rest, **words):
        if path == folder:
            shutil.rmtree(tmp_path / "photos", ignore_errors=True)
        return real(path, *rest, **words)

    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, call, deleted_before)
        with pytest.raises(DataError) as raised:
            read_folder("photos")
    assert str(raised.value) == f"{folder}/ can't be listed: no such file or directory"
    assert raised.value.path == folder


@pytest.mark.parametrize(
    ("folder", "part"),
    [("valid", "valid"), ("val", "valid"), ("Validation", "valid"), ("TEST", "test"), ("testing", "test")],
)
def test_a_folder_may_bring_its_split(photo, tmp_path, folder, part):
    photo("photos/train/cat/1.png")
    photo(f"photos/{folder}/cat/2.png")
    assert sorted(row[1:] for row in listing(tmp_path / "photos")) == sorted(
        [("cat", "train"), ("cat", part)]
    )


def test_a_class_may_be_called_train(photo, tmp_path):
    for name in ("bus/1.png", "train/2.png", "test/3.png"):
        photo(f"vehicles/{name}")
    assert [row[1:] for row in listing(tmp_path / "vehicles")] == [
        ("bus", None),
        ("test", None),
        ("train", None),
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ("train/cat/1.png", "test/2.png"),
            "photos/ is split into test, train, but photos/test holds no class folders "
            "(move or rename it, or give data: {train: …, test: …})",
        ),
        (
            ("train/cat/1.png", "unlabelled/2.png"),
            "photos/ is split into train, but photos/unlabelled is neither valid nor test "
            "(move or rename it, or give data: {train: …, test: …})",
        ),
        (
            ("train/1.png", "test/2.png", "labels.csv"),
            "photos/ is split into test, train, but photos/test holds no class folders "
            '(move or rename it, or give data: {train: …, test: …}), did you mean "photos/labels.csv"?',
        ),
        (
            ("cat/1.png", "stray.png"),
            "photos/stray.png lies beside the class folders and has no label: "
            "move it into one of them, or remove it",
        ),
        (
            ("1.png", "2.png", "labels.csv"),
            'photos/ holds 2 images and no class folders, did you mean "photos/labels.csv"?; '
            "expected a folder per class, photos/<label>/<image>",
        ),
        (
            ("README.txt", "cat/notes.txt"),
            "photos/ holds no images (found: README.txt, cat); "
            "expected a folder per class, photos/<label>/<image>",
        ),
    ],
)
def test_layouts_that_cannot_be_read(photo, tmp_path, monkeypatch, files, message):
    for name in files:
        photo(f"photos/{name}.png").removesuffix(".png")
        os.rename(tmp_path / f"photos/{name}.png", tmp_path / f"photos/{name}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as raised:
        read_folder("photos")
    assert str(raised.value) == message


def test_an_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as raised:
        read_folder("photos")
    assert str(raised.value) == (
        "photos/ holds no images, it is empty; expected a folder per class, photos/<label>/<image>"
    )


def test_empty_class_folders_matter_where_one_trains(photo, tmp_path):
    photo("photos/train/cat/1.png")
    photo("photos/test/cat/2.png")
    (tmp_path / "photos/train/dog").mkdir()
    (tmp_path / "photos/test/cow").mkdir()
    assert read_folder(str(tmp_path / "photos")).empty == (str(tmp_path / "photos/train/dog"),)
