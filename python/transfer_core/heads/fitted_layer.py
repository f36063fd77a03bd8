"""The base of layers that are found by other means than gradients."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from transfer_core.tasks.criteria import CLASSES, VALUES


class FittedLayer(nn.Module):
    """Features (N, D) in, outputs (N, K) out; `numbers` name its tensors, in the order of the arguments.

    Their shapes are known once it is fitted. Made without arguments it is empty, and takes the shapes of the
    tensors that `load_state_dict` is given.
    """

    numbers: ClassVar[tuple[str, ...]]

    def __init__(self, *tensors: Tensor) -> None:
        super().__init__()
        for name, tensor in zip(self.numbers, tensors or [torch.empty(0)] * len(self.numbers), strict=True):
            self.register_buffer(name, tensor)

    def check(self, width: int, outputs: int) -> None:
        """Check the numbers of a file for features of `width`, so that no feature makes an index go astray.

        Raises
        ------
        ValueError
            A tensor has another shape, or a number that is out of its range.
        """

    def _check_shape(self, name: str, *shape: int) -> None:
        found = tuple(getattr(self, name).shape)
        if found != shape:
            raise ValueError(f"its head: {name} is of the shape {list(found)}, expected {list(shape)}")

    def _check_range(self, name: str, least: int, most: int) -> None:
        """Whole numbers from `least` to `most`."""
        tensor: Tensor = getattr(self, name)
        if tensor.is_floating_point() or tensor.dtype == torch.bool:
            raise ValueError(f"its head: {name} is of {tensor.dtype}, expected whole numbers")
        numbers = tensor.long()
        wrong = numbers[(numbers < least) | (numbers > most)]
        if wrong.numel():
            raise ValueError(f"its head: {name} has numbers from {least} to {most} (got {int(wrong[0])})")

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in self.numbers:
            if (found := state_dict.get(prefix + name)) is not None:
                self.register_buffer(name, torch.empty_like(found))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def outputs_of_votes(shares: Tensor, voters: int, kind: int) -> Tensor:
    """Shares (N, K) of so many votes as logits: softmax, or for labels the sigmoid, gives them back.

    What nobody voted for counts as half a vote: it has not been seen to be impossible. Values stay.
    """
    if kind == VALUES:
        return shares
    likely = shares.clamp(min=0.5 / voters)
    return likely.log() if kind == CLASSES else likely.log() - (1 - shares).clamp(min=0.5 / voters).log()
