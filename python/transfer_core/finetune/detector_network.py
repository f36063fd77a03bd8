"""The trained part of a detection network: the last blocks of the backbone, and the detector."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from transfer_core.backbones import Backbone
from transfer_core.backbones.representations import FeatureMap
from transfer_core.features.frozen_maps import Layout
from transfer_core.finetune.folding import fold_norms
from transfer_core.finetune.network import image_entry
from transfer_core.finetune.partly_frozen import PartlyFrozen
from transfer_core.heads.detection.detector import Detector


class DetectorTail(PartlyFrozen):
    """A backbone from block number `begin` on, and its detector.

    It shares its parameters with `backbone` and `detector`. BatchNorm keeps its statistics in training mode.

    Parameters
    ----------
    maps
        The feature maps that the detector uses.
    trainable
        Names of the blocks whose parameters are trained; the others stay frozen.
    begin
        Number of blocks of the backbone to leave out.
    layout
        What an input row holds: the maps of those blocks, and the output of the last of them.
    check
        Called before each block; an exception that it raises ends the pass.
    """

    def __init__(
        self,
        backbone: Backbone,
        detector: Detector,
        maps: Sequence[FeatureMap],
        trainable: Sequence[str],
        begin: int,
        layout: Layout,
        check: Callable[[], None],
    ) -> None:
        super().__init__()
        names = list(dict(backbone.blocks.named_children()))
        end = 1 + max(names.index(found.block) for found in maps)
        named = [(name, fold_norms(backbone.blocks.get_submodule(name))) for name in names[begin:end]]
        self.blocks = nn.Sequential(OrderedDict(named))
        self.detector = detector
        self._maps = tuple(maps)
        self._layout = layout
        self._enter = image_entry(backbone.preprocessing)
        self._check = check
        self.freeze_all_but(trainable)

    def forward(self, rows: Tensor) -> Tensor:
        """Raw outputs (N, …) of the detector for rows (N, width)."""
        return self.detector(self.maps(rows))  # type: ignore[no-any-return]

    def maps(self, rows: Tensor) -> list[Tensor]:
        """Feature maps (N, C, H, W), float32, from the smallest stride to the largest."""
        frozen, entry = self._layout.unpack(rows)
        found = {known: x.float() for known, x in frozen.items()}
        if len(self.blocks):
            x = self._enter(entry) if entry is not None else list(found.values())[-1]
            for name, block in self.blocks.named_children():
                self._check()
                x = checkpoint(block, x, use_reentrant=False) if self.activation_checkpointing else block(x)
                found |= {known: known.of(x) for known in self._maps if known.block == name}
        return [found[known] for known in self._maps]
