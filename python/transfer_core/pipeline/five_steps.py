"""Transfer learning in its five steps, from a recipe to a trained and evaluated model.

1. Choose a pretrained backbone, 2. freeze it, 3. add a new head, 4. train the head, 5. fine-tune (optional);
then evaluate on examples that took no part in training. Step 1 is here; the others depend on the
representation that the task needs, and are in the modules that `steps` lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from transfer_core import cache
from transfer_core.backbones.frozen import describe, open_backbone
from transfer_core.data import MODALITIES, Row, read_splits
from transfer_core.distributed import nodes
from transfer_core.model.loading import open_model_file
from transfer_core.model.model import Model
from transfer_core.pipeline.artifacts import Chosen
from transfer_core.pipeline.continuing import choose_from
from transfer_core.pipeline.reuse import partly_random
from transfer_core.pipeline.steps import steps_for
from transfer_core.plan.plan import complete, make_plan
from transfer_core.recipe.schema import Recipe
from transfer_core.recipe.steps import Lora
from transfer_core.runs import RunFolder, find_run, new_run, old_run, upkeep
from transfer_core.runs.checkpoints import RunCheckpoints
from transfer_core.runs.resume_check import agree, stored, stored_recipe
from transfer_core.runtime.devices import (
    Machine,
    check_precision,
    check_processes,
    choose_device,
    precision_warning,
)
from transfer_core.runtime.overall_progress import Overall
from transfer_core.runtime.progress import Event, Progress
from transfer_core.runtime.run_log import RunLog
from transfer_core.runtime.temp_dir import spool_folder
from transfer_core.runtime.version import library_versions
from transfer_core.tasks import TASKS, choose_task


def run(
    recipe: Recipe, streams: Mapping[str, Iterable[Row]] | None = None, progress: Progress = Progress()
) -> Model:
    """Run all steps of `recipe`; the model is in its run folder when this returns.

    Raises
    ------
    TransferError
        For errors of the recipe, the data, the weights or the machine.
    """
    upkeep(progress)
    # Created before the training, so that an unwritable directory is reported first.
    with new_run(stored(recipe), library_versions()) as folder:
        return run_in(folder, recipe, streams or {}, progress)


def resume(
    name: str,
    data: Any = None,
    streams: Mapping[str, Iterable[Row]] | None = None,
    progress: Progress = Progress(),
    trust: bool = False,
) -> Model:
    """Resume an interrupted run and return its model; a finished run returns its saved model.

    Parameters
    ----------
    name
        The id of the run; with `trust` also the path of its directory.
    data
        The current location of its examples, plain, as in a recipe. Default: unchanged.
    streams
        Name to the rows of each stream of the recipe.
    progress
        Progress events and cancellation.
    trust
        Whether the run may be read and run code although another user could have written to it.

    Raises
    ------
    TransferError
        As `run` does; and if there is no such run, it needs `trust`, another process trains it, or its
        examples have changed.
    """
    with old_run(find_run(name, trust)) as folder:
        if folder.model.exists():
            return open_model_file(folder.model, progress, trust)
        return run_in(folder, stored_recipe(folder, data), streams or {}, progress)


def run_in(
    folder: RunFolder, recipe: Recipe, streams: Mapping[str, Iterable[Row]], progress: Progress
) -> Model:
    """Run all steps in a locked run folder, from its checkpoint if it has one."""
    if message := cache.ignored():
        progress.warning(message)
    overall = Overall()
    progress, log = _listening(progress, overall)
    checkpoints = RunCheckpoints(folder, log.warnings, progress)
    progress.run(folder.id, str(folder.path), checkpoints.epochs)
    with spool_folder() as spool:
        chosen = (choose_from if recipe.start else choose)(recipe, streams, spool, progress)
        agree(folder, chosen.plan.stored_recipe, chosen.splits, progress)
        steps = steps_for(chosen.plan.task)
        overall.expect(steps.expected_work(chosen))
        frozen = steps.freeze(chosen, progress)
        frozen, head = steps.add_head_and_train(frozen, checkpoints, progress)
        tuned = steps.fine_tune(frozen, head, checkpoints, progress)
        model = steps.evaluate(frozen, tuned, folder.model, log, progress)
    folder.finish()
    return model


def choose(recipe: Recipe, streams: Mapping[str, Iterable[Row]], spool: Path, progress: Progress) -> Chosen:
    """Step 1: choose a pretrained backbone, read the data, and make the plan."""
    progress.stage("choose", f"choose {recipe.backbone}")
    facts = describe(recipe.backbone, recipe.weights, recipe.trust)
    given, recipe = recipe, complete(recipe, facts)
    device = choose_device(recipe.device)
    check_precision(recipe.precision, device)  # before any work
    if nodes.is_driver():
        nodes.check_nodes(recipe.processes, device)
    else:
        check_processes(recipe.processes, recipe.device, device)
    if slow := precision_warning(recipe.precision, device):
        progress.warning(slow)
    if recipe.distill:
        from transfer_core.pipeline.teacher import identified

        recipe = identified(recipe, progress)
    splits = read_splits(recipe, MODALITIES[facts.modality], choose_task, streams, spool, progress)
    task = TASKS[splits.task.name]
    plan = make_plan(given, recipe, facts, task, splits.labels, len(splits.train), len(splits.valid))
    for warning in plan.warnings:
        progress.warning(warning)
    backbone = open_backbone(recipe.backbone, recipe.weights, progress, recipe.trust)
    backbone = partly_random(backbone, recipe, progress)
    if task.needs != "pooled" or plan.further_phases:
        backbone = backbone.module()
    if any(isinstance(step, Lora) for step in plan.recipe.steps):
        from transfer_core.finetune.lora import check_adapters

        check_adapters(plan.recipe, backbone.module())
    return Chosen(plan, backbone, splits, Machine(device, recipe.precision))


def _listening(progress: Progress, overall: Overall) -> tuple[Progress, RunLog]:
    """Deduplicate warnings and add the events of `overall`; returns the progress and the log."""
    log = RunLog()

    def emit(event: Event) -> None:
        if not log.add(event):
            return
        progress.emit(event)
        if derived := overall.after(event):
            progress.emit(derived)

    return Progress(emit, progress.cancelled), log
