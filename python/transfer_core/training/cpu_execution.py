"""Execution on the cores of a CPU: micro-batches in parallel, one per core.

Each core takes micro-batches through forward and backward passes of its own, with one torch thread inside:
the activations of a few examples stay in the core's cache, and no core waits for the others after every
layer. Gradients are summed in the order of the micro-batches, so results do not depend on thread scheduling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from transfer_core.features.parallel import one_thread_inside
from transfer_core.runtime.devices import cores, machine_cores
from transfer_core.runtime.progress import Progress
from transfer_core.training.batch import Batch, Loss
from transfer_core.training.forward import float32_outputs
from transfer_core.training.randomness import UseGenerator

Result = TypeVar("Result")
# Applies a function to each element, as `map` does.
Map: TypeAlias = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]

# The activations of so many images fit into a core's cache, and each is below the size from which the memory
# allocator requests new pages from the system every time.
MICRO_BATCH = 8


def micro_batch_size(batch_size: int) -> int:
    """Return the number of examples that a core takes through the network at once.

    By the machine's cores, not by those in use: the sums must not depend on TRANSFER_THREADS.
    """
    return min(MICRO_BATCH, -(-batch_size // machine_cores()))


class CpuExecution:
    """Compute the micro-batches of a batch on the threads of `pool`."""

    def __init__(
        self,
        module: nn.Module,
        dtype: torch.dtype,
        batch_size: int,
        pool: ThreadPoolExecutor,
        progress: Progress,
    ) -> None:
        self.module = module
        self._dtype = dtype
        self._size = micro_batch_size(batch_size)
        self._pool = pool
        self._progress = progress
        self._sequential: bool | None = None  # unknown before the first batch
        self._trained = [parameter for parameter in module.parameters() if parameter.requires_grad]

    def backward(self, batch: Batch, loss: Loss) -> Tensor:
        """See `Execution.backward`."""
        seed = int(torch.randint(2**62, ()))
        mean, *gradients = self._loss_and_gradients(batch, loss, seed)
        for parameter, gradient in zip(self._trained, gradients, strict=True):
            # Fused optimizers need both in the same memory layout.
            parameter.grad = torch.empty_like(parameter).copy_(gradient)
        return mean

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        """See `Execution.outputs`."""
        return torch.cat(list(self._pool.map(self._outputs, torch.split(inputs, self._size))))

    def _loss_and_gradients(self, batch: Batch, loss: Loss, seed: int) -> list[Tensor]:
        """Return the mean loss and the gradient of each trained parameter.

        A layer that draws from torch's global generator, in whatever order the threads run, shows by the
        state of that generator after the first batch. That batch is then computed again, and micro-batches
        run one after the other from then on.
        """
        if self._sequential:
            return self._sums(batch, loss, seed, self._one_by_one)
        if self._sequential is not None:
            return self._sums(batch, loss, seed, self._pool.map)
        state = torch.get_rng_state()
        sums = self._sums(batch, loss, seed, self._pool.map)
        self._sequential = not torch.equal(torch.get_rng_state(), state)
        if not self._sequential:
            return sums
        torch.set_rng_state(state)
        self._progress.warning(
            "a layer uses the global RNG; training runs on a single core to stay reproducible"
        )
        return self._loss_and_gradients(batch, loss, seed)

    def _sums(self, batch: Batch, loss: Loss, seed: int, over: Map) -> list[Tensor]:
        """Return the mean loss and its gradients, for micro-batches that `over` computes."""
        compute = partial(self._micro_batch, loss=loss, total=batch.weight)
        return _summed(over(compute, self._numbered(batch, seed)))

    def _numbered(self, batch: Batch, seed: int) -> list[tuple[int, Batch]]:
        first = seed + (batch.whole.first // self._size if batch.whole else 0)
        return [(first + number, part) for number, part in enumerate(batch.split(self._size))]

    def _one_by_one(self, compute: Callable[[Any], Result], parts: Iterable[Any]) -> Iterator[Result]:
        return (self._pool.submit(compute, part).result() for part in parts)

    def _micro_batch(self, numbered: tuple[int, Batch], loss: Loss, total: Tensor) -> list[Tensor]:
        """Return a micro-batch's share of the mean loss and of its gradients."""
        outputs = self._forward(numbered)
        part = numbered[1]
        share = loss(outputs, part.targets, part.weights) / total
        return [share.detach(), *torch.autograd.grad(share, self._trained)]

    def _forward(self, numbered: tuple[int, Batch]) -> Tensor:
        """Return a micro-batch's outputs, with their graph."""
        seed, part = numbered
        with UseGenerator(torch.Generator().manual_seed(seed)):
            return float32_outputs(self.module, part.inputs, self._dtype)

    @torch.no_grad()
    def _outputs(self, inputs: Tensor) -> Tensor:
        return float32_outputs(self.module, inputs, self._dtype)


class WholeBatchCpuExecution(CpuExecution):
    """Compute a loss that does not add up over micro-batches from the outputs of all of them.

    Its gradient for the outputs goes back through each micro-batch. Activations of the whole batch are in
    memory at once.
    """

    def _sums(self, batch: Batch, loss: Loss, seed: int, over: Map) -> list[Tensor]:
        outputs = list(over(self._forward, self._numbered(batch, seed)))
        joined = torch.cat([part.detach() for part in outputs]).requires_grad_()
        mean = loss(joined, batch.targets, batch.weights) / batch.weight
        (slope,) = torch.autograd.grad(mean, joined)
        parts = zip(outputs, torch.split(slope, self._size), strict=True)
        return [mean.detach(), *_summed(over(self._back, parts))]

    def _back(self, pair: tuple[Tensor, Tensor]) -> list[Tensor]:
        outputs, slope = pair
        return list(torch.autograd.grad(outputs, self._trained, slope))


def _summed(terms: Iterable[list[Tensor]]) -> list[Tensor]:
    sums: list[Tensor] = []
    for some in terms:
        if sums:
            torch._foreach_add_(sums, some)
        else:
            sums = some
    return sums


@contextmanager
def cpu_execution(
    module: nn.Module,
    device: torch.device,
    dtype: torch.dtype,
    batch_size: int,
    progress: Progress,
    whole_batch: bool = False,
) -> Iterator[CpuExecution]:
    """See `open_execution`; runs a thread per core, with one torch thread inside each.

    One even if cores are left over: MKL has one thread count for the whole process, and the threads that
    decode set it too, so the sums would depend on which thread set it last.
    """
    usual = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(cores(), "transfer-train", one_thread_inside) as pool:
            kind = WholeBatchCpuExecution if whole_batch else CpuExecution
            yield kind(module, dtype, batch_size, pool, progress)
    finally:
        # New threads start with the count that was set last.
        torch.set_num_threads(usual)
