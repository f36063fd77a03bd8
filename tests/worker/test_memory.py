"""The worker keeps the memory of one batch for the next."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from transfer_core.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def faults_of_a_batch():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(64 * 2**20)
    del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults_of_a_batch()
print(faults_of_a_batch())
"""


def faults(mode: str) -> int:
    ran = subprocess.run([sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True, check=True)
    return int(ran.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_a_second_batch_of_the_same_size_costs_no_page_faults():
    assert faults("keep") < 100 < 1000 < faults("as it is")


KEPT = """
import threading
from transfer_core.allocator import giving_memory_back, keep_freed_memory
from transfer_core.worker.process import resident_memory
keep_freed_memory()
def train():
    blocks = [bytearray(200_000) for _ in range(2000)]
    blocks.clear()
before = resident_memory()
def in_a_thread():
    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
in_a_thread()
kept = resident_memory() - before
with giving_memory_back():
    in_a_thread()
print(kept // 2**20, (resident_memory() - before) // 2**20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has malloc_trim")
def test_after_a_training_the_system_gets_its_memory_back() -> None:
    ran = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=True)
    kept, left = map(int, ran.stdout.split())
    assert left < kept / 2  # each arena keeps up to 64 MiB
