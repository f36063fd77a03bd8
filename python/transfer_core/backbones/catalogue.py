"""Catalogue of the available backbones, sorted by relevance. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from math import log10
from statistics import linear_regression

from msgspec.structs import replace

from transfer_core.backbones.catalogue_entry import Entry
from transfer_core.backbones.registry import sources
from transfer_core.runtime import measurements
from transfer_core.runtime.errors import Problem, RecipeError, did_you_mean

# Modality of each task, and the training objective that suits it best; others follow in the list.
TASKS = {
    "image_classification": ("image", "classification"),
    "image_regression": ("image", ""),
    "detection": ("image", "detection"),
    "text_classification": ("text", "sentence embeddings"),
    "text_regression": ("text", "sentence embeddings"),
}

# Networks with a metric that the regression of the metric on size needs at least.
_ENOUGH = 10


def catalogue(
    task: str | None = None,
    max_parameters: float | None = None,
    license: str | None = None,
    source: str | None = None,
    offline: bool = False,
) -> list[Entry]:
    """List the backbones that match the filters, one entry each, with the best matching weights.

    Sorted by: trained for a similar task; published metric above the expected one for the network's size
    (`Entry.relevance`); without a metric, small ones first.

    Parameters
    ----------
    task
        One of `TASKS`; None: any, images first.
    max_parameters
        Upper limit, counted with the published classifier.
    license
        License of the weights, by its SPDX name where it has one; case is ignored.
    source
        The name of a source with entries.
    offline
        Only backbones whose library and weights are on this machine.

    Returns
    -------
    list of Entry
        With `images_per_second` where a training has measured it on this machine.

    Raises
    ------
    RecipeError
        At `task`, `source` or `license` for an unknown value, with the nearest known one.
    """
    entries = _with_relevance()
    wanted, kind = (
        TASKS[_checked("task", task.replace("-", "_").replace(" ", "_"), TASKS)] if task else ("", "")
    )
    if source:
        _checked("source", source, {entry.source for entry in entries})
    if license:
        license = _checked("license", license, {e.license: e for e in entries}, str.casefold)
    chosen = [
        entry
        for entry in entries
        if wanted in ("", entry.modality)
        and source in (None, entry.source)
        and license in (None, entry.license)
        and (max_parameters is None or entry.parameters <= max_parameters)
        and (not offline or sources()[entry.source].is_local(entry))
    ]
    best = _best_of_each(sorted(chosen, key=lambda entry: _place(entry, kind)))
    return [replace(entry, images_per_second=_measured_speed(entry)) for entry in best]


def _place(entry: Entry, kind: str) -> tuple[bool, bool, bool, float, float, int]:
    """Sort key of an entry."""
    return (
        entry.modality != "image",
        entry.trained_for != kind,
        entry.relevance is None and entry.metric_value is None,
        -(entry.relevance or 0.0),
        -(entry.metric_value or 0.0),
        entry.parameters,
    )


def _best_of_each(entries: Iterable[Entry]) -> list[Entry]:
    """The first entry of each backbone."""
    best: dict[str, Entry] = {}
    for entry in entries:
        best.setdefault(entry.backbone, entry)
    return list(best.values())


@cache
def _with_relevance() -> list[Entry]:
    """All entries with their relevance: the residual of a linear regression of the metric on log10 of the
    number of parameters."""
    entries = [entry for source in sources().values() for entry in source.entries()]
    by_metric: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.metric_value is not None:
            by_metric.setdefault(entry.metric, []).append(entry)
    expected = {metric: _line(measured) for metric, measured in by_metric.items() if len(measured) >= _ENOUGH}
    return [
        replace(entry, relevance=round(entry.metric_value - expected[entry.metric](entry.parameters), 1))
        if entry.metric_value is not None and entry.metric in expected
        else entry
        for entry in entries
    ]


def _line(measured: Sequence[Entry]) -> Callable[[int], float]:
    sizes = [log10(entry.parameters) for entry in measured]
    slope, intercept = linear_regression(sizes, [entry.metric_value or 0.0 for entry in measured])
    return lambda parameters: intercept + slope * log10(parameters)


def _checked(
    word: str, value: str, known: Iterable[str], normalize: Callable[[str], str] = lambda text: text
) -> str:
    """Look up the canonical spelling of the value of a filter.

    Raises
    ------
    RecipeError
        At `word` for an unknown value, with the nearest known one.
    """
    names = {normalize(name): name for name in known}
    if normalize(value) in names:
        return names[normalize(value)]
    nearest = did_you_mean(value, list(names.values()))
    message = f'unknown {word} "{value}"{nearest} (one of: {", ".join(sorted(names.values()))})'
    raise RecipeError([Problem(word, message)])


def _measured_speed(entry: Entry) -> float | None:
    """Images per second that a training with this backbone has measured on this machine."""
    name = re.escape(entry.name)
    whole = [
        (int(key[2]), 1 / seconds)
        for text, chosen in measurements.known("engine: ").items()
        if (key := re.match(rf"engine: ({name})(?:@[0-9a-f]+)?\[:(\d+)\]", text))
        and isinstance(chosen, dict)
        and (seconds := chosen.get("seconds"))
    ]
    # Fine-tuning measures a part of the blocks; the entry with the most blocks is the whole backbone.
    return round(max(whole)[1], 1) if whole else None
