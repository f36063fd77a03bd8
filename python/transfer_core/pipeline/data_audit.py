"""Audit of labelled data without a training: read, embed once, and look for wrong labels and the like."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from transfer_core import backbones
from transfer_core.backbones.frozen import AnyBackbone
from transfer_core.data import MODALITIES, Dataset, Row
from transfer_core.data.bad_input import printable, reason_in
from transfer_core.data.corrections import corrected, key_of, label_text
from transfer_core.data.example import Example
from transfer_core.data.groups import Edge, group_rows
from transfer_core.data.modality import Modality
from transfer_core.data.near_images import SIDE, Thumbnails, near_images
from transfer_core.data.read import source_context
from transfer_core.data.source import read_source
from transfer_core.features import FeatureStore, Views, build_extractor, embed_dataset, fit_backbone
from transfer_core.features.thumbnails import Seen, thumbnails_of
from transfer_core.findings.duplicates import duplicates
from transfer_core.findings.examples import Examples, Finding
from transfer_core.findings.held_out import held_out_probabilities
from transfer_core.findings.imbalance import imbalance
from transfer_core.findings.leaking_columns import leaking_columns
from transfer_core.findings.outliers import outliers
from transfer_core.findings.page import audit_page
from transfer_core.findings.report import AuditReport
from transfer_core.findings.split_groups import shared_groups
from transfer_core.findings.spurious_cues import name_pattern, spurious_cues
from transfer_core.findings.wrong_labels import wrong_labels
from transfer_core.heads.rows import rows_of
from transfer_core.recipe.schema import Recipe
from transfer_core.runtime.atomic import write_text
from transfer_core.runtime.devices import choose_device
from transfer_core.runtime.errors import ConfigurationError, DataError, Problem, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.temp_dir import spool_folder
from transfer_core.tasks import TASKS, PooledTask, choose_task
from transfer_core.tasks.criteria import CLASSES, Array

_FOLDS = 5


@dataclass(frozen=True, eq=False)
class _Read:
    """Readable examples with their encoded labels, and those that can't be read."""

    task: PooledTask[Any]
    names: tuple[str, ...]
    columns: tuple[str, ...]
    examples: Examples
    data: Dataset
    unreadable: list[Finding]


def audit_data(
    recipe: Recipe,
    streams: Mapping[str, Iterable[Row]],
    progress: Progress = Progress(),
    page: Path | None = None,
    mode: int | None = None,
) -> AuditReport:
    """Audit the data of a recipe.

    Parameters
    ----------
    recipe
        Data, columns, task, backbone, seed, device and precision.
    streams
        Name to the rows of each stream of the recipe.
    progress
        Progress events and cancellation.
    page
        File of a page with pictures, `….html`; None: none.
    mode
        Permissions of a new page; None: 0666 less the umask.

    Raises
    ------
    ConfigurationError
        If the page can't be written.
    RecipeError
        If the recipe is invalid, or its task is not computed from embeddings.
    DataError
        If the data has no labels, or fewer than two readable examples.
    """
    if page is not None and page.suffix.lower() != ".html":
        name = printable(str(page))
        raise ConfigurationError(f"can't write a report to {name}. Fix: end the name with .html")
    facts = backbones.facts(recipe.backbone, recipe.trust)
    modality = MODALITIES[facts.modality]
    progress.stage("choose", f"read {recipe.backbone}'s {modality.many}")
    quiet = replace(
        progress, emit=lambda event: None if event["event"] == "warning" else progress.emit(event)
    )
    with spool_folder() as spool:
        read = _read(recipe, modality, streams, spool, quiet)
        backbone: AnyBackbone = backbones.load(recipe.backbone, recipe.weights, progress, recipe.trust)
        backbone = fit_backbone(backbone, read.data, read.columns, "skip", recipe.seed, quiet)
        progress.stage("freeze", f"embed {len(read.data)} {modality.many}")
        extractor = build_extractor(backbone, choose_device(recipe.device), recipe.precision, recipe.text)
        seen: Seen = {}
        found = embed_dataset(
            read.data,
            [1] * len(read.data),
            Views(),
            extractor,
            FeatureStore(),
            quiet,
            "freeze",
            "skip",
            modality.many,
            seen if modality.name == "image" else None,
        )
        read = _without(read, found.bad)
        if len(read.data) < 2:
            raise DataError(f"an audit needs two readable {modality.many} (got {len(read.data)})")
        thumbnails = None
        if modality.name == "image":
            thumbnails = thumbnails_of(read.data, backbone.preprocessing, seen, quiet)
            edges = near_images(thumbnails, progress.check)
        else:
            edges = modality.near_duplicates(read.data.inputs, progress.check)
        findings = _findings(recipe, read, np.asarray(found.embeddings), edges, thumbnails, progress)
        labels = dict(Counter(read.examples.labels)) if read.task.categorical else {}
        report = AuditReport(modality.name, read.task.name, len(read.data), labels, tuple(findings))
        if page is not None:
            write_text(page, audit_page(report, read.examples), mode)
    return report


def _read(
    recipe: Recipe,
    modality: Modality,
    streams: Mapping[str, Iterable[Row]],
    spool: Path,
    progress: Progress,
) -> _Read:
    context = source_context(recipe, modality, streams, spool, progress)
    given = list(read_source(recipe.data, context).examples)
    if recipe.corrections:
        given = corrected(given, os.path.expanduser(recipe.corrections))
    labelling, _ = choose_task(recipe, (example.label for example in given))
    task = TASKS[labelling.name]
    if not isinstance(task, PooledTask):
        raise RecipeError([Problem("task", f"an audit is for tasks on embeddings, not for {task.name}")])
    given = list(task.checked(given, "skip", progress))
    names, targets = task.encode(given, recipe.columns)
    readable = [row for row, example in enumerate(given) if example.problem is None]
    prints = modality.fingerprints([given[row].input for row in readable], progress)
    problems = {row: given[row].problem or "" for row in range(len(given)) if given[row].problem}
    problems |= {row: one.problem for row, one in zip(readable, prints, strict=True) if one.problem}
    good = [(row, one) for row, one in zip(readable, prints, strict=True) if not one.problem]
    rows = [row for row, _ in good]
    if len(rows) < 2:
        raise DataError(f"an audit needs two readable {modality.many} (got {len(rows)})")
    data = Dataset(
        tuple(given[row].input for row in rows),
        tuple(one.digest for _, one in good),
        targets[rows],
        {given[row].input: one.stamp for row, one in good if one.stamp},
    )
    unreadable = [
        _unreadable(_key(given, row), given[row].label, why) for row, why in sorted(problems.items())
    ]
    return _Read(task, names, given[rows[0]].columns, _examples(given, rows), data, unreadable)


def _key(given: Sequence[Example], row: int) -> str | int:
    return key_of(given[row], row)


def _examples(given: Sequence[Example], rows: Sequence[int]) -> Examples:
    chosen = [given[row] for row in rows]
    return Examples(
        [_key(given, row) for row in rows],
        [example.input for example in chosen],
        [label_text(example.label) for example in chosen],
        [example.split for example in chosen],
        [example.group or example.subgroup for example in chosen],
    )


def _unreadable(key: str | int, label: Any, reason: str) -> Finding:
    return Finding("unreadable", printable(reason), key, label_text(label), keep=False)


def _without(read: _Read, bad: Mapping[Any, str]) -> _Read:
    """Move the inputs that can't be decoded to the unreadable ones."""
    if not bad:
        return read
    examples, inputs = read.examples, read.data.inputs
    kept = [row for row, input in enumerate(inputs) if input not in bad]
    found = [
        _unreadable(examples.keys[row], examples.labels[row], reason_in(bad[input], str(input)))
        for row, input in enumerate(inputs)
        if input in bad
    ]
    return replace(
        read, examples=examples.take(kept), data=read.data.take(kept), unreadable=read.unreadable + found
    )


def _findings(
    recipe: Recipe,
    read: _Read,
    embeddings: Array,
    edges: Sequence[Edge],
    thumbnails: Thumbnails | None,
    progress: Progress,
) -> list[Finding]:
    examples, seed = read.examples, recipe.seed
    found = [*read.unreadable, *duplicates(examples, read.data.digests, edges)]
    classes = read.task.criterion.layout == CLASSES
    if classes:
        progress.stage("train", "cross-validate a linear head")
        found += _wrong_labels(recipe, read, embeddings, edges, progress)
    found += outliers(examples, embeddings, seed)
    if read.task.categorical:
        counts = read.task.counts(read.data.targets, read.names)
        found += imbalance(dict(zip(read.names, counts.tolist(), strict=True)))
    if classes and read.columns:
        found += leaking_columns(examples, read.columns, seed)
    elif classes:
        found += spurious_cues(examples, _cues(examples, thumbnails), seed)
    return found + shared_groups(examples)


def _wrong_labels(
    recipe: Recipe, read: _Read, embeddings: Array, edges: Sequence[Edge], progress: Progress
) -> list[Finding]:
    task, data = read.task, read.data
    state = task.fit(read.names, data)
    targets = task.targets(data, state)
    weights = task.weights(data, read.names, state, None)
    strata = np.asarray(task.strata(data.targets))
    keys = group_rows(data.digests, [None] * len(data), edges, strata.tolist()).keys
    rows = rows_of(np.asarray(embeddings, np.float32), targets, weights, task.criterion, groups=keys)
    probabilities = held_out_probabilities(rows, len(read.names), _FOLDS, recipe.seed, progress)
    return wrong_labels(read.examples, probabilities, np.asarray(targets), read.names)


def _cues(examples: Examples, thumbnails: Thumbnails | None) -> dict[str, Sequence[Any]]:
    """Properties of the inputs beside their content."""
    if thumbnails is None:
        lengths = [len(text) if isinstance(text, str) else sum(map(len, text)) for text in examples.inputs]
        return {"length": lengths}
    brightness = thumbnails[:, :-2].reshape(-1, SIDE, SIDE)
    edge = np.ones((SIDE, SIDE), bool)
    edge[2:-2, 2:-2] = False
    sizes = [_size(path) for path in examples.inputs]
    cues: dict[str, Sequence[Any]] = {
        "file size": [os.path.getsize(path) for path in examples.inputs],
        "image size": [f"{width}x{height}" for width, height in sizes],
        "aspect ratio": [round(width / max(1, height), 2) for width, height in sizes],
        "brightness of the border": brightness[:, edge].mean(axis=1).tolist(),
    }
    if all(isinstance(key, str) for key in examples.keys):
        names = zip(examples.inputs, examples.labels, strict=True)
        cues["file name"] = [name_pattern(path, label) for path, label in names]
    return cues


def _size(path: str) -> tuple[int, int]:
    """Width and height from the header of an image that could be decoded."""
    with suppress(OSError, ValueError), Image.open(path) as image:
        return image.size
    return 0, 0
