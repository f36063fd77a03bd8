"""Model-based transfer learning in its five steps, from a recipe to a trained and measured model.

1. Choose a pretrained backbone, 2. freeze it, 3. add a new head, 4. train the head, 5. fine-tune (optional);
then evaluate on examples that took no part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from transfer_core import backbones, cache
from transfer_core.data import (
    MODALITIES,
    Dataset,
    DataSplits,
    Row,
    left_over,
    naming_all,
    read_splits,
    warn_of,
)
from transfer_core.features import FeatureStore, Views, fit_backbone
from transfer_core.features.check import undecodable
from transfer_core.features.fitted import must_be_fitted
from transfer_core.features.thumbnails import Seen
from transfer_core.finetune import Examples, Machine, check_adapters, fine_tune
from transfer_core.heads import FittedHead, build_head, check_head
from transfer_core.heads.minibatch import fit_minibatch
from transfer_core.model.model import Model, open_model_file, save_new
from transfer_core.model_file.format import tensors_digest
from transfer_core.pipeline.artifacts import Chosen, Frozen, Tuned
from transfer_core.pipeline.embedding import embed
from transfer_core.pipeline.evaluation import measure, shifted
from transfer_core.pipeline.expected_work import expected_work
from transfer_core.pipeline.frozen_head import (
    fit_best,
    fit_frozen_head,
    needs_no_validation,
    rows_for,
    with_and_without_views,
)
from transfer_core.pipeline.gain import gained
from transfer_core.pipeline.header import header_of
from transfer_core.pipeline.near_duplicates import apart
from transfer_core.plan import presets
from transfer_core.plan.presets import Phase
from transfer_core.recipe.schema import Recipe
from transfer_core.runs import RunFolder, find_run, new_run, old_run, upkeep
from transfer_core.runs.checkpoints import RunCheckpoints, changed_by
from transfer_core.runs.resume_check import agree, stored, stored_recipe
from transfer_core.runtime.devices import choose_device, choose_dtype, precision_warning
from transfer_core.runtime.overall_progress import Overall
from transfer_core.runtime.progress import Event, Progress
from transfer_core.runtime.temp_dir import spool_folder
from transfer_core.runtime.version import library_versions
from transfer_core.tasks import calibrated, doubts, losses
from transfer_core.tasks.objective import Objective, choose_objective
from transfer_core.training.checkpointer import NO_CHECKPOINTS, Checkpointer


def run(
    recipe: Recipe, streams: Mapping[str, Iterable[Row]] | None = None, progress: Progress = Progress()
) -> Model:
    """Run all steps of `recipe`; the model is in its run folder when this returns.

    Raises
    ------
    TransferError
        Whatever is wrong with the recipe, the data, the weights or the machine.
    """
    upkeep(progress)
    # Made before the training: that the model can't be kept is not told after it.
    with new_run(stored(recipe), library_versions()) as folder:
        return _five_steps(folder, recipe, streams or {}, progress)


def resume(
    name: str,
    data: Any = None,
    streams: Mapping[str, Iterable[Row]] | None = None,
    progress: Progress = Progress(),
    trust: bool = False,
) -> Model:
    """Resume an interrupted run, to the model that it would have given; a finished run gives its model.

    Parameters
    ----------
    name
        The id of the run; with `trust` also the path of its directory.
    data
        Where its examples are by now, plain, as in a recipe.
    trust
        Whether the content of the run may be read and run code, although another user could have written it.

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
    kept = RunCheckpoints(folder, warnings, progress)
    progress.run(folder.id, str(folder.path), kept.epochs)
    with spool_folder() as spool:
        chosen = choose(recipe, streams, spool, progress)
        agree(folder, chosen.recipe, chosen.splits, progress)
        first, *further = presets.phases(chosen.recipe, chosen.backbone.facts.blocks)
        overall.expect(expected_work(chosen, first, further))
        frozen = freeze(chosen, further, progress)
        candidates = with_and_without_views(frozen) if recipe.augment is None else [frozen]
        frozen, head = add_head_and_train(candidates, first, bool(further), kept, progress)
        tuned = fine_tune_backbone(frozen, head, first, further, kept, progress)
        model = evaluate(frozen, tuned, folder.model, warnings, progress)
    folder.finish()
    return model


def choose(recipe: Recipe, streams: Mapping[str, Iterable[Row]], spool: Path, progress: Progress) -> Chosen:
    """Step 1: a pretrained backbone, and the data it shall learn."""
    progress.stage("choose", f"choose {recipe.backbone}")
    known = backbones.facts(recipe.backbone, recipe.trust)
    proposed = presets.must_gain(recipe) and not recipe.steps
    recipe = presets.complete(recipe, known)
    device = choose_device(recipe.device)
    choose_dtype(recipe.precision, device)  # raises before any work if the device lacks the precision
    if slow := precision_warning(recipe.precision, device):
        progress.warning(slow)
    machine = Machine(device, recipe.precision)
    splits = read_splits(recipe, MODALITIES[known.modality], streams, spool, progress)
    recipe, objective = choose_objective(recipe, splits)
    if proposed and len(splits.valid) < presets.ENOUGH_TO_COMPARE:
        progress.warning(
            f"fine-tuning was left out: {len(splits.valid)} validation examples are too few to show a gain "
            f"({presets.ENOUGH_TO_COMPARE} are needed)"
        )
        recipe = presets.without_fine_tuning(recipe)
    check_head(recipe)
    backbone = backbones.load(recipe.backbone, recipe.weights, progress, recipe.trust)
    check_adapters(recipe, backbone)
    return Chosen(recipe, backbone, splits, objective, machine)


def freeze(chosen: Chosen, further: list[Phase], progress: Progress) -> Frozen:
    """Step 2: with the backbone frozen, each image needs one decode and one forward pass, ever.

    The pixels show which images are near-duplicates: if some are, the data is divided anew.
    """
    with _naming(chosen.splits, progress):
        chosen, seen = _fitted(chosen, progress)
    frozen = _embedded(chosen, further, seen, progress)
    if seen is not None:
        splits = apart(frozen, seen, progress)
        if splits.parts == frozen.splits.parts:
            frozen = replace(frozen, splits=splits)
        else:
            recipe, objective = choose_objective(chosen.recipe, splits)
            chosen = replace(chosen, recipe=recipe, splits=splits, objective=objective)
            frozen = _embedded(chosen, further, None, progress)
    warn_of(frozen.splits, frozen.recipe, progress)
    return frozen


def _embedded(chosen: Chosen, further: list[Phase], seen: Seen | None, progress: Progress) -> Frozen:
    """Embeddings of all examples; images that are decoded are put into `seen`.

    Where the backbone is to change in `further` phases, test images are only decoded: a broken one is
    reported before all that work, and not after it.
    """
    splits, recipe = chosen.splits, chosen.recipe
    changes = any(phase.changes_backbone for phase in further)
    views = Views(recipe.augment or (), recipe.seed).count
    parts = [(splits.train, views), (splits.valid, 1), (splits.test, 0 if changes else 1)]
    inputs = sum(len(part) for part, rows in parts if rows)
    many = MODALITIES[chosen.backbone.facts.modality].many
    progress.stage("freeze", f"freeze it: embed {inputs} {many} once")
    with _naming(splits, progress):
        found = embed(chosen, parts, FeatureStore(), progress, seen)
        bad = dict(found.bad)
        if changes:
            bad |= undecodable(splits.test, chosen.backbone, recipe.on_bad_input, progress, seen)
    objective = chosen.objective
    if bad:
        splits = left_over(splits, bad)
        recipe, objective = choose_objective(recipe, splits)
    train_rows = len(splits.train) * views
    train, valid, test = torch.tensor_split(found.embeddings, (train_rows, train_rows + len(splits.valid)))
    embedded = (train, valid, None if changes else test)
    return Frozen(recipe, chosen.backbone, splits, objective, chosen.machine, *embedded, views)


def add_head_and_train(
    candidates: list[Frozen], phase: Phase, more_to_come: bool, kept: RunCheckpoints, progress: Progress
) -> tuple[Frozen, FittedHead]:
    """Steps 3 and 4: a new head for these labels, fitted on the embeddings; of several candidates those with
    the lowest held-out loss.

    L-BFGS and scikit-learn need no validation rows and train on them too, unless fine-tuning will choose by
    them: it would find them better known than they are.
    """
    frozen, recipe = candidates[0], candidates[0].recipe
    assert recipe.head is not None
    outputs = len(frozen.objective.labels)
    progress.stage("head", f"add a {recipe.head.__struct_config__.tag} head with {outputs} outputs")
    if kept.phase > 0 and not presets.must_gain(recipe):
        return frozen, _head_of_a_later_phase(frozen)
    how = f" with {phase.train.optimizer}" if phase.train.optimizer else ""
    progress.stage("train", f"train the head{how}")
    checkpointer = NO_CHECKPOINTS if kept.phase > 0 else kept.for_phase(0, phase, [])
    return fit_best(candidates, phase, not more_to_come, progress, checkpointer)


def fine_tune_backbone(
    frozen: Frozen,
    fitted: FittedHead,
    first: Phase,
    further: list[Phase],
    kept: RunCheckpoints,
    progress: Progress,
) -> Tuned:
    """Step 5: go on through the backbone, as often as the recipe says."""
    if not further:
        history = [{"step": "train", **entry} for entry in fitted.history]
        everything = needs_no_validation(first)
        return Tuned(fitted.module, False, history, fitted.held_out, fitted.held_out_targets, everything)
    with torch.no_grad():
        before = fitted.module(frozen.valid)
    tuned = _all_phases(frozen, fitted, further, kept, progress)
    if gained(frozen, first, further, before, tuned):
        return tuned
    if tuned.backbone_changed:
        _restore_published(frozen, progress)
    refitted = fit_frozen_head(frozen, first, True, Progress(cancelled=progress.cancelled))
    held_out = (refitted.held_out, refitted.held_out_targets)
    return Tuned(refitted.module, False, tuned.history, *held_out, needs_no_validation(first))


def _all_phases(
    frozen: Frozen, fitted: FittedHead, further: list[Phase], kept: RunCheckpoints, progress: Progress
) -> Tuned:
    """Train every phase after the first, from where a run was interrupted."""
    head, backbone = fitted.module, frozen.backbone
    history: list[dict[str, Any]] = [{"step": "train", **entry} for entry in fitted.history]
    published = embedded = now = tensors_digest(backbone.state_dict())
    if kept.phase > 0:
        kept.restore_backbone(backbone)
        history, now = list(kept.history), tensors_digest(backbone.state_dict())
    for number, phase in list(enumerate(further, start=1))[max(0, kept.phase - 1) :]:
        seed = frozen.recipe.seed + number - 1
        changed = partial(changed_by, further[: number - 1], backbone, phase)
        checkpointer = kept.for_phase(number, phase, history, changed)
        if phase.changes_backbone:
            history += _fine_tune(frozen, head, phase, seed, progress, checkpointer)
            now = tensors_digest(backbone.state_dict())
            continue
        progress.stage("train", f"train the head further with {phase.train.optimizer}")
        if now != embedded:
            loaded = backbone.weights_digest
            if now != published:
                backbone.weights_digest = now  # how it runs is measured for these weights
            frozen, embedded = _embedded_anew(frozen, progress), now
            # Phases that change it run as was measured for what they began with, resumed or not.
            backbone.weights_digest = loaded
        history += _train_further(frozen, head, phase, seed, progress, checkpointer)
    if now != published:
        backbone.weights_digest = now
    valid = frozen.splits.valid
    embeddings = frozen.valid if now == embedded else embed(frozen, [(valid, 1)], None, progress).embeddings
    with torch.no_grad():
        held_out = head(embeddings)
    targets = torch.from_numpy(frozen.objective.targets(valid))
    return Tuned(head, now != published, history, held_out, targets, False)


def evaluate(frozen: Frozen, tuned: Tuned, path: Path, warnings: list[str], progress: Progress) -> Model:
    """Calibrate the scores, measure on the examples that took no part, and save at `path`."""
    splits, many = frozen.splits, MODALITIES[frozen.backbone.facts.modality].many
    progress.stage("evaluate", f"evaluate on {len(splits.test)} {splits.test_name} {many}")
    header = calibrated(header_of(frozen, tuned), tuned.held_out, tuned.held_out_targets)
    for doubt in doubts(header, tuned.held_out_targets):
        progress.warning(doubt)
    if _gained_nothing(tuned):
        progress.warning("fine-tuning gained nothing; the frozen head was kept")
    draft = Model(Path(), header, frozen.backbone, tuned.head)
    metrics = measure(draft, frozen, progress)
    for warning in shifted(frozen, tuned, metrics):
        progress.warning(warning)
    header = msgspec.structs.replace(draft.header, metrics=metrics, warnings=tuple(warnings))
    return save_new(path, header, frozen.backbone, tuned.head)


def _naming(splits: DataSplits, progress: Progress) -> AbstractContextManager[None]:
    """Name all bad inputs of `splits` once one turns out bad."""
    return naming_all((splits.train, splits.valid, splits.test), splits.modality, progress)


def _fitted(chosen: Chosen, progress: Progress) -> tuple[Chosen, Seen | None]:
    """The same with a backbone that is fitted on the training inputs, if it is of that kind; and a place for
    thumbnails if images are still to be compared."""
    seen: Seen | None = None
    if chosen.backbone.facts.modality == "image" and chosen.recipe.split.near_duplicates:
        seen = {}
    if not must_be_fitted(chosen.backbone):
        return chosen, seen
    splits, recipe = chosen.splits, chosen.recipe
    if seen is not None:
        splits, seen = apart(chosen, seen, progress), None
        recipe, objective = choose_objective(recipe, splits)
        chosen = replace(chosen, recipe=recipe, splits=splits, objective=objective)
    backbone = fit_backbone(
        chosen.backbone, splits.train, splits.columns, recipe.on_bad_input, recipe.seed, progress
    )
    return replace(chosen, backbone=backbone), seen


def _head_of_a_later_phase(frozen: Frozen) -> FittedHead:
    """The layers of the head; the checkpoint of the phase that goes on has their weights."""
    recipe, width = frozen.recipe, frozen.backbone.facts.embedding_width
    assert recipe.head is not None
    head = build_head(recipe.head, width, len(frozen.objective.labels), torch.Generator())
    return FittedHead(head, [], torch.empty(0), torch.empty(0))


def _restore_published(frozen: Frozen, progress: Progress) -> None:
    """Give the backbone its published weights again."""
    recipe, backbone = frozen.recipe, frozen.backbone
    published = backbones.load(recipe.backbone, recipe.weights, progress, recipe.trust)
    backbone.load_state_dict(published.state_dict())
    backbone.weights_digest = published.weights_digest


def _gained_nothing(tuned: Tuned) -> bool:
    """Whether blocks trained, and no epoch had a lower validation loss than the head on frozen features."""
    return not tuned.backbone_changed and any(entry["step"] == "fine_tune" for entry in tuned.history)


def _fine_tune(
    frozen: Frozen,
    head: nn.Sequential,
    phase: Phase,
    seed: int,
    progress: Progress,
    checkpointer: Checkpointer,
) -> list[dict[str, Any]]:
    """Train blocks of the backbone with the head; the epochs of the history."""
    recipe, splits, objective = frozen.recipe, frozen.splits, frozen.objective
    progress.stage("fine_tune", f"fine-tune {phase.title(len(frozen.backbone.blocks))}")
    images, valid = (_images(part, objective, phase) for part in (splits.train, splits.valid))
    how = (recipe.augment or (), frozen.machine, losses, seed, progress, recipe.text, checkpointer)
    entries = fine_tune(frozen.backbone, head, phase, images, valid, *how)
    return [{"step": "fine_tune", **entry} for entry in entries]


def _train_further(
    frozen: Frozen,
    head: nn.Sequential,
    phase: Phase,
    seed: int,
    progress: Progress,
    checkpointer: Checkpointer,
) -> list[dict[str, Any]]:
    """Train the head alone, from embeddings: the backbone has no part in it."""
    train = rows_for(frozen.train, frozen.splits.train, frozen.objective, phase, frozen.views)
    valid = rows_for(frozen.valid, frozen.splits.valid, frozen.objective, phase, 1)
    head.requires_grad_(True)
    entries = fit_minibatch(
        head, train, valid, phase.train, losses, seed, progress, checkpointer=checkpointer
    )
    return [{"step": "train", **entry} for entry in entries]


def _embedded_anew(frozen: Frozen, progress: Progress) -> Frozen:
    """The same with the embeddings of the backbone as it is by now."""
    splits = frozen.splits
    found = embed(frozen, [(splits.train, frozen.views), (splits.valid, 1)], None, progress)
    train, valid = torch.tensor_split(found.embeddings, (len(frozen.train),))
    return replace(frozen, train=train, valid=valid)


def _listening(progress: Progress, overall: Overall) -> tuple[Progress, list[str]]:
    """The same progress with each warning once and the events of `overall`; and the list of its warnings."""
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


def _images(dataset: Dataset, objective: Objective, phase: Phase) -> Examples:
    targets = torch.from_numpy(objective.targets(dataset))
    return Examples(dataset, targets, objective.weights(dataset, phase.train))
