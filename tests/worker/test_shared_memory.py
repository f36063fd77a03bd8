"""Blocks of shared memory: who may use which, and what is refused."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from transfer_core.runtime.errors import ProtocolError
from transfer_core.worker.shared_memory import LARGEST_INLINE, Arena, SharedMemory, adopt_shared_memory
from transfer_core.worker.tensors import Tensor, TensorBlock
from worker.client import FAKE_WORKER, Client, environment


@pytest.fixture
def file() -> Iterator[int]:
    descriptor = os.memfd_create("test")
    yield descriptor
    os.close(descriptor)


def free(file: int, offset: int) -> None:
    os.pwrite(file, bytes(8), offset)


def put(file: int, offset: int, content: bytes, says: int | None = None) -> None:
    os.pwrite(file, struct.pack("<Q", len(content) if says is None else says), offset)
    os.pwrite(file, content, offset + 64)


def block(content: bytes) -> memoryview:
    return memoryview(content)


def test_a_block_says_its_size_and_holds_the_bytes(file: int) -> None:
    offset = Arena(file).write(block(b"numbers"))
    assert os.pread(file, 8, offset) == struct.pack("<Q", 7)
    assert os.pread(file, 7, offset + 64) == b"numbers"


def test_a_block_is_used_again_only_when_it_is_free(file: int) -> None:
    arena = Arena(file)
    first, second = arena.write(block(b"a" * 100)), arena.write(block(b"b" * 100))
    assert first != second
    free(file, first)
    assert arena.write(block(b"c")) == first
    assert os.pread(file, 100, second + 64) == b"b" * 100


def test_free_neighbours_become_one_block_and_a_free_end_grows(file: int) -> None:
    arena = Arena(file)
    offsets = [arena.write(block(b"x" * 60_000)) for _ in range(3)]
    size = os.fstat(file).st_size
    for offset in offsets[:2]:
        free(file, offset)
    assert arena.write(block(b"y" * 120_000)) == offsets[0]
    assert os.fstat(file).st_size == size
    free(file, offsets[2])
    assert arena.write(block(b"z" * 1_000_000)) == offsets[2]
    assert os.fstat(file).st_size == offsets[2] + 16 * 65536


def test_what_is_left_of_a_larger_block_is_free(file: int) -> None:
    arena = Arena(file)
    large = arena.write(block(b"x" * 1_000_000))
    size = os.fstat(file).st_size
    for _ in range(3):
        free(file, large)
        assert arena.write(block(b"y" * 300_000)) == large
        free(file, large)
        assert arena.write(block(b"z" * 1_000_000)) == large
    assert os.fstat(file).st_size == size


def test_blocks_never_overlap(file: int) -> None:
    random = np.random.default_rng(0)
    arena, held = Arena(file), {}
    for step in range(500):
        content = random.bytes(int(random.integers(1, 300_000)))
        held[arena.write(block(content))] = content
        for offset in list(held):
            if random.random() < 0.4:
                assert os.pread(file, len(held[offset]), offset + 64) == held.pop(offset), step
                free(file, offset)
    assert os.fstat(file).st_size < 10_000_000


def test_only_big_arrays_are_lent(file: int) -> None:
    memory = SharedMemory(-1, file)
    small = np.zeros(LARGEST_INLINE, np.uint8)
    assert memory.share(small) is small
    assert memory.share("text") == "text"
    half = np.zeros(LARGEST_INLINE, np.float16)
    assert memory.share(half) is half  # and is then refused as any other array of its kind
    big = np.arange(LARGEST_INLINE, dtype=">f4").reshape(2, -1)[:, ::-1]
    lent = memory.share(big)
    assert lent == TensorBlock("float32", big.shape, 0)
    np.testing.assert_array_equal(
        np.frombuffer(os.pread(file, big.nbytes, 64), "<f4").reshape(big.shape), big
    )


def test_what_is_received_is_a_copy_and_the_block_is_free(file: int) -> None:
    put(file, 65536, struct.pack("<2f", 1, 2.5))
    tensor = SharedMemory(file, -1).receive(TensorBlock("float32", (2,), 65536))
    assert os.pread(file, 8, 65536) == bytes(8)
    put(file, 65536, bytes(8))
    array = tensor.to_numpy()
    np.testing.assert_array_equal(array, [1, 2.5])
    array[0] = 7  # torch wants arrays that can be written
    assert SharedMemory(file, -1).receive("text") == "text"


@pytest.mark.parametrize(
    ("tensor", "error"),
    [
        (TensorBlock("uint8", (3,), 0), "the block at 0 holds 2 bytes, expected 3"),
        (TensorBlock("uint8", (2,), 128), "the block at 128 holds 0 bytes, expected 2"),
        (TensorBlock("uint8", (2**62,), 0), "a block of 4611686018427387904 bytes at 0 ends beyond its file"),
        (TensorBlock("uint8", (2,), 65536), "a block of 2 bytes at 65536 ends beyond its file"),
        (TensorBlock("uint8", (2,), 2**62), f"a block of 2 bytes at {2**62} ends beyond its file"),
    ],
)
def test_a_block_that_is_not_there_is_refused(file: int, tensor: TensorBlock, error: str) -> None:
    os.ftruncate(file, 65536)
    put(file, 0, b"ab")
    with pytest.raises(ProtocolError) as raised:
        SharedMemory(file, -1).receive(tensor)
    assert str(raised.value) == error


@pytest.mark.parametrize("forbidden", [fcntl.F_SEAL_GROW, fcntl.F_SEAL_WRITE])
def test_no_room_is_no_memory(forbidden: int) -> None:
    file = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    if forbidden == fcntl.F_SEAL_WRITE:
        os.ftruncate(file, 65536)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, forbidden)
    with pytest.raises(MemoryError, match=r"^no room to share 1 bytes with Ruby: Operation not permitted$"):
        Arena(file).write(block(b"a"))
    os.close(file)


def test_inherited_files_are_moved_out_of_reach(file: int) -> None:
    its, ours = os.dup(file), os.dup(file)
    memory = adopt_shared_memory(its, ours)
    for descriptor in (its, ours):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
    taken = memory._its, memory._ours._file
    assert min(taken) >= 64
    assert not any(os.get_inheritable(descriptor) for descriptor in taken)
    for descriptor in taken:
        os.close(descriptor)


def test_without_shared_memory_arrays_take_the_way_of_the_socket(worker: Client) -> None:
    answer = worker.call("count_up", count=200_000)
    assert answer.code == 1
    assert Tensor("float64", (200_000,), answer.data[-1_600_000:]).to_numpy()[-1] == 199_999


def test_a_worker_whose_files_are_not_open_explains_itself() -> None:
    ours, its = socket.socketpair()
    with ours, its:
        done = subprocess.run(
            [sys.executable, *FAKE_WORKER, "--fd", str(its.fileno()), "--memory", "998,999"],
            pass_fds=[its.fileno()],
            capture_output=True,
            text=True,
            env=environment(),
        )
    assert done.returncode == 2
    assert "descriptors [998, 999] are not open files (Bad file descriptor)" in done.stderr
