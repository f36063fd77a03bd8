"""The quickstart's photos, from nothing to a measured model: ours beside everybody else."""

from __future__ import annotations

import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import environment, photos, training
from benchmarks.environment import WEIGHTS, peer, torch_home
from benchmarks.machine import has_fast_bfloat16
from benchmarks.part import Measured, Options
from benchmarks.process import Command, alternate, fresh, median
from benchmarks.table import Section, Table, Target, percent, seconds, times

OURS, FLOOR = "transfer-rb, from Ruby", "floor: one script, bare torch"
TUTORIAL, KERAS, FASTAI = "PyTorch's tutorial loop", "Keras on torch", "fastai, frozen"
SKLEARN = "scikit-learn on eager features"
KNOWN, ENGINE = "transfer-rb, known backbone", "floor without torch: OpenVINO, converted before"
QUICK = (OURS, KNOWN, FLOOR, ENGINE)
WANTED = {TUTORIAL: 20.0, KERAS: 20.0, FASTAI: 20.0}


def measure(options: Options) -> Measured:
    """Every rival on every seed's split; those that take seconds `runs` times."""
    splits = {seed: photos.split(seed, 60 if options.quick else None) for seed in options.seeds}
    precision = floor_precision(splits[options.seeds[0]], options)
    found: dict[str, list[Any]] = {}
    for seed, folder in splits.items():
        rivals = commands(folder, options.count(5, 1), precision)
        runs = {name: options.runs if name in QUICK else options.slow_runs for name in rivals}
        for name, some in alternate(rivals, runs, options.say).items():
            found.setdefault(name, []).extend({"seed": seed, **run.plain()} for run in some)
    return {"runs": found, "floor_precision": precision, "epochs": options.count(5, 1)}


def commands(folder: Path, epochs: int, precision: str) -> dict[str, Command]:
    """How each is run; all of them read the same files."""
    return {
        OURS: training.command({"data": training.folders(folder)}),
        KNOWN: known(folder),
        FLOOR: floor(folder, precision),
        ENGINE: fresh(peer("engine_floor.py", folder, graph())),
        SKLEARN: fresh(peer("sklearn_features.py", folder)),
        TUTORIAL: fresh(peer("tutorial_loop.py", folder, "--epochs", str(epochs))),
        KERAS: fresh(peer("keras_guide.py", folder, str(epochs))),
        FASTAI: fresh(peer("fastai_learner.py", folder, "frozen", str(epochs))),
    }


def floor(folder: Path, precision: str) -> Command:
    """The floor on a folder with `train/` and `test/`."""
    return fresh(peer("floor.py", folder, torch_home() / "hub" / "checkpoints" / WEIGHTS, precision))


def known(folder: Path) -> Command:
    """Ours in a home that has seen the backbone, but none of the photos."""

    def command(home: Path) -> tuple[Sequence[str], Mapping[str, str]]:
        shutil.copytree(prepared_home(), home, dirs_exist_ok=True)
        return training.command({"data": training.folders(folder)})(home)

    return command


@cache
def prepared_home() -> Path:
    """A home after a training on noise: engine, graph and plan of the backbone are known."""
    root = environment.cache() / "known"
    shutil.rmtree(root, ignore_errors=True)
    rng = np.random.default_rng(0)
    for number in range(24):
        photo = root / "noise" / "ab"[number % 2] / f"{number}.png"
        photo.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)).save(photo)
    (root / "home").mkdir()
    argv, variables = training.command({"data": str(root / "noise")})(root / "home")
    subprocess.run(argv, env=variables, cwd=environment.ROOT, check=True, capture_output=True)
    return root / "home"


@cache
def graph() -> Path:
    """The backbone as an ONNX file that takes uint8 pixels."""
    from transfer_core import backbones
    from transfer_core.backbones.graph import onnx_graph

    path = environment.cache() / "mobilenet_v2.onnx"
    path.write_bytes(onnx_graph(backbones.load("mobilenet_v2"), from_levels=True))
    return path


def floor_precision(folder: Path, options: Options) -> str:
    """The faster one for the floor, found out beforehand so that it does not pay for the choice."""
    if not has_fast_bfloat16():
        return "float32"
    both = {precision: floor(folder, precision) for precision in ("float32", "bfloat16")}
    timed = alternate(both, dict.fromkeys(both, 2), lambda line: options.say(f"floor in {line}"))
    return min(timed, key=lambda name: min(run.wall_s for run in timed[name]))


def report(measured: Measured) -> Section:
    """Whole processes beside each other, and where ours spends its time."""
    good: dict[str, list[Any]] = {name: [] for name in (*QUICK, *WANTED)}
    good |= {name: [run for run in runs if not run["problem"]] for name, runs in measured["runs"].items()}
    ours = good[OURS]
    targets = [_faster(name, wanted, good[KNOWN], good[name]) for name, wanted in WANTED.items()]
    targets += [_as_right(name, ours, good[name]) for name in WANTED]
    for name, floor_name, wanted in ((OURS, FLOOR, 1.1), (KNOWN, ENGINE, 1.3)):
        ratio = _ratio(good[name], good[floor_name])
        targets.append(Target(f"{name} over {floor_name}", ratio, wanted, at_least=False))
    tables = [_rivals(measured["runs"], ours)]
    if ours:
        tables.append(_shares(ours))
    return Section(
        title="The main job",
        text=(
            "Cold, from exec to exit: imports, decoding, training, measuring on the held-out fifth. "
            f"Loops run {measured['epochs']} epochs. The floor computes in {measured['floor_precision']}. "
            "Peak memory is that of the process; for ours Ruby and Python together.",
        ),
        tables=tuple(tables),
        targets=tuple(targets),
    )


def _rivals(runs: dict[str, list[Any]], ours: list[Any]) -> Table:
    rows = []
    for name, all_of_it in runs.items():
        good = [run for run in all_of_it if not run["problem"]]
        if not good:
            rows.append((name, f"did not run: {all_of_it[-1]['problem']}", "", "", "", ""))
            continue
        cells = (
            seconds([run["wall_s"] for run in good]),
            "" if good is ours or name == OURS else times(_ratio(good, ours)),
            f"{median(good, 'cpu_s'):.1f} s",
            f"{median(good, 'peak_mb'):.0f} MB",
            percent(_accuracy(good)),
        )
        rows.append((name, *cells))
    return Table(("", "whole process", "ours is faster", "CPU time", "peak memory", "accuracy"), tuple(rows))


def _shares(ours: list[Any]) -> Table:
    """The run of median length, from exec to exit."""
    run = sorted(ours, key=lambda run: run["wall_s"])[len(ours) // 2]
    (told,) = training.trainings(run)
    spent = {
        "start Ruby and Python, import": told["stages"][0]["at"] - run["started"],
        **training.stage_s(told),
        "end both": run["started"] + run["wall_s"] - told["ended"],
    }
    rows = tuple((step, f"{s:.2f} s", percent(s / run["wall_s"])) for step, s in spent.items())
    return Table(("step", "time", "share"), rows, title="Where ours spends its time")


def _accuracy(runs: list[Any]) -> float | None:
    """The mean over the seeds' splits; runs of one split don't count twice."""
    by_seed = {run["seed"]: _right(run) for run in runs}
    return statistics.mean(by_seed.values()) if by_seed else None


def _right(run: Any) -> float:
    told = training.trainings(run)
    return float(told[0]["accuracy"] if told else run["said"]["accuracy"])


def _ratio(slow: list[Any], fast: list[Any]) -> float | None:
    if not slow or not fast:
        return None
    return median(slow, "wall_s") / median(fast, "wall_s")


def _faster(name: str, wanted: float, ours: list[Any], theirs: list[Any]) -> Target:
    return Target(f"known backbone: faster than {name}", _ratio(theirs, ours), wanted)


def _as_right(name: str, ours: list[Any], theirs: list[Any]) -> Target:
    mine, other = _accuracy(ours), _accuracy(theirs)
    wanted = other if other is not None else 0.0
    return Target(f"accuracy at least that of {name}", None if other is None else mine, wanted, unit="%")
