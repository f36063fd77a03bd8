"""The trained part of a network: the blocks from the first trainable one on, and the head."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from transfer_core.backbones import Backbone, Preprocessing
from transfer_core.features.image_tensors import normalize
from transfer_core.features.tokens import PADDING
from transfer_core.finetune.folding import fold_norms
from transfer_core.finetune.partly_frozen import PartlyFrozen


def frozen_in_front(backbone: Backbone, trainable: Sequence[str]) -> int:
    """Return the number of blocks before the first trainable one."""
    frozen = [name not in trainable for name, _ in backbone.blocks.named_children()]
    return [*frozen, False].index(False)


def _never_cancelled() -> None:
    """Do nothing."""


def image_entry(preprocessing: Preprocessing) -> Callable[[Tensor], Tensor]:
    """Return the function that makes inputs of the first trained block from uint8 pixels or hidden states."""

    def enter(inputs: Tensor) -> Tensor:
        if inputs.dtype == torch.uint8:
            inputs = normalize(inputs, preprocessing, torch.float32)
        return inputs.float()

    return enter


def text_entry(inputs: Tensor) -> Tensor:
    """Return tokens (N, L, 2), or hidden states (N, L, D) as float32, without padding that all rows share."""
    if not inputs.is_floating_point():
        return inputs[:, : int((inputs[:, :, 0] != PADDING).sum(dim=1).max())]
    return inputs[:, : int((inputs != 0).any(dim=2).sum(dim=1).max())].float()


class Tail(PartlyFrozen):
    """A backbone from block number `begin` on, and its head.

    It shares its parameters with `backbone` and `head`. BatchNorm keeps its statistics in training mode, too.

    Parameters
    ----------
    trainable
        Names of the blocks whose parameters are trained; the others stay frozen.
    begin
        Number of blocks of the backbone to leave out; `forward` takes their outputs.
    check
        Called before each block, forward and backward; an exception that it raises ends the pass.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        trainable: Sequence[str],
        begin: int,
        check: Callable[[], None] = _never_cancelled,
    ) -> None:
        super().__init__()
        named = list(backbone.blocks.named_children())[begin:]
        self.blocks = nn.Sequential(OrderedDict((name, fold_norms(block)) for name, block in named))
        self.pool = backbone.pool
        self.head = head
        self._entry = text_entry if backbone.facts.modality == "text" else image_entry(backbone.preprocessing)
        self._check = check
        self.freeze_all_but(trainable)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return outputs (N, K) for hidden states, uint8 pixels (N, 3, H, W) or tokens (N, L, 2)."""
        x = self._entry(inputs)
        for block in self.blocks:
            self._check()
            if x.requires_grad:
                x.register_hook(self._check_backward)  # type: ignore[no-untyped-call]
            x = checkpoint(block, x, use_reentrant=False) if self.activation_checkpointing else block(x)
        outputs: Tensor = self.head(self.pool(x))
        return outputs

    def _check_backward(self, gradient: Tensor) -> None:
        self._check()
