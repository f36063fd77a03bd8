"""Transfer learning in its five steps, from a recipe to a trained and evaluated model.

1. Choose a pretrained backbone, 2. freeze it, 3. add a new head, 4. train the head, 5. fine-tune (optional);
then evaluate on examples that took no part in training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch

from transfer_core import backbones, cache
from transfer_core.data import MODALITIES, Row, emit_data_warnings, read_splits
from transfer_core.finetune import Machine, check_adapters
from transfer_core.heads import FittedHead, build_head
from transfer_core.model.loading import open_model_file, save_new
from transfer_core.model.model import Model
from transfer_core.pipeline.artifacts import Chosen, Frozen, Tuned
from transfer_core.pipeline.evaluation import measure, shifted
from transfer_core.pipeline.expected_work import expected_work
from transfer_core.pipeline.fine_tuning import fine_tune_backbone
from transfer_core.pipeline.freezing import embed_all
from transfer_core.pipeline.frozen_head import fit_best, with_and_without_views
from transfer_core.pipeline.header import header_of
from transfer_core.plan.plan import complete, make_plan
from transfer_core.recipe.schema import Recipe
from transfer_core.runs import RunFolder, find_run, new_run, old_run, upkeep
from transfer_core.runs.checkpoints import RunCheckpoints
from transfer_core.runs.resume_check import agree, stored, stored_recipe
from transfer_core.runtime.devices import choose_device, choose_dtype, precision_warning
from transfer_core.runtime.overall_progress import Overall
from transfer_core.runtime.progress import Event, Progress
from transfer_core.runtime.temp_dir import spool_folder
from transfer_core.runtime.version import library_versions
from transfer_core.tasks import TASKS, choose_task
from transfer_core.training.checkpointer import NO_CHECKPOINTS


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
        return _five_steps(folder, recipe, streams or {}, progress)


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
        return _five_steps(folder, stored_recipe(folder, data), streams or {}, progress)


def _five_steps(
    folder: RunFolder, recipe: Recipe, streams: Mapping[str, Iterable[Row]], progress: Progress
) -> Model:
    if message := cache.ignored():
        progress.warning(message)
    overall = Overall()
    progress, warnings = _listening(progress, overall)
    checkpoints = RunCheckpoints(folder, warnings, progress)
    progress.run(folder.id, str(folder.path), checkpoints.epochs)
    with spool_folder() as spool:
        chosen = choose(recipe, streams, spool, progress)
        agree(folder, chosen.plan.recipe, chosen.splits, progress)
        overall.expect(expected_work(chosen))
        frozen = freeze(chosen, progress)
        frozen, head = add_head_and_train(frozen, checkpoints, progress)
        tuned = fine_tune_backbone(frozen, head, checkpoints, progress)
        model = evaluate(frozen, tuned, folder.model, warnings, progress)
    folder.finish()
    return model


def choose(recipe: Recipe, streams: Mapping[str, Iterable[Row]], spool: Path, progress: Progress) -> Chosen:
    """Step 1: choose a pretrained backbone, read the data, and make the plan."""
    progress.stage("choose", f"choose {recipe.backbone}")
    facts = backbones.facts(recipe.backbone, recipe.trust)
    given, recipe = recipe, complete(recipe, facts)
    device = choose_device(recipe.device)
    choose_dtype(recipe.precision, device)  # raises before any work if the device lacks the precision
    if slow := precision_warning(recipe.precision, device):
        progress.warning(slow)
    splits = read_splits(recipe, MODALITIES[facts.modality], choose_task, streams, spool, progress)
    task = TASKS[splits.task.name]
    plan = make_plan(given, recipe, facts, task, splits.labels, len(splits.valid))
    for warning in plan.warnings:
        progress.warning(warning)
    backbone = backbones.load(recipe.backbone, recipe.weights, progress, recipe.trust)
    check_adapters(recipe, backbone)
    return Chosen(plan, backbone, splits, Machine(device, recipe.precision))


def freeze(chosen: Chosen, progress: Progress) -> Frozen:
    """Step 2: embed all examples with the frozen backbone, one forward pass each."""
    frozen = embed_all(chosen, progress)
    emit_data_warnings(frozen.splits, frozen.plan.recipe, progress)
    return frozen


def add_head_and_train(
    frozen: Frozen, checkpoints: RunCheckpoints, progress: Progress
) -> tuple[Frozen, FittedHead]:
    """Steps 3 and 4: a new head for these labels, fitted on the embeddings that lower its held-out loss."""
    plan, outputs = frozen.plan, len(frozen.splits.labels)
    head, train = plan.recipe.head, plan.head_phase.train
    assert head is not None
    progress.stage("head", f"add a {head.__struct_config__.tag} head with {outputs} outputs")
    if checkpoints.phase > 0 and not plan.must_gain:  # the checkpoint of a later phase has its weights
        layers = build_head(head, frozen.backbone.facts.embedding_width, outputs, torch.Generator())
        return frozen, FittedHead(layers, [], torch.empty(0), torch.empty(0))
    how = f" with {train.optimizer}" if train.optimizer else ""
    progress.stage("train", f"train the head{how}")
    resumed = checkpoints.phase > 0
    checkpointer = NO_CHECKPOINTS if resumed else checkpoints.for_phase(0, plan.head_phase, [])
    # Further phases choose the best epoch by the validation examples: the head is not fitted on them.
    candidates = with_and_without_views(frozen)
    return fit_best(candidates, not plan.further_phases, progress, checkpointer)


def evaluate(frozen: Frozen, tuned: Tuned, path: Path, warnings: list[str], progress: Progress) -> Model:
    """Calibrate the scores, evaluate on the test examples, and save at `path`.

    Parameters
    ----------
    frozen, tuned
        Outputs of steps 2 and 5.
    path
        The model file.
    warnings
        The warnings of this run, for the header.
    progress
        Progress events and cancellation.
    """
    splits = frozen.splits
    progress.stage("evaluate", f"evaluate on {len(splits.test)} {splits.test_name} {splits.modality.many}")
    draft = Model(Path(), header_of(frozen, tuned), frozen.backbone, tuned.head)
    for warning in frozen.plan.task.calibration_warnings(splits.labels, draft.state, tuned.held_out_targets):
        progress.warning(warning)
    if _gained_nothing(tuned):
        progress.warning("fine-tuning gained nothing; the frozen head was kept")
    metrics = measure(draft, frozen, progress)
    for warning in shifted(frozen, tuned, metrics):
        progress.warning(warning)
    header = msgspec.structs.replace(draft.header, metrics=metrics, warnings=tuple(warnings))
    return save_new(path, header, frozen.backbone, tuned.head)


def _gained_nothing(tuned: Tuned) -> bool:
    """Whether fine-tuning ran, and no epoch had a lower validation loss than the frozen head."""
    return not tuned.backbone_changed and any(entry["step"] == "fine_tune" for entry in tuned.history)


def _listening(progress: Progress, overall: Overall) -> tuple[Progress, list[str]]:
    """Deduplicate warnings and add the events of `overall`; returns the progress and the list of warnings."""
    warnings: list[str] = []

    def emit(event: Event) -> None:
        if event["event"] == "warning":
            if event["message"] in warnings:
                return
            warnings.append(event["message"])
        progress.emit(event)
        if derived := overall.after(event):
            progress.emit(derived)

    return Progress(emit, progress.cancelled), warnings
