"""Loss and gradients of a batch, a few images at a time.

On a cpu each core takes pieces of the batch through a forward and backward pass of its own, with one torch
thread within: the activations of a few images stay near the core, and no core waits for the others after
every layer. On a GPU a batch is one piece, unless its memory is too small for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from transfer_core.features.parallel import one_thread_inside
from transfer_core.finetune.network import Tail
from transfer_core.finetune.randomness import DrawFrom
from transfer_core.runtime.devices import cores, machine_cores
from transfer_core.runtime.progress import Progress
from transfer_core.training.batch import Batch, Loss

# The activations of so many images stay near a core, and each below the size from which the memory allocator
# asks the system for new pages every time.
CPU_PIECE = 8

Result = TypeVar("Result")


class Pieces:
    """Computes batches of up to `batch_size` images on `device`; the sums don't depend on who came first."""

    def __init__(
        self,
        tail: Tail,
        device: torch.device,
        batch_size: int,
        loss: Loss,
        pool: ThreadPoolExecutor,
        progress: Progress,
    ) -> None:
        self._loss = loss
        self._tail = tail
        self._device = device
        share = min(CPU_PIECE, -(-batch_size // machine_cores()))
        self._size = share if device.type == "cpu" else batch_size
        self._pool = pool
        self._progress = progress
        self._in_turn = None if device.type == "cpu" else True
        self._trained = [parameter for parameter in tail.parameters() if parameter.requires_grad]

    def backward(self, batch: Batch) -> Tensor:
        """Set the gradients of all that trains; returns the loss of the batch."""
        seed = int(torch.randint(2**62, ()))
        loss, *gradients = self._within_memory(lambda: self._sum(batch, seed))
        for parameter, gradient in zip(self._trained, gradients, strict=True):
            # Fused optimisers take them number by number as they lie in memory.
            parameter.grad = torch.empty_like(parameter).copy_(gradient)
        return loss

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        """Outputs (N, K) for inputs (N, …), on the cpu."""
        return self._within_memory(
            lambda: torch.cat(list(self._pool.map(self._outputs, torch.split(inputs, self._size))))
        )

    def _sum(self, batch: Batch, seed: int) -> list[Tensor]:
        """The loss and the gradients of the batch.

        Where a layer draws from the generator that all threads share, which its state after the first batch
        gives away, that is computed again and pieces follow one another from then on.
        """
        numbered = [(seed + number, piece) for number, piece in enumerate(batch.split(self._size))]
        compute = partial(self._backward, total=batch.weights.sum())
        if self._in_turn:
            return _added(self._pool.submit(compute, piece).result() for piece in numbered)
        if self._in_turn is not None:
            return _added(self._pool.map(compute, numbered))
        state = torch.get_rng_state()
        sums = _added(self._pool.map(compute, numbered))
        self._in_turn = not torch.equal(torch.get_rng_state(), state)
        if not self._in_turn:
            return sums
        torch.set_rng_state(state)
        self._progress.warning(
            "a layer draws random numbers of its own: training uses one core, to be repeatable"
        )
        return self._sum(batch, seed)

    def _backward(self, numbered: tuple[int, Batch], total: Tensor) -> list[Tensor]:
        """A piece's share of the loss and of the gradients."""
        seed, piece = numbered
        piece = piece.to(self._device)
        with self._own_randomness(seed):
            outputs = self._tail(piece.inputs)
        loss = self._loss(outputs, piece.targets, piece.weights) / total.to(self._device)
        return [loss.detach(), *torch.autograd.grad(loss, self._trained)]

    @torch.no_grad()
    def _outputs(self, inputs: Tensor) -> Tensor:
        return self._tail(inputs.to(self._device)).cpu()  # type: ignore[no-any-return]

    def _own_randomness(self, seed: int) -> AbstractContextManager[Any]:
        """On a GPU pieces follow one another, and its own generator gives each its numbers."""
        return DrawFrom(torch.Generator().manual_seed(seed)) if self._device.type == "cpu" else nullcontext()

    def _within_memory(self, compute: Callable[[], Result]) -> Result:
        """What `compute` gives, in pieces that a GPU's memory has room for."""
        while True:
            try:
                return compute()
            except torch.cuda.OutOfMemoryError:
                self._need_less_memory()

    def _need_less_memory(self) -> None:
        """Half as many images at once; when that is one, activations are computed twice instead of kept."""
        if self._size > 1:
            self._size //= 2
            self._progress.warning(f"GPU memory is short: a batch is computed in pieces of {self._size}")
        elif not self._tail.recompute:
            self._tail.recompute = True
            self._progress.warning("GPU memory is short: activations are computed twice instead of kept")
        else:
            raise


def _added(found: Iterable[list[Tensor]]) -> list[Tensor]:
    sums: list[Tensor] = []
    for terms in found:
        if sums:
            torch._foreach_add_(sums, terms)
        else:
            sums = terms
    return sums


@contextmanager
def cores_for(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """A thread per core of a cpu, with one torch thread within; one thread for a GPU.

    Not more within, even if cores are left over: MKL has one number of threads for the whole process, and
    the threads that decode set it too. Sums would depend on who was last.
    """
    usual = torch.get_num_threads()
    threads = cores() if device.type == "cpu" else 1
    try:
        with ThreadPoolExecutor(threads, "transfer-train", one_thread_inside) as pool:
            yield pool
    finally:
        # The number set last is what threads start with from then on.
        torch.set_num_threads(usual)
