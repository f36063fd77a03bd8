"""A failure to save leaves no trace, and a reader never sees half a model."""

import os
import stat
import subprocess
import sys
import threading

import msgspec
import numpy as np
import pytest

from saved_model import HEADER, message_of, only_file_in, same, tensors
from transfer_core.model_file import format as model_file
from transfer_core.model_file.format import read_header, read_model, write_model
from transfer_core.model_file.safetensors_writer import serialized
from transfer_core.runtime.atomic import UNFINISHED
from transfer_core.runtime.errors import ConfigurationError


def test_a_missing_folder_is_named(tmp_path):
    path = tmp_path / "no" / "m.transfer"
    assert message_of(ConfigurationError, write_model, path, tensors(), HEADER) == (
        f"can't save to {path}: there is no folder {tmp_path / 'no'}; make it first"
    )


def test_a_folder_is_not_overwritten(tmp_path):
    assert message_of(ConfigurationError, write_model, tmp_path, tensors(), HEADER) == (
        f"can't save to {tmp_path}: it is a folder; add the name of a file"
    )


def test_a_device_or_a_pipe_is_not_replaced(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert message_of(ConfigurationError, write_model, path, tensors(), HEADER) == (
        f"can't save to {path}: it is not a regular file"
    )
    assert path.is_fifo()


def test_a_name_that_is_too_long_is_refused(tmp_path):
    path = tmp_path / ("x" * 300)
    assert message_of(ConfigurationError, write_model, path, tensors(), HEADER) == (
        f"can't save to {path}: File name too long"
    )
    assert only_file_in(tmp_path) == []


IN_A_CHILD = """
import os, resource, sys
import numpy as np
from tests_header import HEADER
from transfer_core.runtime.errors import TransferError
from transfer_core.model_file.format import write_model
{limit}
try:
    write_model(sys.argv[1], {{"head.weight": np.zeros(1_000_000, np.float32)}}, HEADER)
except TransferError as error:
    print(type(error).__name__, error, sep=": ")
"""


def write_in_a_child(path, limit, scratch):
    """Save 4 MB from a process that is held back by `limit`; its one line of output."""
    (scratch / "tests_header.py").write_text(
        "import msgspec\nfrom transfer_core.model_file.format import ModelHeader\n"
        f"HEADER = msgspec.json.decode({msgspec.json.encode(HEADER)!r}, type=ModelHeader)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CHILD.format(limit=limit), str(path)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": f"python{os.pathsep}{scratch}"},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("scratch")


def test_a_disk_without_room_leaves_the_old_file(saved, scratch):
    before = saved.read_bytes()
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))"
    said = write_in_a_child(saved, limit, scratch)
    assert said == f"ConfigurationError: can't save to {saved}: File too large\n"
    assert saved.read_bytes() == before
    assert only_file_in(saved.parent) == ["signs.transfer"]


def test_a_folder_without_permission_is_named(tmp_path, scratch):
    # Permissions don't bind root, so the child becomes someone else.
    limit = "os.chmod(os.path.dirname(sys.argv[1]), 0o500); os.getuid() or os.setuid(65534)"
    path = tmp_path / "m.transfer"
    said = write_in_a_child(path, limit, scratch)
    tmp_path.chmod(0o700)
    assert said == f"ConfigurationError: can't save to {path}: Permission denied\n"
    assert only_file_in(tmp_path) == []


def test_an_unfinished_save_leaves_nothing(saved, monkeypatch):
    def interrupted(source, target):
        raise KeyboardInterrupt

    before = saved.read_bytes()
    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_model(saved, {}, HEADER)
    assert saved.read_bytes() == before
    assert only_file_in(saved.parent) == ["signs.transfer"]


def test_a_reader_sees_the_old_or_the_new_model_never_half_of_one(saved):
    models = [tensors() | {"head.big": np.full(50_000, n, np.float32)} for n in range(10)]
    writer = threading.Thread(target=lambda: [write_model(saved, model, HEADER) for model in models])
    writer.start()
    reads = 0
    while writer.is_alive():
        assert read_header(saved) == HEADER
        reads += 1
    writer.join()
    assert reads > 0
    same(read_model(saved)[1], models[-1])
    assert only_file_in(saved.parent) == ["signs.transfer"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_model(tmp_path / "m.transfer", {}, HEADER)
    finally:
        os.umask(before)
    assert (tmp_path / "m.transfer").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o400])
def test_a_file_that_is_replaced_keeps_its_permissions(saved, mode, monkeypatch):
    saved.chmod(mode)
    seen = []

    def spy(arrays, metadata):
        (unfinished,) = saved.parent.glob(UNFINISHED)
        seen.append(unfinished.stat().st_mode & 0o777)
        return serialized(arrays, metadata)

    monkeypatch.setattr(model_file, "serialized", spy)
    write_model(saved, {}, HEADER)
    assert saved.stat().st_mode & 0o777 == mode
    assert seen == [0o600]


def current_umask():
    os.umask(umask := os.umask(0o022))
    return umask


@pytest.mark.parametrize("target", ["thesis", "not there"])
def test_a_link_is_replaced_and_its_target_left_alone(tmp_path, target):
    (tmp_path / "thesis").write_text("300 pages")
    (tmp_path / "thesis").chmod(0o666)
    link = tmp_path / "m.transfer"
    link.symlink_to(tmp_path / target)
    write_model(link, {}, HEADER)
    assert not link.is_symlink()
    assert read_model(link)[1] == {}
    assert stat.S_IMODE(link.stat().st_mode) == 0o666 & ~current_umask()
    assert sorted(tmp_path.iterdir()) == [link, tmp_path / "thesis"]
    assert (tmp_path / "thesis").read_text() == "300 pages"


def test_a_link_to_a_device_is_refused(tmp_path):
    link = tmp_path / "m.transfer"
    link.symlink_to("/dev/null")
    assert message_of(ConfigurationError, write_model, link, {}, HEADER) == (
        f"can't save to {link}: it is not a regular file"
    )
    message_of(ConfigurationError, write_model, "/dev/stdout", {}, HEADER)
    assert os.path.islink("/dev/stdout")


def test_a_file_of_another_user_does_not_choose_the_permissions(tmp_path):
    if os.geteuid():
        pytest.skip("only root can make a file of another user")
    path = tmp_path / "m.transfer"
    path.write_text("planted")
    path.chmod(0o666)
    os.chown(path, 65534, 65534)
    write_model(path, {}, HEADER)
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (0, 0o666 & ~current_umask())


def test_a_link_in_place_of_the_temporary_file_is_not_followed(tmp_path, monkeypatch):
    thesis = tmp_path / "thesis"
    thesis.write_text("300 pages")

    def swap(*arguments):
        (unfinished,) = tmp_path.glob(UNFINISHED)
        unfinished.unlink()
        unfinished.symlink_to(thesis)
        return serialized(*arguments)

    monkeypatch.setattr(model_file, "serialized", swap)
    said = message_of(ConfigurationError, write_model, tmp_path / "m.transfer", {}, HEADER)
    assert "Too many levels of symbolic links" in said
    assert thesis.read_text() == "300 pages"
    assert sorted(only_file_in(tmp_path)) == ["thesis"]
