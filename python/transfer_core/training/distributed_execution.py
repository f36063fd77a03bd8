"""Execution over several processes: each computes its part of a batch, and gradients are summed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from transfer_core.training.batch import Batch, Loss, Whole
from transfer_core.training.processes import Processes

if TYPE_CHECKING:
    from transfer_core.training.execution import Execution


class DistributedExecution:
    """Compute the own part of each batch by `inner`, and sum losses and gradients over `processes`.

    The sums are divided by the weight of the whole batch, so that they are those of one process with the
    same batch, however many examples each process has.
    """

    def __init__(self, inner: Execution, processes: Processes) -> None:
        self._inner = inner
        self._processes = processes
        self._trained = [parameter for parameter in inner.module.parameters() if parameter.requires_grad]

    @property
    def module(self) -> nn.Module:
        """See `Execution.module`."""
        return self._inner.module

    def backward(self, batch: Batch, loss: Loss) -> Tensor:
        """See `Execution.backward`; `batch` is the own part, and the result is of all parts.

        Raises
        ------
        LostProcess
            If another process ended.
        """
        device = self._trained[0].device
        self._draw_differently(device)
        weight = batch.weights.sum(dtype=torch.float32).to(device)
        self._processes.add([weight])
        whole = batch.whole or Whole(len(batch))
        if len(batch):
            mean = self._inner.backward(replace(batch, whole=replace(whole, weight=weight)), loss)
        else:
            mean = weight.new_zeros(())
            self.module.zero_grad(set_to_none=True)
        for parameter in self._trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        mean = mean.float().clone()
        self._processes.add([mean, *(p.grad for p in self._trained if p.grad is not None)])
        return mean

    def outputs(self, inputs: Tensor) -> Tensor:
        """See `Execution.outputs`; of the own `inputs`."""
        return self._inner.outputs(inputs)

    def _draw_differently(self, device: torch.device) -> None:
        """Give the layers on this GPU random numbers that differ from those of the other processes."""
        if device.type == "cuda":
            torch.cuda.manual_seed(int(torch.randint(2**62, ())) + self._processes.rank)
