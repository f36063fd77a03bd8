"""Run the Python examples with little data."""

import os
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def example(name, *arguments):
    environment = {**os.environ, "PYTHONPATH": "python"}
    command = [sys.executable, f"examples/{name}", *arguments]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_multi_label():
    output = example("multi_label.py", "160")
    assert output.startswith("10 labels, {'train': 102, 'valid': 18, 'test': 40}\n")
    ours = float(re.search(r"^mean average precision (\S+)", output, re.M)[1])
    baseline, plain, standardised = (float(line.split()[-1]) for line in output.splitlines()[2:5])
    assert ours > 2 * baseline
    # 40 sheets with some eight of each label: within two standard deviations of the difference.
    assert abs(ours - max(plain, standardised)) < 0.08
