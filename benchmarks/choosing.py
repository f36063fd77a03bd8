"""Ranking of backbones, selection of inputs to label, and estimates of trainings, on the sets at hand.

Ranking: Kendall's tau between each score on 400 training examples and the accuracy of a linear head on all
of them, and the points lost by its first backbone. Labels: the share of random's labels with which each
method reaches random's accuracy. Estimates: estimated by measured seconds. Sets: see `labelled_sets`.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import labelled_sets
from benchmarks.labelled_sets import BACKBONES, LabelledSet, embedded
from benchmarks.part import Measured, Options
from benchmarks.table import Section, Table, Target

Floats = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int64]

SCORES = ("cv_log_loss", "cv_accuracy", "log_me", "h_score", "trans_rate", "n_leep")
METHODS = ("random", "margin", "uncertainty", "core_set", "badge")
TRAINED = {"image": "mobilenet_v2", "text": "hf/sentence-transformers/all-MiniLM-L6-v2"}
SAMPLE, ROUNDS, TESTED = 400, 8, 0.35
FROZEN: list[dict[str, Any]] = [{"type": "freeze"}, {"type": "train"}]
ESTIMATED: dict[str, dict[str, Any]] = {
    "frozen": {},
    "last 3 blocks": {"steps": [*FROZEN, {"type": "unfreeze", "last": 3}, {"type": "train", "epochs": 4}]},
    "all blocks": {"steps": [*FROZEN, {"type": "unfreeze", "all": True}, {"type": "train", "epochs": 2}]},
}


def measure(options: Options) -> Measured:
    """Every set in turn; a quick run is of one table."""
    tables = labelled_sets.table_sets()
    if options.quick:
        sets = [one for one in tables if one.name == "table wine"]
    else:
        sets = [*labelled_sets.image_sets(), *labelled_sets.text_sets(), *tables]
    found: Measured = {"ranking": {}, "labels": {}, "estimates": {}}
    for one in sets:
        embeddings = dict(_embeddings(one))
        found["ranking"][one.name] = _ranking(one, embeddings, options.seeds)
        pool = embeddings[f"{TRAINED.get(one.modality, 'sklearn:StandardScaler')} pretrained"]
        found["labels"][one.name] = _labels(pool, one.classes, options.seeds, options.count(ROUNDS, 1))
        options.say(f"{one.name}: ranked and labelled")
    timed = {"table": (tables[-1], "sklearn:StandardScaler", {})}
    if not options.quick:
        stamps, tweets = (next(s for s in sets if s.name == name) for name in ("stamps", "tweets"))
        timed |= {f"stamps, {name}": (stamps, TRAINED["image"], words) for name, words in ESTIMATED.items()}
        timed["tweets, frozen"] = (tweets, TRAINED["text"], {})
    for name, (one, backbone, words) in timed.items():
        found["estimates"][name] = _estimate(one, backbone, words)
        options.say(f"{name}: estimated and trained")
    return found


def report(measured: Measured) -> Section:
    """Tables by set, and the targets."""
    ranking = [
        (name, *(f"{found[score]['tau']:.2f} ({100 * found[score]['regret']:.1f})" for score in SCORES))
        for name, found in measured["ranking"].items()
    ]
    labels = [
        (name, *("–" if found[method] is None else f"{found[method]:.2f}" for method in METHODS[1:]))
        for name, found in measured["labels"].items()
    ]
    estimates = [
        (name, f"{found['estimate']:.1f} s", f"{found['actual']:.1f} s", f"{found['ratio']:.2f}")
        for name, found in measured["estimates"].items()
    ]
    taus = [found[SCORES[0]]["tau"] for found in measured["ranking"].values()]
    shares = [found["margin"] or 1.0 for found in measured["labels"].values()]
    return Section(
        "Choosing",
        ("Kendall's tau of each ranking score (points of accuracy lost by its first backbone).",),
        (
            Table(("set", *SCORES), tuple(ranking), "Ranking"),
            Table(("set", *METHODS[1:]), tuple(labels), "Share of random's labels for random's accuracy"),
            Table(("training", "estimate", "measured", "ratio"), tuple(estimates), "Estimates"),
        ),
        (
            Target("lowest tau of the default score", min(taus), 0.65, unit=""),
            Target(
                "labels for random's accuracy, mean", float(np.mean(shares)), 0.7, at_least=False, unit=""
            ),
        ),
    )


def _embeddings(one: LabelledSet) -> Iterator[tuple[str, Floats]]:
    """Embeddings by name and weights of the backbone; scikit-learn's are fitted on all rows."""
    for backbone, weights in BACKBONES[one.modality]:
        fitted = backbone.startswith("sklearn:")
        found = labelled_sets.transformed(one, backbone) if fitted else embedded(one, backbone, weights)
        yield f"{backbone} {weights}", found


def _ranking(one: LabelledSet, embeddings: dict[str, Floats], seeds: tuple[int, ...]) -> Measured:
    truth: dict[str, float] = {}
    scores: dict[str, list[dict[str, float]]] = {}
    for name, rows in embeddings.items():
        accuracies, scores[name] = [], []
        for seed in seeds:
            test, train = _divided(len(rows), seed)
            weight, bias = _fitted(rows[train], one.classes[train], int(one.classes.max()) + 1, seed)
            predicted = (rows[test] @ weight.T + bias).argmax(axis=1)
            accuracies.append((predicted == one.classes[test]).mean())
            some = _stratified(one.classes, train, seed)
            scores[name].append(_scores(rows[some], one.classes[some], seed))
        truth[name] = float(np.mean(accuracies))
    found: Measured = {"accuracy": truth}
    for score in SCORES:
        taus, regrets = [], []
        for place in range(len(seeds)):
            given = {name: each[place][score] for name, each in scores.items()}
            pairs = combinations(truth, 2)
            taus.append(np.mean([np.sign((truth[a] - truth[b]) * (given[a] - given[b])) for a, b in pairs]))
            regrets.append(max(truth.values()) - truth[max(given, key=lambda name: given[name])])
        found[score] = {"tau": float(np.mean(taus)), "regret": float(np.mean(regrets))}
    return found


def _scores(rows: Floats, classes: Classes, seed: int) -> dict[str, float]:
    from transfer_core.heads.cross_validated import fit_linear
    from transfer_core.heads.folds import left_out_rows
    from transfer_core.runtime.progress import Progress
    from transfer_core.selection.transferability import h_score, log_me, n_leep, trans_rate

    _, classes = np.unique(classes, return_inverse=True)
    given = rows_with(rows, classes)
    fit = fit_linear(given, int(classes.max()) + 1, 5, seed, Progress())
    left_out = np.concatenate(left_out_rows(given, 5, seed))
    return {
        "cv_log_loss": -min(entry["validation_loss"] for entry in fit.path),
        "cv_accuracy": float((fit.held_out.argmax(axis=1) == classes[left_out]).mean()),
        "log_me": log_me(rows, classes),
        "h_score": h_score(rows, classes),
        "trans_rate": trans_rate(rows, classes),
        "n_leep": n_leep(rows, classes, seed),
    }


def _labels(rows: Floats, classes: Classes, seeds: tuple[int, ...], rounds: int) -> dict[str, float | None]:
    """By method, the share of random's labels that reaches random's last accuracy; None: more than all."""
    curves = {}
    for method in METHODS:
        each = [_curve(rows, classes, method, seed, rounds) for seed in seeds]
        counts, curves[method] = each[0][0], np.mean([accuracies for _, accuracies in each], axis=0)
    target = curves["random"][-1]
    found: dict[str, float | None] = {}
    for method, curve in curves.items():
        reached = np.flatnonzero(curve >= target)
        found[method] = None
        if len(reached):
            last = int(reached[0])
            needed = np.interp(
                target, curve[max(0, last - 1) : last + 1], counts[max(0, last - 1) : last + 1]
            )
            found[method] = float(needed / counts[-1])
    return found


def _curve(
    rows: Floats, classes: Classes, method: str, seed: int, rounds: int
) -> tuple[list[int], list[float]]:
    """Labels and accuracy of each round: two labels a class first, then as many as `method` selects."""
    test, pool = _divided(len(rows), seed)
    outputs = int(classes.max()) + 1
    step = max(1, (min(int(0.6 * len(pool)), 20 * outputs) - 2 * outputs) // rounds)
    labelled = pool[: 2 * outputs]
    counts, accuracies = [], []
    while True:
        weight, bias = _fitted(rows[labelled], classes[labelled], outputs, seed)
        logits = rows @ weight.T + bias
        counts.append(len(labelled))
        accuracies.append(float((logits[test].argmax(axis=1) == classes[test]).mean()))
        if len(counts) > rounds:
            return counts, accuracies
        left = np.setdiff1d(pool, labelled)
        odds = np.exp(logits[left] - logits[left].max(axis=1, keepdims=True))
        likely = odds / odds.sum(axis=1, keepdims=True)
        chosen = _selected(method, rows[left], rows[labelled], likely, step, seed)
        labelled = np.concatenate([labelled, left[chosen]])


def _selected(
    method: str, rows: Floats, labelled: Floats, likely: Floats, count: int, seed: int
) -> npt.NDArray[np.int64]:
    from transfer_core.selection import active_learning as select

    if method == "random":
        return np.random.default_rng(len(labelled)).permutation(len(rows))[:count]
    if method == "core_set":
        return select.core_set(rows, labelled, count).indices
    if method == "badge":
        return select.badge(rows, likely, count, seed).indices
    by = select.smallest_margin if method == "margin" else select.most_uncertain
    return by(likely, count).indices


def _estimate(one: LabelledSet, backbone: str, words: dict[str, Any]) -> Measured:
    """Estimated and measured seconds of one training, with an empty cache."""
    import transfer_core

    before = os.environ.get("TRANSFER_HOME")
    with tempfile.TemporaryDirectory() as home:
        os.environ["TRANSFER_HOME"] = home
        given = {"backbone": backbone, "data": one.rows, "task": "classification", **words}
        expected = transfer_core.estimate(**given).seconds
        began = time.perf_counter()
        transfer_core.train(**given)
        actual = time.perf_counter() - began
    os.environ.pop("TRANSFER_HOME")
    if before is not None:
        os.environ["TRANSFER_HOME"] = before
    return {"estimate": expected, "actual": actual, "ratio": expected / actual}


def _fitted(rows: Floats, classes: Classes, outputs: int, seed: int) -> tuple[Floats, Floats]:
    """Weight (K, D) and bias (K,) of a linear head; a class without an example is never predicted."""
    from transfer_core.heads.cross_validated import fit_linear
    from transfer_core.runtime.progress import Progress

    present, numbers = np.unique(classes, return_inverse=True)
    fit = fit_linear(rows_with(rows, numbers), len(present), 5, seed, Progress())
    weight = np.zeros((outputs, rows.shape[1]), np.float32)
    bias = np.full(outputs, -30, np.float32)
    weight[present], bias[present] = fit.weight, fit.bias
    return weight, bias


def rows_with(rows: Floats, classes: Classes) -> Any:
    """Rows of a fit."""
    from transfer_core.heads.rows import rows_of
    from transfer_core.tasks.criteria import CrossEntropy

    weights = np.ones(len(rows), np.float32)
    return rows_of(np.ascontiguousarray(rows), classes.astype(np.int64), weights, CrossEntropy())


def _divided(count: int, seed: int) -> tuple[Classes, Classes]:
    """Test rows, and the others in a random order."""
    order = np.random.default_rng(seed).permutation(count)
    tests = int(TESTED * count)
    return order[:tests], order[tests:]


def _stratified(classes: Classes, train: Classes, seed: int) -> Classes:
    """`SAMPLE` training rows with the shares of their classes."""
    if len(train) <= SAMPLE:
        return train
    order = train[np.argsort(classes[train], kind="stable")]
    places = (np.arange(SAMPLE) + np.random.default_rng(seed).random()) * len(order) / SAMPLE
    return order[places.astype(np.int64)]
