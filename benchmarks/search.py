"""`backbone: :auto` compared with the default recipe, and with AutoGluon and fastai at the same time limit.

Sets: see `labelled_sets`. Each training has an empty cache. AutoGluon has an environment of its own in
`benchmarks/.venv-autogluon` (`pip install autogluon.multimodal`), and a folder with the weights of
EfficientNet-Lite 0 in timm's names beside it, `lite0`.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks import choosing, labelled_sets, photos, training
from benchmarks.environment import HERE, peer
from benchmarks.labelled_sets import LabelledSet
from benchmarks.part import Measured, Options
from benchmarks.process import Command, fresh
from benchmarks.process import measure as run_process
from benchmarks.table import Section, Table, Target
from transfer_core.metrics import fit_temperature
from transfer_core.pipeline.frozen_trials import Trial
from transfer_core.pipeline.search import chosen_beside

DEFAULTS = {"image": "mobilenet_v2", "text": "hf/sentence-transformers/all-MiniLM-L6-v2"}
TABLE_DEFAULT = "sklearn:StandardScaler"
BUDGETS = (120.0, 600.0)
AUTOGLUON = HERE / ".venv-autogluon"


def measure(options: Options) -> Measured:
    """Texts and tables at the smaller budget, images on stored embeddings; stamps with all peers."""
    tables = labelled_sets.table_sets()
    if options.quick:
        return {"sets": {"table wine": [_both(tables[1], 0, 20.0)]}, "stored": {}, "peers": {}}
    found: dict[str, list[Measured]] = {}
    for one in [*labelled_sets.text_sets(), *tables]:
        for seed in options.seeds:
            found.setdefault(one.name, []).append(_both(one, seed, BUDGETS[0]))
            options.say(f"{one.name}, seed {seed}: {found[one.name][-1]}")
    kept = {one.name: [stored(one, seed) for seed in options.seeds] for one in labelled_sets.image_sets()}
    peers = {f"{seconds:.0f}": beside_peers(seconds, options) for seconds in BUDGETS}
    return {"sets": found, "stored": kept, "peers": peers}


def report(measured: Measured) -> Section:
    """The mean over the seeds by set, and the peers' accuracies."""
    rows, gains = [], []
    for name, each in measured["sets"].items():
        default, auto = (mean(one[word]["accuracy"] for one in each) for word in ("default", "auto"))
        gains.append(100 * (auto - default))
        seconds = mean(one["auto"]["seconds"] for one in each)
        rows.append((name, str(len(each)), f"{default:.3f}", f"{auto:.3f}", f"{seconds:.0f} s"))
    for name, each in measured["stored"].items():
        default, auto = (mean(one[word] for one in each) for word in ("default", "auto"))
        gains.append(100 * (auto - default))
        rows.append((f"{name}, stored embeddings", str(len(each)), f"{default:.3f}", f"{auto:.3f}", ""))
    peers = [
        (f"{seconds} s", *(_shown(found.get(name)) for name in _commands(0.0)))
        for seconds, found in measured["peers"].items()
    ]
    tables = [Table(("set", "seeds", "default", ":auto", "time"), tuple(rows), f"{BUDGETS[0]:.0f} s")]
    if peers:
        tables.append(Table(("limit", *_commands(0.0)), tuple(peers), "Stamps, accuracy (whole process)"))
    return Section(
        "Search within a budget",
        ("Accuracy on the held-out part; every training with an empty cache.",),
        tuple(tables),
        (Target("points gained on average", mean(gains), 0.0, unit=""),),
    )


def stored(one: LabelledSet, seed: int) -> Measured:
    """The same choice without a clock, on stored embeddings of a set of images and a split of 80 %.

    The linear head of the first backbone, and the choice by cross-validated loss among each backbone and the
    forward selection of concatenated ones.
    """
    from transfer_core.heads.cross_validated import fit_linear
    from transfer_core.runtime.progress import Progress

    pretrained = [name for name, weights in labelled_sets.BACKBONES["image"] if weights == "pretrained"]
    order = np.random.default_rng(seed).permutation(len(one.rows))
    train = order[len(order) // 5 :]
    names, classes = np.unique(one.classes[train], return_inverse=True)
    test = np.array([row for row in order[: len(order) // 5] if one.classes[row] in names])
    trials: list[Any] = []

    def attempt(members: tuple[str, ...]) -> None:
        rows = np.concatenate([labelled_sets.embedded(one, name, "pretrained") for name in members], axis=1)
        given = choosing.rows_with(rows[train], classes)
        fit = fit_linear(given, len(names), 5, seed, Progress())
        losses = np.full((len(train), 1), np.nan)
        outputs = fit.held_out / fit_temperature(fit.held_out, fit.held_out_targets)
        losses[fit.held_out_rows, 0] = given.criterion.losses(
            outputs, fit.held_out_targets, np.ones(len(outputs))
        )
        right = names[(rows[test] @ fit.weight.T + fit.bias).argmax(axis=1)] == one.classes[test]
        trials.append((Trial(" + ".join(members), None, None, losses, 0.0), members, float(right.mean())))  # type: ignore[arg-type]

    for number, name in enumerate(pretrained):
        attempt((name,))
        if number:
            best = min((t for t in trials if name not in t[1]), key=lambda t: t[0].loss)
            attempt((*best[1], name))
    best = min(trials[1:], key=lambda t: t[0].loss)
    chosen = chosen_beside(trials[0][0], best[0])
    return {
        "default": trials[0][2],
        "auto": next(t[2] for t in trials if t[0] is chosen),
        "chosen": chosen.title,
    }


def beside_peers(seconds: float, options: Options) -> Measured:
    """Each program once on the stamps of seed 0, one after another."""
    found = {}
    for name, command in _commands(seconds).items():
        run = run_process(command).plain()
        trainings = training.trainings(run)
        accuracy = trainings[0]["accuracy"] if trainings else run["said"].get("accuracy")
        found[name] = {"accuracy": accuracy, "seconds": run["wall_s"], "problem": run["problem"]}
        options.say(f"{name}, {seconds:.0f} s: {found[name]}")
    return found


def _commands(seconds: float) -> dict[str, Command]:
    folder = photos.split(0)
    data = training.folders(folder)
    autogluon = [AUTOGLUON / "bin" / "python", HERE / "peers" / "autogluon_learner.py", folder]
    offline = {"HF_HUB_OFFLINE": "1"}
    return {
        "default": training.command({"data": data}),
        ":auto": training.command({"data": data, "backbone": "auto", "budget": seconds}),
        "fastai": fresh(peer("fastai_learner.py", folder, "limited", str(seconds))),
        "AutoGluon": fresh([*map(str, autogluon), str(seconds), str(AUTOGLUON / "lite0")], **offline),
    }


def _both(one: LabelledSet, seed: int, budget: float) -> Measured:
    """The default recipe and the search, on one split."""
    default = {"backbone": DEFAULTS.get(one.modality, TABLE_DEFAULT)}
    return {
        "default": _trained(one, seed, default),
        "auto": _trained(one, seed, {"backbone": "auto", "budget": budget}),
    }


def _trained(one: LabelledSet, seed: int, words: dict[str, Any]) -> Measured:
    import transfer_core

    before = os.environ.get("TRANSFER_HOME")
    with tempfile.TemporaryDirectory() as home:
        os.environ["TRANSFER_HOME"] = str(Path(home))
        began = time.perf_counter()
        try:
            model = transfer_core.train(data=one.rows, task="classification", seed=seed, **words)
        finally:
            os.environ.pop("TRANSFER_HOME")
            if before is not None:
                os.environ["TRANSFER_HOME"] = before
        seconds = time.perf_counter() - began
    recipe = model.header.recipe
    return {
        "accuracy": model.metrics["accuracy"],
        "log_loss": model.metrics["log_loss"],
        "examples": model.header.sizes["test"],
        "seconds": seconds,
        "backbone": recipe["backbone"],
        "head": (recipe["head"] or {}).get("type"),
        "fine_tuned": model.header.backbone.fine_tuned,
        "load": os.getloadavg()[0],
    }


def _shown(found: Measured | None) -> str:
    if found is None:
        return "–"
    if found["accuracy"] is None:
        return f"failed: {found['problem']}"
    return f"{found['accuracy']:.3f} ({found['seconds']:.0f} s)"
