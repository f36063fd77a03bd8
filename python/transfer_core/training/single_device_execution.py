"""Execution on one device, in the calling thread, with gradient accumulation if its memory is short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from transfer_core.runtime.progress import Progress
from transfer_core.training.batch import Batch, Loss
from transfer_core.training.forward import float32_outputs

Result = TypeVar("Result")

# Of the loss in float16 (Micikevicius et al., Mixed Precision Training, 2018, section 3.2). A batch whose
# gradients overflow is computed again with less: no step is skipped, and no state needs to be in checkpoints.
LOSS_SCALE = 4096.0


@runtime_checkable
class ActivationCheckpointing(Protocol):
    """A module that can recompute activations in the backward pass instead of storing them."""

    activation_checkpointing: bool


class SingleDeviceExecution:
    """Compute a batch at once; after an out-of-memory error, in micro-batches of half the size.

    At a micro-batch size of 1, activation checkpointing is enabled if the module supports it. Both stay in
    effect for all later batches.
    """

    def __init__(
        self,
        module: nn.Module,
        device: torch.device,
        dtype: torch.dtype,
        batch_size: int,
        progress: Progress,
    ) -> None:
        self.module = module
        self._device = device
        self._dtype = dtype
        self._size = batch_size
        self._progress = progress

    def backward(self, batch: Batch, loss: Loss) -> Tensor:
        """See `Execution.backward`."""
        return self._within_memory(lambda: self._accumulate_gradients(batch, loss))

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        """See `Execution.outputs`."""
        return self._within_memory(
            lambda: torch.cat([self._forward(part).cpu() for part in torch.split(inputs, self._size)])
        )

    def _accumulate_gradients(self, batch: Batch, loss: Loss) -> Tensor:
        scale = LOSS_SCALE if self._dtype == torch.float16 else 1.0
        while True:
            mean = self._accumulate_scaled(batch, loss, scale)
            if scale == 1 or self._unscale_gradients(scale):
                return mean
            scale = max(1.0, scale / 8)

    def _accumulate_scaled(self, batch: Batch, loss: Loss, scale: float) -> Tensor:
        """Set the gradients to those of the mean loss times `scale`; return the mean loss."""
        total = batch.weight.to(self._device)
        self.module.zero_grad(set_to_none=True)
        losses = []
        for micro_batch in batch.split(self._size):
            part = micro_batch.to(self._device)
            share = loss(self._forward(part.inputs), part.targets, part.weights) / total
            (share * scale).backward()  # type: ignore[no-untyped-call]
            losses.append(share.detach())
        return sum(losses[1:], losses[0])

    def _unscale_gradients(self, scale: float) -> bool:
        """Divide the gradients by `scale`; return whether all are finite."""
        gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
        torch._foreach_div_(gradients, scale)
        return bool(torch.isfinite(torch.stack(torch._foreach_norm(gradients))).all())

    def _forward(self, inputs: Tensor) -> Tensor:
        return float32_outputs(self.module, inputs.to(self._device), self._dtype)

    def _within_memory(self, compute: Callable[[], Result]) -> Result:
        while True:
            try:
                return compute()
            except torch.cuda.OutOfMemoryError:
                self._reduce_memory()

    def _reduce_memory(self) -> None:
        """Halve the micro-batch size or enable activation checkpointing; re-raise if neither is possible."""
        if self._size > 1:
            self._size //= 2
            self._progress.warning(
                f"CUDA out of memory: accumulating gradients over micro-batches of {self._size}"
            )
        elif isinstance(self.module, ActivationCheckpointing) and not self.module.activation_checkpointing:
            self.module.activation_checkpointing = True
            self._progress.warning("CUDA out of memory: enabling activation checkpointing")
        else:
            raise


@contextmanager
def single_device_execution(
    module: nn.Module, device: torch.device, dtype: torch.dtype, batch_size: int, progress: Progress
) -> Iterator[SingleDeviceExecution]:
    """See `open_execution`; cuDNN is limited to deterministic algorithms."""
    module.to(device)
    try:
        with torch.backends.cudnn.flags(enabled=True, deterministic=True):
            yield SingleDeviceExecution(module, device, dtype, batch_size, progress)
    finally:
        module.to("cpu")
