"""Base of layers that are not fitted by gradients."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from transfer_core.tasks.criteria import CLASSES, VALUES


class FittedLayer(nn.Module):
    """A layer from features (N, D) to outputs (N, K).

    `numbers` name its tensors in the order of the arguments. Without arguments the layer is empty, and takes
    its shapes from `load_state_dict`.
    """

    numbers: ClassVar[tuple[str, ...]]

    def __init__(self, *tensors: Tensor) -> None:
        super().__init__()
        for name, tensor in zip(self.numbers, tensors or [torch.empty(0)] * len(self.numbers), strict=True):
            self.register_buffer(name, tensor)

    def check(self, width: int, outputs: int) -> None:
        """Check the tensors of an untrusted file for features of `width`, so that all indices are in range.

        Raises
        ------
        ValueError
            If a tensor has another shape, or a number is out of range.
        """

    def _check_shape(self, name: str, *shape: int) -> None:
        found = tuple(getattr(self, name).shape)
        if found != shape:
            raise ValueError(f"its head: {name} is of the shape {list(found)}, expected {list(shape)}")

    def _check_range(self, name: str, least: int, most: int) -> None:
        """Check that a tensor holds whole numbers from `least` to `most`."""
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
    """Convert shares (N, K) of votes to logits; softmax, or the sigmoid for labels, restores the shares.

    An output without votes counts as half a vote, so that its logit is finite. Values are returned unchanged.
    """
    if kind == VALUES:
        return shares
    likely = shares.clamp(min=0.5 / voters)
    return likely.log() if kind == CLASSES else likely.log() - (1 - shares).clamp(min=0.5 / voters).log()
