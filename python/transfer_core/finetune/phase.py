"""Step 5: train through the backbone, from a head that is already fitted.

Blocks that are not trained stay bit-identical: no gradient, no optimizer state, eval mode. BatchNorm stays in
eval mode everywhere: statistics of a million images are better than those of a small batch. Its scale and
shift train with their block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from transfer_core.backbones import Backbone
from transfer_core.data import Dataset
from transfer_core.features import image_extractor
from transfer_core.features.boundary import first_blocks
from transfer_core.features.style import ViewChange
from transfer_core.finetune.group_factors import GroupFactors
from transfer_core.finetune.inputs import Inputs, Trunk, random_views, unaugmented
from transfer_core.finetune.lora import adapted, only_adapters
from transfer_core.finetune.mixing import Mixer, soft
from transfer_core.finetune.network import Tail, frozen_in_front
from transfer_core.finetune.texts import TextTrunk, text_trunk, texts
from transfer_core.plan.phases import Phase
from transfer_core.recipe.augmentations import Mixing
from transfer_core.recipe.schema import TextOptions
from transfer_core.runtime.devices import Machine, choose_dtype, fast_dtype
from transfer_core.runtime.progress import Progress
from transfer_core.tasks import Criterion
from transfer_core.tasks.criteria import Array
from transfer_core.training.adaptation import Adaptation, DomainHead, even_size, paired_batches
from transfer_core.training.batch import Batch, BatchSource, Metrics, Whole
from transfer_core.training.checkpointer import NO_CHECKPOINTS, Checkpointer
from transfer_core.training.contrastive import contrastive_loss
from transfer_core.training.cpu_execution import micro_batch_size
from transfer_core.training.distributed_execution import DistributedExecution
from transfer_core.training.execution import Execution, open_execution
from transfer_core.training.loop import train_epochs
from transfer_core.training.losses import loss_of
from transfer_core.training.optimizers import Group
from transfer_core.training.processes import ALONE, Processes
from transfer_core.training.student import Lesson, StudentHead


@dataclass(frozen=True)
class Examples:
    """A dataset with `targets` (N,) or (N, K), as the loss expects them, `weights` (N,) or (N, K), and the
    `cells` (N,) of group DRO, if the phase takes it."""

    dataset: Dataset
    targets: Tensor
    weights: Tensor
    cells: Array | None = None

    def __len__(self) -> int:
        return len(self.dataset)


def fine_tune(
    backbone: Backbone,
    head: nn.Sequential,
    phase: Phase,
    examples: Examples,
    valid: Examples,
    augmentations: Sequence[ViewChange],
    machine: Machine,
    criterion: Criterion,
    seed: int,
    progress: Progress,
    text: TextOptions = TextOptions(),
    checkpointer: Checkpointer = NO_CHECKPOINTS,
    adaptation: Adaptation | None = None,
    penalty: Callable[[], None] | None = None,
    lesson: Lesson | None = None,
    processes: Processes = ALONE,
) -> list[Metrics]:
    """Train the blocks of `phase`, or LoRA adapters beside them, and the head, in place.

    The state with the lowest loss on `valid` is restored at the end. The state before the first epoch is
    among the candidates, so the validation loss never rises. Backbone and head return on the CPU, with
    adapters merged. After a contrastive phase the last state remains, and `head` is as before.

    Parameters
    ----------
    phase
        A `train` step with the blocks and adapters that it trains.
    valid
        Examples for early stopping and the choice of the epoch; may be empty.
    augmentations
        Random views per epoch; images only.
    text
        How texts are tokenized; texts only.
    checkpointer, penalty
        See `train_epochs`.
    adaptation
        A loss between the domains of `examples`, whose unlabelled ones have the weight 0. The last epoch
        remains then: labels of the source don't tell which is best for the target.
    lesson
        Outputs and embeddings of a teacher for `examples`, whose targets are the numbers of its rows.
    processes
        Those that share each batch; they are called with the same arguments, and end with the same weights.
        `adaptation` and `lesson` are for one process alone.

    Returns
    -------
    list of Metrics
        One entry per epoch.

    Raises
    ------
    DataError
        If an input cannot be read.
    RecipeError
        If the loss is not finite.
    """
    train, device = phase.train, torch.device(machine.device)
    assert train.epochs
    size = train.batch_size or 32
    backbone.requires_grad_(False)
    trained: nn.Sequential | DomainHead | StudentHead = head
    if adaptation:
        size = even_size(size)
        trained = DomainHead(head, adaptation, torch.Generator().manual_seed(seed))
    if lesson:
        generator = torch.Generator().manual_seed(seed)
        trained = StudentHead(head, backbone.facts.embedding_width, lesson, generator)
    if phase.is_contrastive:
        trained = nn.Sequential()  # the loss is of the embeddings
    with adapted(backbone, phase, seed) as adapted_blocks:
        trainable = [*phase.trainable, *adapted_blocks]
        begin = frozen_in_front(backbone, trainable)
        trunk = trunk_of(backbone, begin, machine, text)
        unit = micro_batch_size(size) if device.type == "cpu" else 1
        share = processes.share(min(size, len(examples)), unit)
        own_size = max(1, share.stop - share.start)
        inputs_of = partial(same_every_epoch, trunk=trunk, size=own_size, progress=progress)
        mixing = [one for one in augmentations if isinstance(one, Mixing)]
        mixer = Mixer(mixing, examples.dataset.digests, seed) if mixing else None
        if mixer:
            examples = replace(examples, targets=soft(examples.targets, [*head.parameters()][-1].shape[0]))
        if augmentations and isinstance(trunk, Trunk):
            inputs = random_views(examples.dataset, trunk, own_size, augmentations, seed, mixer)
        else:
            inputs = inputs_of(examples.dataset, passes=train.epochs if processes == ALONE else 1)
        tail = Tail(backbone, trained, trainable, begin, progress.check)
        for name in adapted_blocks:
            only_adapters(tail.blocks.get_submodule(name))
        factors = None
        if examples.cells is not None and valid.cells is not None:
            factors = GroupFactors(tail, examples.cells, valid.cells)
        whole_batch = {"whole_batch": True} if trained is not head else {}
        dtype = training_dtype(backbone, machine)
        with open_execution(tail, device, dtype, size, progress, **whole_batch) as single:
            execution = single if processes == ALONE else DistributedExecution(single, processes)
            judge = None
            read = partial(_read, examples, inputs, mixer, factors)
            if isinstance(trained, DomainHead):
                batches = paired_batches(trained, size, seed, train.epochs, read)
            else:
                batches = _batch_source(len(examples), read, size, seed, partial(processes.share, unit=unit))
                if len(valid) and not phase.is_contrastive:
                    valid_inputs = inputs_of(
                        valid.dataset, passes=1 + train.epochs if processes == ALONE else 1
                    )
                    judge = partial(validate, execution, criterion, valid, valid_inputs, factors, processes)
            loss = contrastive_loss if phase.is_contrastive else loss_of(criterion)
            history = train_epochs(
                execution,
                batches,
                loss if isinstance(trained, nn.Sequential) else trained.loss(loss),
                judge,
                train,
                "fine_tune",
                seed,
                progress,
                checkpointer,
                groups_by_depth(backbone, trained, train.layer_decay or 1.0),
                penalty=penalty,
            )
        tail.requires_grad_(False)
    return history


def groups_by_depth(backbone: Backbone, head: nn.Module, decay: float) -> list[Group]:
    """Return parameter groups with layer-wise learning rate decay.

    The rate of the d-th block below the head is multiplied by `decay`^d. Lower layers hold features that all
    inputs share and need smaller changes (Howard and Ruder 2018, ULMFiT, section 3.2; per block as in Bao et
    al. 2022, BEiT).
    """
    from_the_head = [head, *reversed(backbone.blocks)]
    groups = [
        Group([p for p in part.parameters() if p.requires_grad], decay**distance)
        for distance, part in enumerate(from_the_head)
    ]
    return [group for group in groups if group.parameters]


def training_dtype(backbone: Backbone, machine: Machine) -> torch.dtype:
    """Return the precision: `choose_dtype`'s, except bfloat16 for texts on a CPU with bfloat16 arithmetic.

    Dense layers, unlike convolutions, train more than twice as fast in it.
    """
    if machine.precision == "auto" and backbone.facts.modality == "text":
        return torch.bfloat16 if fast_dtype(machine.device) else torch.float32
    return choose_dtype(machine.precision, machine.device)


def trunk_of(backbone: Backbone, blocks: int, machine: Machine, text: TextOptions) -> Trunk | TextTrunk:
    """Return the first `blocks` of `backbone`, which are frozen."""
    if backbone.facts.modality == "text":
        return text_trunk(backbone, blocks, machine.device, machine.precision, text)
    front = first_blocks(backbone, blocks)
    extractor = image_extractor(front, machine.device, machine.precision) if blocks else None
    return Trunk(backbone.preprocessing, extractor)


def same_every_epoch(
    dataset: Dataset, passes: int, trunk: Trunk | TextTrunk, size: int, progress: Progress
) -> Inputs:
    """Return the inputs of unaugmented examples, cached for several `passes`."""
    if isinstance(trunk, TextTrunk):
        return texts(dataset, trunk, size, passes, progress)
    return unaugmented(dataset, trunk, size, passes, progress)


def _read(
    examples: Examples,
    inputs: Inputs,
    mixer: Mixer | None,
    factors: GroupFactors | None,
    order: Tensor,
    epoch: int,
) -> Iterable[Batch]:
    """Yield batches of the examples with the numbers `order`."""
    columns = examples.targets, examples.weights
    for chunk, batch in inputs(order, epoch):
        targets, weights = (
            mixer.targets(*columns, chunk, epoch) if mixer else (column[chunk] for column in columns)
        )
        yield Batch(batch, targets, weights * factors.of(chunk) if factors else weights)


def _batch_source(
    count: int,
    read: Callable[[Tensor, int], Iterable[Batch]],
    size: int,
    seed: int,
    share: Callable[[int], slice],
) -> BatchSource:
    """Return batches that hold every example once per epoch, in a new order; of each the own `share`."""

    def epoch(number: int) -> Iterable[Batch]:
        shuffle = torch.Generator().manual_seed(seed * 100_003 + number)
        steps = torch.split(torch.randperm(count, generator=shuffle), size)
        shares = [share(len(step)) for step in steps]
        own = torch.cat([step[part] for step, part in zip(steps, shares, strict=True)])
        batches = iter(read(own, number) if len(own) else ())
        for step, part in zip(steps, shares, strict=True):
            whole = Whole(len(step), part.start)
            yield replace(next(batches), whole=whole) if part.start < part.stop else _nothing(whole)

    return BatchSource(epoch, steps=-(-count // size))


def _nothing(whole: Whole) -> Batch:
    return Batch(torch.empty(0), torch.empty(0), torch.zeros(0), whole=whole)


def validate(
    execution: Execution,
    criterion: Criterion,
    valid: Examples,
    inputs: Inputs,
    factors: GroupFactors | None = None,
    processes: Processes = ALONE,
) -> Metrics:
    """Return the metrics of all examples `valid`, of which each process computes a part."""
    batches = inputs(processes.padded_share(len(valid)), 0)
    numbers, found = zip(*((chunk, execution.outputs(batch)) for chunk, batch in batches), strict=True)
    order, outputs = processes.joined(torch.cat(numbers), torch.cat(found))
    given = [part.numpy() for part in (outputs, valid.targets[order], valid.weights[order])]
    metrics = criterion.validation_metrics(*given)
    if factors:
        metrics["validation_loss"] = factors.update(criterion, given[0], given[1], order.numpy())
    return metrics
