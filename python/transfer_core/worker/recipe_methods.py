"""Methods of the worker that take a recipe, or go on with the recipe of a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

from transfer_core.runtime.allocator import releasing_memory
from transfer_core.worker.calls import Call
from transfer_core.worker.row_requests import sources_of, streams_of
from transfer_core.worker.warning_capture import forward_warnings

# No slow imports at module level: the handshake must not wait for them.

Plain = dict[str, Any]


def train(call: Call, recipe: Plain) -> Plain:
    """Run a recipe; the model is on disk when this returns."""
    from transfer_core.recipe.parser import parse_recipe

    parsed = parse_recipe(recipe)  # before torch is imported: errors are reported at once
    from transfer_core.pipeline.training import train as run_training

    streams = streams_of(
        call, sources_of(recipe), partial(_modality, parsed.backbone, parsed.trust, parsed.start)
    )
    with _training_threads(), releasing_memory():
        return run_training(parsed, streams, call.progress).summary()


def resume(
    call: Call,
    run: str,
    data: Any = None,
    trust: bool = False,
    engine: str | None = None,
    storage: str | None = None,
) -> Plain:
    """Resume an interrupted run, of this machine or a cluster; the model is on disk when this returns."""
    from transfer_core.pipeline.training import resume as resume_training

    streams = streams_of(call, data, partial(_modality_of_run, run, trust))
    with _training_threads(), releasing_memory(), forward_warnings(call.progress.warning):
        how = trust, engine, storage
        return resume_training(run, data, streams, call.progress, *how).summary()


def check(call: Call, recipe: Plain) -> Plain:
    """Check the data of a recipe without a training."""
    from transfer_core.pipeline.data_check import check_data
    from transfer_core.recipe.parser import parse_recipe

    parsed = parse_recipe(recipe)
    streams = streams_of(call, sources_of(recipe), partial(_modality, parsed.backbone, parsed.trust))
    return check_data(parsed, streams, call.progress).to_dict()


def audit(call: Call, recipe: Plain, report: str | None = None, mode: int | None = None) -> Plain:
    """Audit the data of a recipe; `report` is the path of a page, `mode` has its permissions."""
    from transfer_core.pipeline.data_audit import audit_data
    from transfer_core.recipe.parser import parse_recipe

    parsed = parse_recipe(recipe)
    streams = streams_of(call, sources_of(recipe), partial(_modality, parsed.backbone, parsed.trust))
    with _training_threads(), releasing_memory():
        page = None if report is None else Path(report)
        return audit_data(parsed, streams, call.progress, page, mode).to_dict()


def rank(
    call: Call,
    recipe: Plain,
    among: list[str] | None = None,
    modality: str | None = None,
    budget: float = 60.0,
) -> Plain:
    """Rank backbones on the data of a recipe."""
    from transfer_core.pipeline.ranking import rank_backbones
    from transfer_core.recipe.parser import parse_recipe

    parsed = parse_recipe(recipe)
    of_rows = partial(_modality, among[0], parsed.trust) if among else lambda: modality or "auto"
    streams = streams_of(call, recipe["data"], of_rows)
    with _training_threads(), releasing_memory():
        return rank_backbones(parsed, among, modality, budget, streams, call.progress).to_dict()


def estimate(call: Call, recipe: Plain) -> Plain:
    """Estimate time, memory and disk space of the training of a recipe."""
    from transfer_core.pipeline.estimate import estimate as estimate_training
    from transfer_core.recipe.parser import parse_recipe

    parsed = parse_recipe(recipe)
    streams = streams_of(call, sources_of(recipe), partial(_modality, parsed.backbone, parsed.trust))
    with _training_threads(), releasing_memory():
        return estimate_training(parsed, streams, call.progress).to_dict()


def learning_curve(call: Call, recipe: Plain, more: int = 200) -> Plain:
    """Measure and extrapolate the learning curve of the backbone of a recipe."""
    from transfer_core.pipeline.learning_curve import learning_curve as measure
    from transfer_core.recipe.parser import parse_recipe

    parsed = parse_recipe(recipe)
    streams = streams_of(call, recipe["data"], partial(_modality, parsed.backbone, parsed.trust))
    with _training_threads(), releasing_memory():
        return measure(parsed, more, streams, call.progress).to_dict()


def compare_domains(call: Call, recipe: Plain) -> Plain:
    """Compare the domains `source` and `data` of a recipe without a training."""
    from transfer_core.pipeline.compare_domains import compare
    from transfer_core.recipe.parser import parse_recipe

    parsed = parse_recipe(recipe)
    streams = streams_of(call, sources_of(recipe), partial(_modality, parsed.backbone, parsed.trust))
    with releasing_memory():
        return compare(parsed, streams, call.progress).to_dict()


def map_labels(call: Call, recipe: Plain) -> Plain:
    """Pair the labels of the domains `source` and `data` of a recipe."""
    from transfer_core.pipeline.label_map import map_labels as find
    from transfer_core.recipe.parser import parse_recipe

    parsed = parse_recipe(recipe)
    streams = streams_of(call, sources_of(recipe), partial(_modality, parsed.backbone, parsed.trust))
    with releasing_memory():
        return find(parsed, streams, call.progress).to_dict()


def soup(
    call: Call, recipe: Plain, models: list[str], selection: Literal["greedy", "uniform"] = "greedy"
) -> Plain:
    """Average saved models; the `data` of the recipe select and measure."""
    from pathlib import Path

    from transfer_core.model.loading import open_model_file
    from transfer_core.pipeline.soup import soup as average
    from transfer_core.recipe.parser import parse_recipe

    parsed = parse_recipe(recipe)
    paths = list(map(Path, models))
    streams = streams_of(call, sources_of(recipe), lambda: open_model_file(paths[0]).modality.name)
    with _training_threads(), releasing_memory():
        return average(paths, parsed, selection, streams, call.progress).summary()


@contextmanager
def _training_threads() -> Iterator[None]:
    """Limit the compute threads of a training to `TRANSFER_TRAINING_THREADS`."""
    from transfer_core.runtime.devices import at_most_cores, core_setting, cores, torch_threads

    budget = core_setting("TRANSFER_TRAINING_THREADS")
    with at_most_cores(budget):
        # A training that imports torch itself takes its threads from `cores`.
        torch = sys.modules.get("torch")
        if torch is None:
            yield
            return
        with torch_threads(min(torch.get_num_threads(), budget or cores())):
            yield


def _modality(backbone: str, trust: bool, start: str | None = None) -> str:
    from transfer_core.backbones import facts
    from transfer_core.model_file.format import read_header

    if start:
        return read_header(start).modality
    return "auto" if backbone == "auto" else facts(backbone, trust).modality


def _modality_of_run(run: str, trust: bool) -> str:
    from transfer_core.recipe.parser import parse_recipe
    from transfer_core.runs import find_run

    recipe = parse_recipe(find_run(run, trust).recipe)
    return _modality(recipe.backbone, recipe.trust, recipe.start)
