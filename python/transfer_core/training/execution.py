"""Execution of a training: device, precision, memory, and the gradients of a batch.

The loop over epochs works with any implementation of `Execution`. Another kind (several processes, a cluster)
is a module beside `cpu_execution` and `single_device_execution`, and a line in `open_execution`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor, nn

from transfer_core.runtime.progress import Progress
from transfer_core.training.batch import Batch, Loss
from transfer_core.training.cpu_execution import cpu_execution
from transfer_core.training.single_device_execution import single_device_execution


class Execution(Protocol):
    """Forward and backward passes of `module`."""

    @property
    def module(self) -> nn.Module:
        """The trained module, whose parameters receive the gradients."""

    def backward(self, batch: Batch, loss: Loss) -> Tensor:
        """Set the gradients of all trainable parameters to those of the mean loss of `batch`.

        Returns
        -------
        Tensor
            The weighted mean loss of the batch, a scalar without gradient.
        """

    def outputs(self, inputs: Tensor) -> Tensor:
        """Return the outputs (N, K), float32 on the CPU, for `inputs` (N, …), without gradients."""


def open_execution(
    module: nn.Module,
    device: torch.device,
    dtype: torch.dtype,
    batch_size: int,
    progress: Progress,
    whole_batch: bool = False,
) -> AbstractContextManager[Execution]:
    """Move `module` to `device` and open the execution for it; on exit the module is back on the CPU.

    Parameters
    ----------
    dtype
        Precision of the forward pass: float32, or mixed precision in bfloat16 or float16, whose loss is
        scaled because its range is too small for gradients.
    batch_size
        Largest number of examples per batch.
    progress
        Receives warnings, for example about memory.
    whole_batch
        Whether the loss does not add up over micro-batches, as that between two domains. A GPU whose memory
        is short computes it per micro-batch nevertheless.
    """
    if device.type == "cpu":
        return cpu_execution(module, device, dtype, batch_size, progress, whole_batch)
    return single_device_execution(module, device, dtype, batch_size, progress)
