"""Model-based transfer learning in its five steps, from a recipe to a trained and measured model.

1. Choose a pretrained backbone, 2. freeze it, 3. add a new head, 4. train the head, 5. fine-tune (optional);
then evaluate on examples that took no part.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from transfer_core import backbones, presets
from transfer_core.backbones import Backbone
from transfer_core.data import Dataset, DataSplits, Row, read_splits
from transfer_core.devices import choose_device, choose_dtype
from transfer_core.features import FeatureStore, Views, build_extractor, embed_dataset
from transfer_core.finetune import Images, Machine, fine_tune
from transfer_core.heads import FittedHead, Rows, fit_head, rows_of
from transfer_core.metrics import fit_temperature
from transfer_core.model import Model, save_new
from transfer_core.model_file import BackboneSource, ModelHeader, tensors_digest
from transfer_core.objective import Objective, choose_objective
from transfer_core.presets import Phase
from transfer_core.progress import Event, Progress
from transfer_core.recipe import Recipe, to_plain
from transfer_core.run_folder import new_run_folder
from transfer_core.spool import spool_folder
from transfer_core.version import __version__


def run(
    recipe: Recipe, streams: Mapping[str, Iterable[Row]] | None = None, progress: Progress = Progress()
) -> Model:
    """Run all steps of `recipe`; the model is in its run folder when this returns.

    Raises
    ------
    TransferError
        Whatever is wrong with the recipe, the data, the weights or the machine.
    """
    progress, warnings = _listening(progress)
    with new_run_folder():
        pass  # that the model can't be kept is told before the training, not after it
    with spool_folder() as spool:
        chosen = choose(recipe, streams or {}, spool, progress)
        frozen = freeze(chosen, progress)
        first, *further = presets.phases(frozen.recipe, frozen.backbone.facts.blocks)
        head = add_head_and_train(frozen, first, bool(further), progress)
        tuned = fine_tune_backbone(frozen, head, further, progress)
        return evaluate(frozen, tuned, warnings, progress)


@dataclass(frozen=True)
class Chosen:
    """A backbone for the data: what every later step works with."""

    recipe: Recipe
    backbone: Backbone
    splits: DataSplits
    objective: Objective
    machine: Machine


@dataclass(frozen=True)
class Frozen(Chosen):
    """The same with the embeddings of all images; `train` has a row per view."""

    train: Tensor
    valid: Tensor
    test: Tensor
    views: int


@dataclass(frozen=True)
class Tuned:
    """The end of training: a head, whether the backbone changed, the history, and outputs (M, K) for examples
    that no step was fitted on, with their targets."""

    head: nn.Sequential
    backbone_changed: bool
    history: list[dict[str, Any]]
    held_out: Tensor
    held_out_targets: Tensor


def choose(recipe: Recipe, streams: Mapping[str, Iterable[Row]], spool: Path, progress: Progress) -> Chosen:
    """Step 1: a pretrained backbone, and the data it shall learn."""
    progress.stage("choose", f"choose {recipe.backbone}")
    recipe = presets.complete(recipe, backbones.facts(recipe.backbone).blocks)
    device = choose_device(recipe.device)
    machine = Machine(device, choose_dtype(recipe.precision, device))
    splits = read_splits(recipe, streams, spool, progress)
    recipe, objective = choose_objective(recipe, splits)
    backbone = backbones.load(recipe.backbone, recipe.weights, progress)
    return Chosen(recipe, backbone, splits, objective, machine)


def freeze(chosen: Chosen, progress: Progress) -> Frozen:
    """Step 2: with the backbone frozen, each image needs one decode and one forward pass, ever."""
    splits, recipe = chosen.splits, chosen.recipe
    parts = (splits.train, splits.valid, splits.test)
    views = Views(recipe.augment or (), recipe.seed)
    progress.stage("freeze", f"freeze it: embed {sum(map(len, parts))} images once")
    extractor = build_extractor(chosen.backbone, chosen.machine.device, chosen.machine.dtype)
    views_of = [views.count] * len(splits.train) + [1] * (len(splits.valid) + len(splits.test))
    everything = _joined(parts)
    found = embed_dataset(
        everything, views_of, views, extractor, FeatureStore(), progress, on_bad_input=recipe.on_bad_input
    )
    objective = chosen.objective
    if found.bad:
        splits = splits.without(found.bad)
        recipe, objective = choose_objective(recipe, splits)
    sizes = [len(splits.train) * views.count, len(splits.valid), len(splits.test)]
    train, valid, test = torch.split(found.embeddings, sizes)
    return Frozen(recipe, chosen.backbone, splits, objective, chosen.machine, train, valid, test, views.count)


def add_head_and_train(frozen: Frozen, phase: Phase, more_to_come: bool, progress: Progress) -> FittedHead:
    """Steps 3 and 4: a new head for these labels, fitted on the embeddings.

    L-BFGS needs no validation rows and trains on them too, unless fine-tuning will choose by them: it would
    find them better known than they are.
    """
    recipe, objective = frozen.recipe, frozen.objective
    assert recipe.head is not None
    outputs = len(objective.labels)
    progress.stage("head", f"add a {recipe.head.__struct_config__.tag} head with {outputs} outputs")
    train = _rows(frozen.train, frozen.splits.train, objective, phase, frozen.views)
    valid = _rows(frozen.valid, frozen.splits.valid, objective, phase, 1)
    if phase.train.optimizer == "lbfgs" and not more_to_come:
        train, valid = train.joined(valid), valid.take(torch.arange(0))
    progress.stage("train", f"train the head with {phase.train.optimizer}")
    return fit_head(recipe.head, phase.train, train, valid, outputs, recipe.seed, progress)


def fine_tune_backbone(frozen: Frozen, fitted: FittedHead, further: list[Phase], progress: Progress) -> Tuned:
    """Step 5: go on through the backbone, as often as the recipe says."""
    head = fitted.module
    history: list[dict[str, Any]] = [{"step": "train", **entry} for entry in fitted.history]
    if not further:
        return Tuned(head, False, history, fitted.held_out, fitted.held_out_targets)
    recipe, splits = frozen.recipe, frozen.splits
    for number, phase in enumerate(further):
        progress.stage("fine_tune", _what_trains(phase, len(frozen.backbone.blocks)))
        entries = fine_tune(
            frozen.backbone,
            head,
            phase,
            _images(splits.train, frozen.objective, phase),
            _images(splits.valid, frozen.objective, phase),
            recipe.augment or (),
            frozen.machine,
            recipe.seed + number,
            progress,
        )
        history += [{"step": "fine_tune", **entry} for entry in entries]
    changed = any(phase.trainable for phase in further)
    if changed:
        frozen.backbone.weights_digest = tensors_digest(frozen.backbone.state_dict())
    held_out = _outputs(frozen, head, splits.valid, progress)
    return Tuned(head, changed, history, held_out, torch.from_numpy(frozen.objective.targets(splits.valid)))


def evaluate(frozen: Frozen, tuned: Tuned, warnings: list[str], progress: Progress) -> Model:
    """Calibrate the scores, measure on the examples that took no part, and save."""
    splits = frozen.splits
    progress.stage("evaluate", f"evaluate on {len(splits.test)} {splits.test_name} images")
    draft = Model(Path(), _header(frozen, tuned), frozen.backbone, tuned.head)
    metrics = _measure(draft, frozen, tuned, progress)
    header = msgspec.structs.replace(draft.header, metrics=metrics, warnings=tuple(warnings))
    with new_run_folder() as folder:
        return save_new(folder / "model.transfer", header, frozen.backbone, tuned.head)


def _what_trains(phase: Phase, blocks: int) -> str:
    return (
        f"fine-tune {len(phase.trainable)} of {blocks} blocks"
        if phase.trainable
        else "train the head further"
    )


def _listening(progress: Progress) -> tuple[Progress, list[str]]:
    """The same progress, and the list into which its warnings are copied."""
    warnings: list[str] = []

    def emit(event: Event) -> None:
        if event["event"] == "warning":
            warnings.append(event["message"])
        progress.emit(event)

    return Progress(emit, progress.cancelled), warnings


def _joined(parts: tuple[Dataset, ...]) -> Dataset:
    return Dataset(
        tuple(path for part in parts for path in part.inputs),
        tuple(digest for part in parts for digest in part.digests),
        np.concatenate([part.targets for part in parts]),
    )


def _rows(embeddings: Tensor, dataset: Dataset, objective: Objective, phase: Phase, views: int) -> Rows:
    return rows_of(embeddings, objective.targets(dataset), objective.weights(dataset, phase.train), views)


def _images(dataset: Dataset, objective: Objective, phase: Phase) -> Images:
    targets = torch.from_numpy(objective.targets(dataset))
    return Images(dataset, targets, objective.weights(dataset, phase.train))


@torch.no_grad()
def _outputs(frozen: Frozen, head: nn.Sequential, dataset: Dataset, progress: Progress) -> Tensor:
    """Outputs (N, K) of the network as it is now."""
    extractor = build_extractor(frozen.backbone, frozen.machine.device, frozen.machine.dtype)
    once = [1] * len(dataset)
    found = embed_dataset(dataset, once, Views(), extractor, None, progress, "fine_tune")
    outputs: Tensor = head(found.embeddings)
    return outputs


def _measure(draft: Model, frozen: Frozen, tuned: Tuned, progress: Progress) -> dict[str, Any]:
    test = frozen.splits.test
    if not len(test):
        progress.warning("nothing was held out, so the model was not measured")
        return {}
    if tuned.backbone_changed:
        return draft.measure(test, progress)
    return draft.score(frozen.test, test.targets)


def _header(frozen: Frozen, tuned: Tuned) -> ModelHeader:
    """All but what measuring adds: metrics and warnings."""
    splits, backbone = frozen.splits, frozen.backbone
    calibrated = splits.task == "classification" and len(tuned.held_out) > 0
    source = BackboneSource(
        name=backbone.facts.name,
        weights=backbone.weights.name if backbone.weights else "random",
        weights_digest=backbone.weights_digest,
        fine_tuned=tuned.backbone_changed,
    )
    return ModelHeader(
        task=splits.task,
        labels=splits.labels,
        label_counts=frozen.objective.train_counts,
        recipe=to_plain(frozen.recipe),
        backbone=source,
        embedding_width=backbone.facts.embedding_width,
        preprocessing=msgspec.to_builtins(backbone.preprocessing),
        temperature=fit_temperature(tuned.held_out.numpy(), tuned.held_out_targets.numpy())
        if calibrated
        else 1.0,
        target_scaling=frozen.objective.scaling,
        metrics={},
        history=tuple(tuned.history),
        sizes={"train": len(splits.train), "valid": len(splits.valid), "test": len(splits.test)},
        versions=_versions(),
        data_fingerprint=_fingerprint(splits),
        created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("torch", "torchvision", "numpy", "pillow")}
    return {"transfer_core": __version__, "python": platform.python_version(), **packages}


def _fingerprint(splits: DataSplits) -> str:
    """Sha256 over the images' digests and their targets, by part."""
    digest = hashlib.sha256()
    for part in (splits.train, splits.valid, splits.test):
        for image, target in zip(part.digests, part.targets.tolist(), strict=True):
            digest.update(f"{image} {target}\n".encode())
        digest.update(b"\n")
    return digest.hexdigest()
