"""seccomp filters (Linux 3.17): deny system calls to all threads of this process.

A filter is a program of the classic BPF (`seccomp(2)`); the kernel runs it before each system call.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable

from transfer_core.sandbox.kernel import no_new_privileges, syscall
from transfer_core.sandbox.syscalls import REACH, SPECIAL, WRITE, architecture, present

_SET_MODE_FILTER, _ALL_THREADS = 1, 1

# AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64.
_AUDIT = (0xC000003E, 0xC00000B7)
_X32_BIT = 0x40000000

# Instructions: load a word of `seccomp_data`, jump if equal, if not less, if any bit is set; return.
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000

_CLONE_THREAD = 0x00010000
_UNNAMED_FILE = 0o20000000  # the bit of O_TMPFILE that is not O_DIRECTORY
_OPEN_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | _UNNAMED_FILE

Instruction = tuple[int, int, int, int]


def forbid_reach() -> None:
    """Deny sockets, programs, processes and signals to others; raises `OSError` if the kernel can't."""
    machine = _machine()
    special = present(SPECIAL, machine)
    _install(
        machine,
        [
            *_denied(present(REACH, machine).values()),
            *_denied([special["clone3"]], errno.ENOSYS),  # so that the C library takes `clone`
            *_denied_unless_any_bit(special["clone"], 0, _CLONE_THREAD),
            *_denied_unless_equal(special["tgkill"], 0, os.getpid()),
        ],
    )


def forbid_writing() -> None:
    """Deny to make, change or remove files, and other limits; raises `OSError` if the kernel can't."""
    machine = _machine()
    special = present(SPECIAL, machine)
    rules = [
        *_denied(present(WRITE, machine).values()),
        *_denied([special["openat2"]], errno.ENOSYS),  # its flags can't be read: the C library takes `openat`
        *_denied_if_any_bit(special["openat"], 2, _OPEN_TO_WRITE),
        *_denied_unless_zero(special["prlimit64"], 2),
    ]
    if "open" in special:
        rules += _denied_if_any_bit(special["open"], 1, _OPEN_TO_WRITE)
    _install(machine, rules)


def _machine() -> int:
    found = architecture()
    if found is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return found


def _install(machine: int, rules: list[Instruction]) -> None:
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, _AUDIT[machine]),
        _failure(errno.EPERM),
        (_LOAD, 0, 0, _NUMBER),
        (_IF_AT_LEAST, 0, 1, _X32_BIT),
        _failure(errno.ENOSYS),
        *rules,
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(buffer)))
    no_new_privileges()
    number = present(SPECIAL, machine)["seccomp"]
    if syscall(number, _SET_MODE_FILTER, _ALL_THREADS, header):
        raise OSError(errno.ESRCH, "a thread can't be confined")


def _failure(number: int) -> Instruction:
    return (_RETURN, 0, 0, _FAIL | number)


def _denied(numbers: Iterable[int], error: int = errno.EPERM) -> list[Instruction]:
    return [step for number in numbers for step in ((_IF_EQUAL, 0, 1, number), _failure(error))]


def _with_argument(number: int, tests: list[Instruction]) -> list[Instruction]:
    """Run `tests` for this system call, then reload its number for the next rules."""
    body = [*tests, (_LOAD, 0, 0, _NUMBER)]
    return [(_IF_EQUAL, 0, len(body), number), *body]


def _denied_if_any_bit(number: int, argument: int, bits: int) -> list[Instruction]:
    return _with_argument(number, [_load(argument), (_IF_ANY_BIT, 0, 1, bits), _failure(errno.EPERM)])


def _denied_unless_any_bit(number: int, argument: int, bits: int) -> list[Instruction]:
    return _with_argument(number, [_load(argument), (_IF_ANY_BIT, 1, 0, bits), _failure(errno.EPERM)])


def _denied_unless_equal(number: int, argument: int, value: int) -> list[Instruction]:
    return _with_argument(number, [_load(argument), (_IF_EQUAL, 1, 0, value), _failure(errno.EPERM)])


def _denied_unless_zero(number: int, argument: int) -> list[Instruction]:
    low, high = _load(argument), _load(argument, 4)
    zero = [(_IF_EQUAL, 1, 0, 0), _failure(errno.EPERM)]
    return _with_argument(number, [low, *zero, high, *zero])


def _load(argument: int, half: int = 0) -> Instruction:
    """Load the lower half of an argument, or the upper at byte 4; both architectures are little-endian."""
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * argument + half)
