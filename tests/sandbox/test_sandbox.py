"""Confinement of processes: each mechanism alone, both, and kernels that lack one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from transfer_core import doctor
from transfer_core.sandbox import landlock, syscalls
from transfer_core.sandbox.probe import ATTEMPTS, gaps

ALL = ["read files", "write files", "make files", "use the network", "start programs"]

needs_landlock = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
needs_seccomp = pytest.mark.skipif(
    sys.platform != "linux" or syscalls.architecture() is None, reason="no numbers of system calls"
)

# A kernel without a mechanism, as far as a process can see: the system call does not exist.
WITHOUT = """
import errno
from transfer_core.sandbox import seccomp, syscalls
from transfer_core.sandbox.landlock import CREATE_RULESET
machine = syscalls.architecture()
numbers = {"landlock": CREATE_RULESET, **syscalls.present(syscalls.SPECIAL, machine)}
seccomp._install(machine, seccomp._denied([numbers[name] for name in MISSING], errno.ENOSYS))
"""


def succeed_after(confinement, folder):
    """Names of the attempts that succeed in a new process that runs these statements first."""
    inside = folder / "inside"
    inside.write_text("content")
    script = f"""
from contextlib import suppress
from pathlib import Path
from transfer_core.sandbox import landlock, seccomp
from transfer_core.sandbox.confinement import _library_files, confine, freeze
from transfer_core.sandbox.probe import ATTEMPTS
{confinement}
for name, attempt in ATTEMPTS.items():
    with suppress(OSError):
        attempt(Path({str(inside)!r}))
        print(name)
"""
    return run(script).splitlines()


def run(script):
    variables = {**os.environ, "PYTHONPATH": str(Path(landlock.__file__).parents[2])}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=variables, capture_output=True, check=True, text=True).stdout


def test_unconfined_a_process_can_do_all_of_it(tmp_path):
    assert list(ATTEMPTS) == ALL
    assert succeed_after("", tmp_path) == ALL
    assert (tmp_path / "inside").read_text() == "changed"


@needs_landlock
@needs_seccomp
def test_confined_it_can_do_none_of_it(tmp_path):
    assert succeed_after("confine((), (), ()); freeze(1 << 30)", tmp_path) == []
    assert (tmp_path / "inside").read_text() == "content"
    assert gaps() == []
    check = doctor.check_sandbox()
    assert check.ok
    assert check.detail == f"a SavedModel without trust can't {', '.join(ALL)}"


@needs_landlock
def test_landlock_alone_keeps_it_from_files_and_programs(tmp_path):
    possible = succeed_after("landlock.restrict(_library_files(()), ())", tmp_path)
    assert possible == ["use the network"]  # a socket; it can't connect


@needs_seccomp
def test_seccomp_alone_keeps_it_from_all_but_reading(tmp_path):
    assert succeed_after("seccomp.forbid_reach(); seccomp.forbid_writing()", tmp_path) == ["read files"]


@needs_landlock
@needs_seccomp
@pytest.mark.parametrize(
    ("missing", "possible"),
    [
        (["landlock"], ["read files"]),
        (["seccomp"], ["use the network"]),
        (["landlock", "seccomp"], ALL),
    ],
)
def test_a_kernel_that_lacks_one_is_told(missing, possible):
    script = f"""
MISSING = {missing}
{WITHOUT}
from transfer_core import doctor
print(doctor.check_sandbox().detail)
"""
    note = f"this kernel lets it {', '.join(possible)}: only its list of operations prevents that"
    assert run(script).strip().rpartition("; ")[2] == note


@needs_landlock
@needs_seccomp
def test_what_is_allowed_still_works(tmp_path):
    readable, writable = tmp_path / "readable", tmp_path / "writable"
    readable.mkdir()
    (readable / "file").write_text("content")
    writable.write_text("content")
    script = f"""
import threading
from pathlib import Path
from transfer_core.sandbox.confinement import confine, freeze
confine(["numpy"], [Path({str(readable)!r})], [Path({str(writable)!r})])
import numpy
assert Path({str(readable)!r}, "file").read_text() == "content"
assert [path.name for path in Path({str(readable)!r}).iterdir()] == ["file"]
Path({str(writable)!r}).write_text("changed")
freeze(1 << 30)
thread = threading.Thread(target=print, args=("thread",))
thread.start()
thread.join()
try:
    Path({str(writable)!r}).write_text("again")
except OSError as error:
    print(type(error).__name__)
print(numpy.ones(3).sum(), len(list(Path({str(readable)!r}).iterdir())))
"""
    assert run(script).splitlines() == ["thread", "PermissionError", "3.0 1"]
    assert writable.read_text() == "changed"


def test_memory_is_limited():
    script = """
from transfer_core.sandbox.confinement import freeze
freeze(1 << 20)
try:
    bytearray(64 << 30)
except MemoryError:
    print("limited")
"""
    assert run(script) == "limited\n"


def test_a_process_with_threads_is_not_confined_in_part():
    script = """
import threading
from transfer_core.sandbox.confinement import confine
stop = threading.Event()
threading.Thread(target=stop.wait).start()
try:
    confine((), (), ())
except RuntimeError as error:
    print(error)
stop.set()
"""
    assert run(script) == "a process confines itself before it starts threads\n"


@pytest.mark.parametrize(
    ("place", "header"),
    [
        (0, "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        (1, "/usr/include/asm-generic/unistd.h"),  # which aarch64 uses
    ],
)
def test_the_numbers_are_those_of_the_kernel_s_headers(place, header):
    if not Path(header).exists():
        pytest.skip(f"no {header}")
    text = Path(header).read_text()
    found = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    for table in (syscalls.REACH, syscalls.WRITE, syscalls.SPECIAL):
        for name, numbers in table.items():
            # Headers may be older than a call.
            assert found.get(name, numbers[place]) == numbers[place], name
            assert (numbers[place] is None) == (name not in found) or numbers[place] >= 440, name
