"""The part of a network that trains: all from the first block that is not frozen, with the head."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from transfer_core.backbones import Backbone, Preprocessing
from transfer_core.features import normalize
from transfer_core.features.tokens import PADDING
from transfer_core.finetune.folding import fold_norms


def frozen_in_front(backbone: Backbone, trainable: Sequence[str]) -> int:
    """How many blocks come before the first that trains."""
    frozen = [name not in trainable for name, _ in backbone.blocks.named_children()]
    return [*frozen, False].index(False)


def _go_on() -> None:
    """Nobody wants to stop it."""


def image_entry(preprocessing: Preprocessing) -> Callable[[Tensor], Tensor]:
    """From pixels, or what blocks made of them, to what a block takes."""

    def enter(inputs: Tensor) -> Tensor:
        if inputs.dtype == torch.uint8:
            inputs = normalize(inputs, preprocessing, torch.float32)
        return inputs.float()

    return enter


def text_entry(inputs: Tensor) -> Tensor:
    """From tokens (N, L, 2), or hidden states (N, L, D), to what a block takes; without padding that all
    have."""
    if not inputs.is_floating_point():
        return inputs[:, : int((inputs[:, :, 0] != PADDING).sum(dim=1).max())]
    return inputs[:, : int((inputs != 0).any(dim=2).sum(dim=1).max())].float()


class Tail(nn.Module):
    """A backbone from block number `begin` on, and its head; of the blocks only the `trainable` ones train.

    The parameters are those of `backbone` and `head`. BatchNorm keeps its statistics, whatever the mode. With
    `recompute` a block's activations are computed a second time for the gradients, instead of kept.

    Parameters
    ----------
    dtype
        Any precision below float32 means bfloat16 here, whatever its name: float16's range is too small for
        gradients.
    check
        Called before and after each block, in both directions; what it raises ends the pass.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Sequential,
        trainable: Sequence[str],
        begin: int,
        dtype: torch.dtype,
        check: Callable[[], None] = _go_on,
    ) -> None:
        super().__init__()
        named = list(backbone.blocks.named_children())[begin:]
        self.blocks = nn.Sequential(OrderedDict((name, fold_norms(block)) for name, block in named))
        self.pool = backbone.pool
        self.head = head
        self._entry = text_entry if backbone.facts.modality == "text" else image_entry(backbone.preprocessing)
        self._dtype = dtype
        self._check = check
        self.recompute = False
        self._frozen = [block for name, block in self.blocks.named_children() if name not in trainable]
        self.requires_grad_(True)
        for block in self._frozen:
            block.requires_grad_(False)

    def train(self, mode: bool = True) -> Tail:
        """Training mode for what trains; frozen blocks and BatchNorm stay in eval mode."""
        super().train(mode)
        for module in (*self._frozen, *(m for m in self.modules() if isinstance(m, _BatchNorm))):
            module.eval()
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        """What the frozen blocks gave, or uint8 pixels (N, 3, H, W), or tokens (N, L, 2), to outputs (N, K),
        float32."""
        inputs = self._entry(inputs)
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self._dtype != torch.float32):
            x = inputs
            for block in self.blocks:
                self._check()
                if x.requires_grad:
                    x.register_hook(self._on_the_way_back)  # type: ignore[no-untyped-call]
                x = checkpoint(block, x, use_reentrant=False) if self.recompute else block(x)
            outputs: Tensor = self.head(self.pool(x))
        return outputs.float()

    def _on_the_way_back(self, gradient: Tensor) -> None:
        self._check()
