"""The processes of a data-parallel training: shares of the examples, sums and joined outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


class LostProcess(Exception):
    """Another process of the group ended, or its connection did."""


@dataclass(frozen=True)
class Processes:
    """Process number `rank` of `count`, which share each batch.

    With a count above 1 the default group of `torch.distributed` must be initialized.
    """

    rank: int = 0
    count: int = 1

    def share(self, examples: int, unit: int = 1) -> slice:
        """Return the own part of so many examples, in whole units of `unit` of them except for the last."""
        each, more = divmod(-(-examples // unit), self.count)
        first = self.rank * each + min(self.rank, more)
        last = first + each + (self.rank < more)
        return slice(min(examples, first * unit), min(examples, last * unit))

    def padded_share(self, examples: int) -> Tensor:
        """Return numbers of examples, equally many in each process; the last is repeated where needed."""
        import torch

        each = -(-examples // self.count)
        return torch.arange(self.rank * each, (self.rank + 1) * each).clamp(max=examples - 1)

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each float32 tensor by its sum over the processes, in a fixed order.

        Raises
        ------
        LostProcess
            If another process ended.
        """
        if self.count == 1:
            return
        import torch

        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _lost_processes():
            torch.distributed.all_reduce(flat)
        totals = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, total in zip(tensors, totals, strict=True):
            tensor.copy_(total.view(tensor.shape))

    def everyone(self, value: Any) -> list[Any]:
        """Return the value of each process, in order; it can be pickled.

        Raises
        ------
        LostProcess
            If another process ended.
        """
        if self.count == 1:
            return [value]
        import torch

        values = [None] * self.count
        with _lost_processes():
            torch.distributed.all_gather_object(values, value)
        return values

    def joined(self, numbers: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the numbers (N,) of examples and their outputs (N, K) from all processes, on the CPU.

        Parameters
        ----------
        numbers
            Those of `padded_share`, in any order.
        outputs
            A row for each.

        Raises
        ------
        LostProcess
            If another process ended.
        """
        if self.count == 1:
            return numbers, outputs
        import torch

        everyone = []
        for own in (numbers, outputs):
            parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(self.count)]
            with _lost_processes():
                torch.distributed.all_gather(parts, own.contiguous())
            everyone.append(torch.cat(parts))
        order = torch.argsort(everyone[0], stable=True)
        sorted_numbers = everyone[0][order]
        first = torch.ones(len(order), dtype=torch.bool)
        first[1:] = sorted_numbers[1:] != sorted_numbers[:-1]
        return sorted_numbers[first], everyone[1][order[first]]


ALONE = Processes()


@contextmanager
def _lost_processes() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch.distributed has no class of its own for gloo's
        raise LostProcess(str(error)) from error
