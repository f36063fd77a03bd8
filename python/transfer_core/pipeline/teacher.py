"""The teacher of a distillation: a saved model or a backbone, which runs once over all training inputs."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
from msgspec import structs

from transfer_core.backbones.frozen import AnyBackbone, open_backbone
from transfer_core.backbones.weights import sha256
from transfer_core.data import MODALITIES, Dataset
from transfer_core.data.bad_input import listed
from transfer_core.features import FeatureStore, Views, build_extractor, embed_dataset, fit_backbone
from transfer_core.features.fitted import must_be_fitted
from transfer_core.heads import Head, fit_head, rows_of
from transfer_core.model.loading import open_model_file
from transfer_core.model.model import Model
from transfer_core.pipeline.artifacts import Frozen, Taught
from transfer_core.recipe.heads import LinearHead
from transfer_core.recipe.relations import Distill
from transfer_core.recipe.schema import Recipe, TextOptions
from transfer_core.recipe.steps import Train
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks import PooledTask
from transfer_core.tasks.criteria import VALUES, Array


@dataclass(frozen=True)
class Teacher:
    """A backbone with the `model` that it is of; None: a head is fitted on its embeddings."""

    backbone: AnyBackbone
    model: Model | None = None


def identified(recipe: Recipe, progress: Progress) -> Recipe:
    """`recipe` with the digest of its teacher, if it has one.

    Raises
    ------
    RecipeError
        If the teacher is missing, or differs from that of the interrupted run.
    """
    if recipe.distill is None:
        return recipe
    if path := _file_of(recipe.distill):
        if not path.is_file():
            _refuse(f"there is no saved model {path}")
        digest = sha256(path)
    else:
        digest = open_backbone(recipe.distill.teacher, progress=progress, trust=recipe.trust).weights_digest
    if recipe.distill.digest not in (None, digest):
        _refuse("the teacher has changed since this training began. Fix: restore it, or start a new training")
    return structs.replace(recipe, distill=structs.replace(recipe.distill, digest=digest))


def open_teacher(recipe: Recipe, distill: Distill, progress: Progress) -> Teacher:
    """Open the saved model or the backbone that a recipe distills."""
    if path := _file_of(distill):
        model = open_model_file(path, progress, recipe.trust)
        return Teacher(model.backbone, model)
    return Teacher(open_backbone(distill.teacher, progress=progress, trust=recipe.trust))


def taught(frozen: Frozen, distill: Distill, progress: Progress) -> Frozen:
    """Add the teacher's embeddings, and for `kd` its outputs, of training, validation and unlabelled inputs.

    Raises
    ------
    RecipeError
        If the teacher has another modality, task or other labels.
    """
    recipe, splits = frozen.plan.recipe, frozen.splits
    teacher = open_teacher(recipe, distill, progress)
    _check(teacher, frozen, distill)
    none = splits.train.take(())
    parts = (splits.train, splits.valid, splits.domains.unlabelled if splits.domains else none)
    together = parts[0].joined(*parts[1:])
    many = splits.modality.many
    progress.stage("freeze", f"run the teacher over {len(together)} {many} once")
    embeddings = _embeddings(teacher, together, frozen, progress)
    places = np.cumsum([len(part) for part in parts])[:-1]
    names = ("train", "valid", "unlabelled")
    outputs: dict[str, Array] = {}
    if "kd" in distill.relation:
        computed = _outputs(teacher, embeddings, places, frozen, progress)
        outputs = dict(zip(names, np.split(computed, places), strict=True))
    return replace(
        frozen, taught=Taught(dict(zip(names, np.split(embeddings, places), strict=True)), outputs)
    )


def _embeddings(teacher: Teacher, inputs: Dataset, frozen: Frozen, progress: Progress) -> Array:
    recipe, machine, splits = frozen.plan.recipe, frozen.machine, frozen.splits
    backbone = teacher.backbone
    if must_be_fitted(backbone):
        backbone = fit_backbone(backbone, splits.train, splits.columns, "raise", recipe.seed, progress)
    text = teacher.model.recipe.text if teacher.model else TextOptions()
    extractor = build_extractor(backbone, machine.device, machine.precision, text)
    store, once, many = FeatureStore(), [1] * len(inputs), splits.modality.many
    found = embed_dataset(inputs, once, Views(), extractor, store, progress, "freeze", "raise", many)
    return np.asarray(found.embeddings)


def _outputs(teacher: Teacher, embeddings: Array, places: Array, frozen: Frozen, progress: Progress) -> Array:
    """Outputs (N, K) in the order of the labels, and of values in the units of the loss."""
    if teacher.model is None:
        return _fitted_head(embeddings, places, frozen, progress)(embeddings)
    model = teacher.model
    assert isinstance(model.head, Head)
    outputs: Array = model.head(embeddings)
    outputs = outputs[:, [model.labels.index(label) for label in frozen.splits.labels]]
    if frozen.task.criterion.layout == VALUES:
        task = frozen.task
        values = task.decode(outputs, model.state)
        empty = Dataset(("",) * len(values), ("",) * len(values), values)
        return task.targets(empty, frozen.state)
    return outputs


def _fitted_head(embeddings: Array, places: Array, frozen: Frozen, progress: Progress) -> Head:
    """A linear head on the teacher's embeddings of the training and validation examples."""
    splits, task, state, phase = frozen.splits, frozen.task, frozen.state, frozen.plan.head_phase
    parts = [splits.train] if frozen.plan.further_phases else [splits.train, splits.valid]
    together = parts[0].joined(*parts[1:])
    weights = task.weights(together, splits.labels, state, phase.train.class_weights)
    rows = rows_of(
        embeddings[: len(together)],
        task.targets(together, state),
        weights,
        task.criterion,
        groups=together.groups,
    )
    train, seed = Train(optimizer="lbfgs"), frozen.plan.recipe.seed
    quiet = Progress(cancelled=progress.cancelled)
    none = rows.take(np.arange(0))
    return fit_head(LinearHead(), train, rows, none, len(splits.labels), seed, quiet).head


def _check(teacher: Teacher, frozen: Frozen, distill: Distill) -> None:
    facts, model, splits = teacher.backbone.facts, teacher.model, frozen.splits
    if facts.modality != frozen.backbone.facts.modality:
        _refuse(f"the teacher takes {MODALITIES[facts.modality].many}, the student {splits.modality.many}")
    if "pooled" not in facts.gives:
        _refuse(f"{facts.name} has no embeddings of whole inputs, as a teacher needs")
    if model is None or "kd" not in distill.relation:
        return
    if not isinstance(model.task, PooledTask) or model.task.name != frozen.task.name:
        _refuse(f"the teacher is a model for {model.task.name}, and the task is {frozen.task.name}")
    if set(model.labels) != set(splits.labels):
        _refuse(
            f"the teacher has the {model.task.nouns} {listed(model.labels)}, and the data "
            f"{listed(splits.labels)}. Fix: train the teacher on the same {model.task.nouns}, or give its "
            "backbone alone"
        )


def _file_of(distill: Distill) -> Path | None:
    """The file of a saved model; None: the teacher is the name of a backbone."""
    path = Path(os.path.expanduser(distill.teacher))
    return path if path.suffix == ".transfer" or path.is_file() else None


def _refuse(message: str) -> NoReturn:
    raise RecipeError([Problem("distill.from", message)])
