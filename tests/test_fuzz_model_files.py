"""A few hundred model files with anything in them, under right digests; more in `bin/campaign models`."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

CASES = 250


def test_a_model_file_with_anything_in_it_predicts_finite_numbers_or_is_refused(tmp_path):
    """In a process of its own, as a case that takes too much is killed (SIGXCPU) or gets no memory."""
    done = subprocess.run(
        [sys.executable, "tests/fuzz_model_files.py", str(CASES), "0"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": f"python{os.pathsep}tests"},
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    seen = json.loads(done.stdout)
    assert sum(seen.values()) == CASES
    for kind in ("field", "tensor", "both"):  # of each some are usable, and most are not
        assert seen[f"{kind}: ModelFileError"] > 0
        assert seen[f"{kind}: predicts"] > 0
    assert seen["container: ModelFileError"] > 20
    assert {what for what in seen if what.startswith("double")} == {"double: ModelFileError"}
