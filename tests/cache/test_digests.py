"""The memo of files' digests: what did not change is not read again, what did is never taken for the same."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import time

import pytest

from transfer_core.cache import digests
from transfer_core.cache.digests import Seen, known_digests, remember, stamp_of
from transfer_core.runtime import paths


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(b"before")
    remember([seen(path, "d" * 64)])
    return path


def seen(path, digest):
    return Seen(str(path), stamp_of(os.stat(path)), digest)


def digests_of(known):
    return {path: found.digest for path, found in known.items()}


def known(*files):
    return digests_of(known_digests([str(file) for file in files]))


def test_an_unchanged_file_is_known(file, tmp_path):
    assert known(file, tmp_path / "other.png") == {str(file): "d" * 64}
    assert known() == {}


def test_nothing_is_made_when_nothing_is_known(home):
    assert known("a.png") == {}
    remember([])
    assert not home.exists()


def test_a_relative_path_is_the_absolute_one(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert known("photo.png") == {"photo.png": "d" * 64}
    monkeypatch.chdir("/")
    assert known("photo.png") == {}


def longer(path):
    path.write_bytes(b"before and after")


def same_size(path):
    path.write_bytes(b"after!")


def same_size_and_time(path):
    before = os.stat(path)
    with open(path, "r+b") as file:
        file.write(b"after!")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def another_file_of_the_same_time(path):
    before = os.stat(path)
    other = path.with_name("other")
    other.write_bytes(b"after!")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def a_link_to_elsewhere(path):
    path.rename(path.with_name("moved"))
    path.with_name("other").write_bytes(b"after!")
    path.symlink_to(path.with_name("other"))


def gone(path):
    path.unlink()


@pytest.mark.parametrize(
    "change",
    [longer, same_size, same_size_and_time, another_file_of_the_same_time, a_link_to_elsewhere, gone],
)
def test_a_file_that_changed_is_not_known(file, change):
    time.sleep(0.02)  # a tick of the file system's clock
    change(file)
    assert known(file) == {}


def test_what_is_remembered_again_replaces(file):
    same_size(file)
    remember([seen(file, "e" * 64)])
    assert known(file) == {str(file): "e" * 64}


def test_a_file_that_changed_just_now_is_not_settled(file):
    status = os.stat(file)
    assert not digests.is_settled(status)
    old = time.time_ns() - 3 * 10**9
    assert digests.is_settled(as_of(status, old, old))
    # The time of a change of the content can be set back, that of the file's entry can't.
    os.utime(file, ns=(old, old))
    assert not digests.is_settled(os.stat(file))


def as_of(status, mtime_ns, ctime_ns):
    return os.stat_result(status, {"st_mtime_ns": mtime_ns, "st_ctime_ns": ctime_ns})


def test_an_mtime_in_the_future_is_settled_if_the_ctime_is_old(file):
    status, now = os.stat(file), time.time_ns()
    old, soon, tomorrow = now - 3 * 10**9, now + 10**9, now + 86400 * 10**9
    assert digests.is_settled(as_of(status, tomorrow, old))
    assert not digests.is_settled(as_of(status, soon, old))
    assert not digests.is_settled(as_of(status, tomorrow, now))
    # Where the ctime is but the mtime, or nothing, it tells no more than that.
    assert not digests.is_settled(as_of(status, tomorrow, tomorrow))
    assert not digests.is_settled(as_of(status, now, 0))


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE files SET digest = replace(digest, 'd', 'e')",
        "UPDATE files SET checksum = 'none'",
        "UPDATE files SET digest = x'00ff'",
        "UPDATE files SET stamp = CAST(x'ff' AS TEXT)",
        "DROP TABLE files",
        "ALTER TABLE files RENAME COLUMN stamp TO mark",
    ],
)
def test_a_row_that_was_altered_is_not_known_and_can_be_stored_anew(file, damage):
    with contextlib.closing(sqlite3.connect(paths.cache() / "digests.sqlite")) as db, db:
        db.execute(damage)
    assert known(file) == {}
    remember([seen(file, "f" * 64)])
    assert known(file) == {str(file): "f" * 64}


def test_damage_is_never_a_wrong_digest(file):
    place = paths.cache() / "digests.sqlite"
    whole = place.read_bytes()
    for byte in range(0, len(whole), 131):
        for suffix in ("-wal", "-shm"):
            place.with_name(f"digests.sqlite{suffix}").unlink(missing_ok=True)
        place.write_bytes(whole[:byte] + bytes([whole[byte] ^ 0x5A]) + whole[byte + 1 :])
        assert known(file) in ({}, {str(file): "d" * 64})


def test_a_memo_that_can_not_be_used(file):
    place = paths.cache() / "digests.sqlite"
    place.unlink()
    place.mkdir()
    remember([seen(file, "d" * 64)])
    assert known(file) == {}


def test_a_folder_that_may_not_be_entered(home, tmp_path):
    """What the user's own folder is to nobody, or another's to the user."""
    script = """
import os
from transfer_core.cache.digests import Seen, known_digests, remember
if os.getuid() == 0:
    os.setuid(65534)
remember([Seen("/a.png", "stamp", "digest")])
print(known_digests(["/a.png"]))
"""
    (home / "cache").mkdir(parents=True)
    (home / "cache").chmod(0)
    try:
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    finally:
        (home / "cache").chmod(0o755)
    assert (ran.stdout, ran.stderr) == ("{}\n", "")


def test_names_that_are_no_text(file):
    odd = str(file) + "\udce9"
    remember([Seen(odd, "stamp", "e" * 64)])
    assert digests_of(known_digests([odd, "nul\0", str(file)])) == {str(file): "d" * 64}


def test_a_working_directory_whose_name_is_no_text(file, tmp_path, monkeypatch):
    try:
        os.mkdir(tmp_path / "caf\udce9")
    except OSError:
        pytest.skip("the file system keeps names as text")
    monkeypatch.chdir(tmp_path / "caf\udce9")
    remember([Seen("photo.png", "stamp", "e" * 64)])
    assert known("photo.png", file) == {str(file): "d" * 64}


def test_the_oldest_make_room(tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "MOST", 10)
    files = [tmp_path / f"{number}.png" for number in range(25)]
    for path in files:
        path.touch()
        remember([seen(path, "d" * 64)])
    assert list(known(*files)) == [str(path) for path in files[-10:]]
