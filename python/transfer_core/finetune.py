"""Step 5: training through the backbone, from a head that already fits.

Blocks that are not trained stay exactly as they are: no gradient, no optimiser state, eval mode. BatchNorm
stays in eval mode everywhere, since the statistics of a million photos are worth more than those of a batch
of thirty; its scale and shift train with their block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from transfer_core.backbones import Backbone
from transfer_core.data import Dataset
from transfer_core.errors import DataError
from transfer_core.features import (
    Load,
    Loaded,
    Pixels,
    load_augmented_pixels,
    load_batches,
    load_pixels,
    normalize,
    to_batch,
)
from transfer_core.presets import Phase
from transfer_core.progress import Progress
from transfer_core.recipe import Augmentation
from transfer_core.training import Batch, Metrics, Source, train_epochs, validation_metrics


class Finetuned(nn.Module):
    """A backbone and its head as one network, of which only the named blocks and the head train."""

    def __init__(
        self, backbone: Backbone, head: nn.Sequential, trainable: Sequence[str], dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self._dtype = dtype
        frozen = [block for name, block in backbone.blocks.named_children() if name not in trainable]
        self._always_eval = [*frozen, *(m for m in backbone.modules() if isinstance(m, _BatchNorm))]
        self.requires_grad_(True)
        for block in frozen:
            block.requires_grad_(False)

    def train(self, mode: bool = True) -> Finetuned:
        """Training mode for what trains; frozen blocks and BatchNorm stay in eval mode."""
        super().train(mode)
        for module in self._always_eval:
            module.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, outputs), float32.

        A precision below float32 means bfloat16 here, whatever its name: float16's range is too small for
        gradients.
        """
        if self._dtype == torch.float32:
            return self.head(self.backbone(images))  # type: ignore[no-any-return]
        with torch.autocast(images.device.type, dtype=torch.bfloat16):
            return self.head(self.backbone(images)).float()  # type: ignore[no-any-return]


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
    """Where and in which precision the forward pass runs."""

    device: torch.device
    dtype: torch.dtype


def fine_tune(
    backbone: Backbone,
    head: nn.Sequential,
    phase: Phase,
    images: Images,
    valid: Images,
    augmentations: Sequence[Augmentation],
    machine: Machine,
    seed: int,
    progress: Progress,
) -> list[Metrics]:
    """Train the blocks that `phase` names and the head, in place; returns the history, one entry per epoch.

    The state with the lowest loss on `valid` is kept, the state before the first epoch among them:
    fine-tuning never gives back less than it was given. Backbone and head come back on the cpu.
    """
    network = Finetuned(backbone, head, phase.trainable, machine.dtype)
    network.to(machine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    size = phase.train.batch_size or 32
    source = _training_batches(images, backbone, augmentations, size, machine.device, seed)
    validate = partial(_validate, network, valid, size, machine.device) if len(valid) else None
    # Some of cuDNN's gradients add up in an order that changes from run to run, unless told not to.
    with torch.backends.cudnn.flags(enabled=True, deterministic=True):
        history = train_epochs(network, source, validate, phase.train, "fine_tune", seed, progress)
    network.to("cpu").requires_grad_(False)
    return history


def _training_batches(
    images: Images,
    backbone: Backbone,
    augmentations: Sequence[Augmentation],
    size: int,
    device: torch.device,
    seed: int,
) -> Source:
    """Every image once per epoch, in a new order."""

    def epoch(number: int) -> Iterator[Batch]:
        shuffle = torch.Generator().manual_seed(seed * 100_003 + number)
        rows = torch.randperm(len(images), generator=shuffle)
        loads = [
            _random_view(images.dataset, int(row), backbone, augmentations, (seed, number)) for row in rows
        ]
        return _batches(images, rows, loads, backbone, size, device)

    return Source(epoch, steps=-(-len(images) // size))


def _random_view(
    dataset: Dataset,
    row: int,
    backbone: Backbone,
    augmentations: Sequence[Augmentation],
    entropy: tuple[int, int],
) -> Load:
    if not augmentations:
        return partial(load_pixels, dataset.inputs[row], backbone.preprocessing)
    rng = np.random.default_rng([*entropy, int(dataset.digests[row][:16], 16)])
    return partial(load_augmented_pixels, dataset.inputs[row], backbone.preprocessing, augmentations, rng)


def _batches(
    images: Images, rows: Tensor, loads: Sequence[Load], backbone: Backbone, size: int, device: torch.device
) -> Iterator[Batch]:
    for chunk, loaded in zip(torch.split(rows, size), load_batches(loads, size), strict=True):
        pixels = to_batch([_readable(outcome) for outcome in loaded]).to(device)
        inputs = normalize(pixels, backbone.preprocessing, torch.float32)
        yield inputs, images.targets[chunk].to(device), images.weights[chunk].to(device)


def _readable(outcome: Loaded) -> Pixels:
    if isinstance(outcome, DataError):
        raise outcome
    return outcome


@torch.no_grad()
def _validate(network: Finetuned, valid: Images, size: int, device: torch.device) -> Metrics:
    backbone = network.backbone
    rows = torch.arange(len(valid))
    loads = [partial(load_pixels, path, backbone.preprocessing) for path in valid.dataset.inputs]
    batches = _batches(valid, rows, loads, backbone, size, device)
    outputs = torch.cat([network(inputs).float().cpu() for inputs, _, _ in batches])
    return validation_metrics(outputs, valid.targets, valid.weights)
