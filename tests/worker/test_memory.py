"""The worker keeps the memory of one batch for the next."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from transfer_core.runtime.allocator import keep_freed_memory
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
from concurrent.futures import ThreadPoolExecutor
from transfer_core.runtime.allocator import releasing_memory, keep_freed_memory
keep_freed_memory()
def resident():  # exactly: statm is some hundred pages for each core behind
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Rss:")) // 1024
def train():
    blocks = [bytearray(200_000) for _ in range(2000)]
    blocks.clear()
with ThreadPoolExecutor(1) as lane:
    before = resident()
    lane.submit(train).result()
    kept = resident() - before
    with releasing_memory():
        lane.submit(train).result()
    print(kept, resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has malloc_trim")
def test_after_a_training_the_system_gets_its_memory_back() -> None:
    ran = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=True)
    kept, left = map(int, ran.stdout.split())
    assert left < kept / 2  # each arena keeps up to 64 MiB
