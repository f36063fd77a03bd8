"""The group of `torch.distributed` that the processes of one machine form: gloo, and NCCL for GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed
from torch.distributed import FileStore  # type: ignore[attr-defined]

from transfer_core.distributed.launch import Member
from transfer_core.runtime.devices import Device, Machine


@contextmanager
def open_group(member: Member) -> Iterator[None]:
    """Join the default group for the block; its `store` is a new file where other users cannot write."""
    has_gpus = torch.cuda.device_count() >= member.count
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if has_gpus and distributed.is_nccl_available() else "gloo",
        store=FileStore(member.store, member.count),
        rank=member.rank,
        world_size=member.count,
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()


def machine_of(rank: int, machine: Machine) -> Machine:
    """Return the machine for one process: the CPU, or the GPU with its number."""
    if machine.device.type != "cuda":
        return machine
    torch.cuda.set_device(rank)
    return Machine(Device(f"cuda:{rank}"), machine.precision)
