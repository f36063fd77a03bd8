"""The folder of one call, and what a killed process leaves of it."""

import os
import signal
import subprocess
import sys

import pytest

from transfer_core.runtime.temp_dir import spool_folder

HOLDING = """
import sys
from transfer_core.runtime.temp_dir import spool_folder
with spool_folder() as folder:
    (folder / "ab").mkdir()
    (folder / "ab" / "image").write_bytes(b"x")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def other(temporary):
    """A process that holds a folder."""
    environment = {**os.environ, "PYTHONPATH": "python", "TMPDIR": str(temporary)}
    command = [sys.executable, "-c", HOLDING]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        process.folder = process.stdout.readline().decode().strip()
        yield process


def test_it_is_private_and_goes_with_the_block(temporary):
    with spool_folder() as folder:
        assert folder.parent == temporary
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "image").write_bytes(b"x")
    assert list(temporary.iterdir()) == []


def test_it_goes_when_the_block_fails(temporary):
    with pytest.raises(KeyError), spool_folder():
        raise KeyError
    assert list(temporary.iterdir()) == []


def test_those_in_use_stay(other):
    with spool_folder() as first, spool_folder() as second:
        assert first.is_dir()
        assert second.is_dir()
        assert os.path.exists(f"{other.folder}/ab/image")


def test_the_folder_of_a_killed_process_is_removed(temporary, other):
    other.send_signal(signal.SIGKILL)
    other.wait(10)
    assert os.path.exists(other.folder)
    with spool_folder() as folder:
        assert list(temporary.iterdir()) == [folder]


def test_what_only_looks_like_one_stays(temporary):
    lock = ".transfer-spool.lock"
    for name in ("transfer-thesis", "transfer-spool-notes", "transfer-spool-shared", "elsewhere"):
        (temporary / name).mkdir(0o700)
    (temporary / "transfer-thesis" / "lock").touch()
    (temporary / "transfer-spool-shared" / lock).touch()
    (temporary / "transfer-spool-shared").chmod(0o755)
    (temporary / "elsewhere" / lock).touch()
    (temporary / "transfer-spool-link").symlink_to(temporary / "elsewhere")
    before = sorted(temporary.rglob("*"))
    with spool_folder():
        pass
    assert sorted(temporary.rglob("*")) == before
