"""Base of networks of which some blocks are trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

Self = TypeVar("Self", bound="PartlyFrozen")


class PartlyFrozen(nn.Module):
    """A network with `blocks`; call `freeze_all_but` at the end of the constructor.

    Attributes
    ----------
    activation_checkpointing
        Recompute the activations of each block in the backward pass instead of storing them.
    """

    blocks: nn.Sequential

    def freeze_all_but(self, trainable: Sequence[str]) -> None:
        """Train the blocks with these names, and everything that is not a block."""
        self.activation_checkpointing = False
        self._frozen = [block for name, block in self.blocks.named_children() if name not in trainable]
        self.requires_grad_(True)
        for block in self._frozen:
            block.requires_grad_(False)

    def train(self: Self, mode: bool = True) -> Self:
        """Set the mode; frozen blocks and BatchNorm stay in eval mode."""
        super().train(mode)
        for module in (*self._frozen, *(m for m in self.modules() if isinstance(m, _BatchNorm))):
            module.eval()
        return self
