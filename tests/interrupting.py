"""Trainings in other processes that are killed, and a comparison of the models that they leave."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np

from transfer_core.model_file.format import read_model


class Process:
    """`interrupted.py`, which runs one job after the other."""

    def __init__(self):
        path = Path(__file__).with_name("interrupted.py")
        self._process = subprocess.Popen(
            [sys.executable, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, home, **job):
        """The exit status and what the job left."""
        result = Path(home) / "result.json"
        result.unlink(missing_ok=True)
        self._process.stdin.write(json.dumps({"home": str(home), "result": str(result), **job}) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        return status, json.loads(result.read_text()) if result.exists() else None

    def end(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)


def same(first, second):
    """Whether two models are, to the last bit, the same; their trainings took different times."""
    (header, tensors, _), (other_header, other_tensors, _) = read_model(first), read_model(second)
    headers = [msgspec.structs.replace(each, created_at="", seconds={}) for each in (header, other_header)]
    for field in headers[0].__struct_fields__:
        assert getattr(headers[0], field) == getattr(headers[1], field), field
    assert tensors.keys() == other_tensors.keys()
    return [name for name in tensors if not np.array_equal(tensors[name], other_tensors[name])] == []
