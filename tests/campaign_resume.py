"""Kills a training at random moments, some fifty times, and compares what comes of it in the end.

    PYTHONPATH=python:tests python tests/campaign_resume.py [KILLS] [SEED]

Several trainings, each killed and resumed until it ends; embeddings are computed anew for each. Prints
where the kills struck, and ends with status 1 if one bit of one model differs.
"""

import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from photos import class_folder
from test_resume import STEPS, Process
from transfer_core import runs
from transfer_core.model_file.format import read_model
from transfer_core.runtime import paths


def words_for(folder):
    return {
        "data": class_folder(folder / "photos", per_class=6),
        "backbone": "mobilenet_v2",
        "augment": ["flip"],
        "head": {"type": "linear", "dropout": 0.3},
        "steps": STEPS,
        "split": {"test": 0.2, "valid": 0.2},
    }


def reached(home):
    """Where the only run of a home is, in words."""
    paths.runs = lambda: home / "runs"
    [run] = runs.resumable() or [{"step": "the end", "epoch": None}]
    return f"{run['step']} {run['epoch']}" if run["step"] else "no epoch yet"


def survive(process, home, words, length, rng):
    """Train in `home` through any number of kills; yields where each of them struck, then the model."""
    job = {"words": words}
    while True:
        status, result = process(home, die={"after": rng.uniform(0, length)}, **job)
        if status == 0:
            yield result["model"]
            return
        assert status == -9, f"ended with status {status}"
        started = list((home / "runs").glob("*/run.json")) + list((home / "runs").glob("*/model.transfer"))
        if started:
            job = {"run": started[0].parent.name}
        yield reached(home) if started else "before it had a folder"


def different(model, expected):
    """What of a model is not as expected, to the last bit."""
    (header, tensors, _), (other_header, other_tensors, _) = read_model(model), read_model(expected)
    fields = [name for name in header.__struct_fields__ if name != "created_at"]
    said = [(name, getattr(header, name), getattr(other_header, name)) for name in fields]
    return [f"{name} {ours!r}, not {theirs!r}" for name, ours, theirs in said if ours != theirs] + [
        f"tensor {name}"
        for name in tensors.keys() | other_tensors.keys()
        if not np.array_equal(tensors.get(name), other_tensors.get(name))
    ]


def main(kills=50, seed=0):
    rng, process = random.Random(seed), Process()
    struck, models = Counter(), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = words_for(folder)
        began = time.monotonic()
        status, result = process(make(folder / "uninterrupted"), words=words)
        length, uninterrupted = time.monotonic() - began, result["model"]
        assert status == 0
        print(f"uninterrupted: {length:.1f} s")
        while struck.total() < kills:
            home = make(folder / f"home{models}")
            (home / "cache").mkdir()
            shutil.copy(folder / "uninterrupted/cache/measurements.json", home / "cache")
            *places, model = survive(process, home, words, length, rng)
            struck.update(places)
            models += 1
            others = different(model, uninterrupted)
            print(f"model {models}: {len(places)} kills, {'OTHER ' if others else 'the same'}", end="")
            print(*others, *(["after", *places] if others else []), sep="; ", flush=True)
            if others:
                return 1
        process.end()
    print(f"{struck.total()} kills, {models} models, all the same; struck at:")
    for place, times in sorted(struck.items()):
        print(f"  {times:3}  {place}")
    return 0


def make(folder):
    folder.mkdir()
    return folder


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
