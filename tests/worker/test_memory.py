"""The worker keeps the memory of one batch for the next."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from transfer_core.worker.process import keep_freed_memory
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
