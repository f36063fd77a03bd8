"""Fine-tuning by several processes, of this machine or of a cluster, which share each batch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from transfer_core.distributed import nodes
from transfer_core.distributed.group import machine_of, open_group
from transfer_core.distributed.launch import Member, run_in_processes
from transfer_core.finetune import fine_tune
from transfer_core.plan.phases import Phase
from transfer_core.runs.checkpoints import PhaseCheckpointer
from transfer_core.runtime.progress import Progress
from transfer_core.training.batch import Metrics
from transfer_core.training.checkpointer import Checkpointer
from transfer_core.training.processes import Processes

# Arguments of `fine_tune` by name, without `progress` and `checkpointer`.
Job: TypeAlias = Mapping[str, Any]
# The history, and the tensors of the backbone and the head that were trained.
Result: TypeAlias = tuple[list[Metrics], dict[str, Tensor], dict[str, Tensor]]


def fine_tune_in_processes(
    count: int, job: Job, progress: Progress, checkpointer: Checkpointer
) -> list[Metrics]:
    """Train the backbone and the head of `job` in place, in `count` processes; return the history.

    With the same batches, losses and gradients are those of one process up to rounding. If a process ends,
    all continue from the last checkpoint.

    Raises
    ------
    TransferError
        As `fine_tune` does; and if processes ended too often.
    """
    if nodes.is_driver():
        from transfer_core.distributed.node_group import train_on_nodes

        history, blocks, head = train_on_nodes(count, job, progress, checkpointer)
    else:
        work = partial(_train_in_group, dict(job), checkpointer)
        history, blocks, head = run_in_processes(count, work, progress)
    for module, tensors in ((job["backbone"], blocks), (job["head"], head)):
        module.requires_grad_(False)
        module.load_state_dict(tensors, strict=False)
    result: list[Metrics] = history
    return result


def _train_in_group(job: Job, checkpointer: Checkpointer, member: Member, progress: Progress) -> Result:
    job = {**job, "machine": machine_of(member.rank, job["machine"])}
    with open_group(member):
        return train_part(job, checkpointer, Processes(member.rank, member.count), progress)


def train_part(job: Job, checkpointer: Checkpointer, processes: Processes, progress: Progress) -> Result:
    """Compute the part of one process of a group; all return the same."""
    if isinstance(checkpointer, PhaseCheckpointer):
        checkpointer = checkpointer.in_process(processes.rank, progress)
    backbone, head, phase = job["backbone"], job["head"], job["phase"]
    assert isinstance(phase, Phase)
    history = fine_tune(
        **job,
        progress=progress,
        checkpointer=checkpointer,
        processes=processes,
    )
    changed = phase.changed(backbone.facts.blocks)
    blocks = {name: tensor for name, tensor in backbone.state_dict().items() if name.split(".")[1] in changed}
    return history, _copied(blocks), _copied(head.state_dict())


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous tensors on the CPU, without the storages that they are views of."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
