"""The example of docs/reference/python.md runs as it stands."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent


def test_the_example_runs(tmp_path):
    for name, color in (("red", (200, 30, 30)), ("blue", (30, 30, 200))):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for shade in range(6):
            part = tuple(value + shade * 5 for value in color)
            Image.new("RGB", (32, 32), part).save(tmp_path / "photos" / name / f"{shade}.png")
    shutil.copy(tmp_path / "photos" / "red" / "0.png", tmp_path / "new.png")
    page = (ROOT / "docs/reference/python.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "TRANSFER_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", example]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stderr
    *warnings, prediction, accuracy = ran.stdout.splitlines()
    assert any("fewer" in warning or "measured" in warning for warning in warnings)
    label, score = prediction.split()
    assert label == "red"
    assert 0.5 < float(score) <= 1
    assert float(accuracy) == 1
