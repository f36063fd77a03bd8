"""Step 5: training through the backbone, from a head that already fits.

Blocks that are not trained stay exactly as they are: no gradient, no optimiser state, eval mode. BatchNorm
stays in eval mode everywhere, since the statistics of a million photos are worth more than those of a batch
of thirty; its scale and shift train with their block.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from transfer_core.backbones import Backbone
from transfer_core.data import Dataset
from transfer_core.features import image_extractor
from transfer_core.features.boundary import first_blocks
from transfer_core.finetune.inputs import Inputs, Trunk, random_views, untouched
from transfer_core.finetune.lora import adapted, only_adapters
from transfer_core.finetune.network import Tail, frozen_in_front
from transfer_core.finetune.pieces import Pieces, cores_for
from transfer_core.finetune.texts import TextTrunk, text_trunk, texts
from transfer_core.plan.presets import Phase
from transfer_core.recipe.schema import Augmentation, TextOptions
from transfer_core.runtime.devices import choose_dtype, fast_dtype
from transfer_core.runtime.progress import Progress
from transfer_core.training.batch import Batch, Criterion, Metrics
from transfer_core.training.loop import Source, train_epochs
from transfer_core.training.optimizers import Group


@dataclass(frozen=True)
class Images:
    """A dataset with what the loss needs: `targets` (N,) classes or (N, K) scaled, `weights` (N,)."""

    dataset: Dataset
    targets: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.dataset)


@dataclass(frozen=True)
class Machine:
    """Where a network runs, and in which `precision` (a word of the recipe)."""

    device: torch.device
    precision: str


def fine_tune(
    backbone: Backbone,
    head: nn.Sequential,
    phase: Phase,
    images: Images,
    valid: Images,
    augmentations: Sequence[Augmentation],
    machine: Machine,
    criterion: Criterion,
    seed: int,
    progress: Progress,
    text: TextOptions = TextOptions(),
) -> list[Metrics]:
    """Train the blocks that `phase` names, adapters beside the others if it has some, and the head, in place;
    returns the history, one entry per epoch.

    The state with the lowest loss on `valid` is kept, the state before the first epoch among them:
    fine-tuning never gives back less than it was given. Backbone and head come back on the cpu, and adapters
    merged.
    """
    train, device = phase.train, machine.device
    assert train.epochs
    size = train.batch_size or 32
    backbone.requires_grad_(False)
    with adapted(backbone, phase, seed) as beside:
        learning = [*phase.trainable, *beside]
        begin = frozen_in_front(backbone, learning)
        trunk = _trunk(backbone, begin, machine, text)
        as_they_are = partial(_as_they_are, trunk=trunk, size=size, progress=progress)
        if augmentations and isinstance(trunk, Trunk):
            inputs = random_views(images.dataset, trunk, size, augmentations, seed)
        else:
            inputs = as_they_are(images.dataset, passes=train.epochs)
        dtype = _dtype(backbone, machine)
        tail = Tail(backbone, head, learning, begin, dtype, progress.check).to(device)
        for name in beside:
            only_adapters(tail.blocks.get_submodule(name))
        # Some of cuDNN's gradients add up in an order that changes from run to run, unless told not to.
        with torch.backends.cudnn.flags(enabled=True, deterministic=True), cores_for(device) as pool:
            pieces = Pieces(tail, device, size, criterion.loss, pool, progress)
            validate = None
            if len(valid):
                validate = partial(
                    _validate, pieces, criterion, valid, as_they_are(valid.dataset, passes=1 + train.epochs)
                )
            source = _source(images, inputs, size, seed)
            groups = groups_by_depth(backbone, head, train.layer_decay or 1.0)
            history = train_epochs(
                tail,
                source,
                criterion.loss,
                validate,
                train,
                "fine_tune",
                seed,
                progress,
                pieces.backward,
                groups,
            )
        tail.to("cpu").requires_grad_(False)
    return history


def groups_by_depth(backbone: Backbone, head: nn.Sequential, decay: float) -> list[Group]:
    """What trains, with the factor of its learning rate: `decay`^d for the d-th block below the head.

    Lower layers know what all photos have in common, and need to change less (Howard and Ruder 2018, ULMFiT,
    section 3.2; per block as in Bao et al. 2022, BEiT).
    """
    from_the_head = [head, *reversed(backbone.blocks)]
    groups = [
        Group([p for p in part.parameters() if p.requires_grad], decay**distance)
        for distance, part in enumerate(from_the_head)
    ]
    return [group for group in groups if group.parameters]


def _dtype(backbone: Backbone, machine: Machine) -> torch.dtype:
    """As `choose_dtype` says; but dense layers, unlike convolutions, train in less than half the time in the
    bfloat16 of a CPU that has it."""
    if machine.precision == "auto" and backbone.facts.modality == "text":
        return torch.bfloat16 if fast_dtype(machine.device) else torch.float32
    return choose_dtype(machine.precision, machine.device)


def _trunk(backbone: Backbone, blocks: int, machine: Machine, text: TextOptions) -> Trunk | TextTrunk:
    if backbone.facts.modality == "text":
        return text_trunk(backbone, blocks, machine.device, machine.precision, text)
    front = first_blocks(backbone, blocks)
    extractor = image_extractor(front, machine.device, machine.precision) if blocks else None
    return Trunk(backbone.preprocessing, extractor)


def _as_they_are(
    dataset: Dataset, passes: int, trunk: Trunk | TextTrunk, size: int, progress: Progress
) -> Inputs:
    """What is the same in every epoch."""
    if isinstance(trunk, TextTrunk):
        return texts(dataset, trunk, size, passes, progress)
    return untouched(dataset, trunk, size, passes, progress)


def _source(images: Images, inputs: Inputs, size: int, seed: int) -> Source:
    """Every image once per epoch, in a new order."""

    def epoch(number: int) -> Iterable[Batch]:
        shuffle = torch.Generator().manual_seed(seed * 100_003 + number)
        order = torch.randperm(len(images), generator=shuffle)
        for chunk, batch in inputs(order, number):
            yield Batch(batch, images.targets[chunk], images.weights[chunk])

    return Source(epoch, steps=-(-len(images) // size))


def _validate(pieces: Pieces, criterion: Criterion, valid: Images, inputs: Inputs) -> Metrics:
    numbers, outputs = zip(
        *((chunk, pieces.outputs(batch)) for chunk, batch in inputs(torch.arange(len(valid)), 0)), strict=True
    )
    order = torch.cat(numbers)
    return criterion.validation_metrics(torch.cat(outputs), valid.targets[order], valid.weights[order])
