"""A file that another process cuts short while it is read is an error at most: the reader lives on."""

import json
import os
import random
import resource
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from saved_model import HEADER
from transfer_core.model_file.format import write_model
from transfer_core.runs.checkpoint_file import Position, write_checkpoint
from transfer_core.training.checkpointer import Snapshot

TENSORS = {f"head.{number}": np.full(200_000, number, np.float32) for number in range(4)}

# Reads until it has seen the whole file and the cut one several times each; then prints how often.
READER = """
import json, sys
from pathlib import Path
{imports}
path = Path(sys.argv[1])
seen = {{"whole": 0, "cut": 0}}
print("ready", flush=True)
while min(seen.values()) < 5:
    try:
        seen["whole" if {read} else "cut"] += 1
    except {error}:
        seen["cut"] += 1
print(json.dumps(seen))
"""

WEIGHTS = {
    "imports": "import torch\nfrom transfer_core.backbones.weights_reader import read_tensors\n"
    "from transfer_core.runtime.errors import ModelFileError",
    "read": "sum(map(torch.sum, read_tensors(path).values()))",
    "error": "ModelFileError",
}
READERS = {
    "model": {
        "imports": "from transfer_core.model_file.format import read_model\n"
        "from transfer_core.runtime.errors import ModelFileError",
        "read": "len(read_model(path)[1]) == 4",
        "error": "ModelFileError",
    },
    "checkpoint": {
        "imports": "from transfer_core.runs.checkpoint_file import read_checkpoint, Damaged",
        "read": "len(read_checkpoint(path)[1].tensors) == 4",
        "error": "Damaged",
    },
    "weights.safetensors": WEIGHTS,
    "weights.pth": WEIGHTS,
}


def written(kind, folder):
    path = folder / kind
    if kind == "model":
        write_model(path, TENSORS, HEADER)
    elif kind == "checkpoint":
        position = Position(phase=0, step="train", epoch=1, epochs=2, history=[], warnings=[])
        write_checkpoint(path, position, Snapshot(TENSORS, {}))
    elif kind == "weights.safetensors":
        save_file(TENSORS, path)
    else:
        torch.save({name: torch.from_numpy(array) for name, array in TENSORS.items()}, path)
    return path


def limit_work():
    resource.setrlimit(resource.RLIMIT_CPU, (120, 120))


@pytest.mark.parametrize("kind", READERS)
def test_a_reader_survives_that_its_file_is_cut_short(kind, tmp_path):
    path = written(kind, tmp_path)
    rng = random.Random(0)
    content, middle = path.read_bytes(), path.stat().st_size // 2
    reader = subprocess.Popen(
        [sys.executable, "-c", READER.format(**READERS[kind]), str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": "python"},
        preexec_fn=limit_work,
    )
    try:
        assert reader.stdout.readline() == "ready\n", reader.stderr.read()
        with path.open("r+b") as file:
            while reader.poll() is None:
                file.truncate(middle)
                time.sleep(rng.uniform(0, 0.005))
                file.seek(middle)
                file.write(content[middle:])
                file.flush()
                time.sleep(rng.uniform(0, 0.02))
    finally:
        reader.kill()
        said, errors = reader.communicate()
    assert reader.returncode == 0, errors
    assert min(json.loads(said).values()) >= 5
