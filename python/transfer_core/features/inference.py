"""A backbone that only infers: BatchNorm folded, operations joined, some blocks in less than float32."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from transfer_core.backbones import Backbone
from transfer_core.features.fuse import fuse
from transfer_core.features.one_pass import in_one_pass
from transfer_core.features.pixels import normalize, to_batch
from transfer_core.features.probe import even_photos
from transfer_core.runtime.onednn import has_convolution


@dataclass(frozen=True)
class Plan:
    """How a backbone is run: its first `exact` blocks in float32 and those after them in `dtype`, on `batch`
    images at once; with `fused` operations, or in those that its publisher wrote. `seconds` is what an image
    took when that was measured, on a CPU of one core; 0: it was not."""

    exact: int
    dtype: str
    batch: int
    fused: bool
    seconds: float = field(default=0.0, compare=False)


# Changes whenever the same weights would get another plan, or the same plan would give other embeddings.
INFERENCE_VERSION = 3


class Inference(nn.Module):
    """Some blocks in float32, the blocks after them in `dtype`, and the pool in float32 again."""

    def __init__(
        self, exact: Sequence[nn.Module], reduced: Sequence[nn.Module], dtype: torch.dtype, pool: nn.Module
    ) -> None:
        super().__init__()
        self.exact = nn.Sequential(*exact)
        self.reduced = nn.Sequential(*reduced)
        self.pool = pool
        self._dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, embedding_width), float32."""
        x = self.exact(images)
        if len(self.reduced):
            x = self.reduced(x.to(self._dtype))
        embeddings: Tensor = self.pool(x.float())
        return embeddings


class Variants:
    """The blocks of a backbone, prepared on `device` when they are first asked for.

    Later changes to the backbone don't reach what was prepared.
    """

    def __init__(self, backbone: Backbone, device: torch.device) -> None:
        self.backbone = backbone
        self.device = device
        self.pool = copy.deepcopy(backbone.pool).to(device).eval()
        self._prepared: dict[str, list[nn.Module]] = {}

    def network(self, plan: Plan) -> Inference:
        """The backbone as `plan` says."""
        if not self.backbone.facts.plain:
            return self._as_it_is()
        if not plan.fused:
            published = copy.deepcopy(self.backbone.blocks).to(self.device).eval().requires_grad_(False)
            return Inference(list(published), [], torch.float32, self.pool)
        dtypes = ["float32" if i < plan.exact else plan.dtype for i in range(len(self.backbone.blocks))]
        blocks = self._in_each(dtypes)
        return Inference(blocks[: plan.exact], blocks[plan.exact :], getattr(torch, plan.dtype), self.pool)

    def blocks(self, dtype: str) -> list[nn.Module]:
        """All blocks, fused, in `dtype`."""
        self.prepare(dtype)
        return self._prepared[dtype]

    def prepare(self, *dtypes: str) -> None:
        """Have all blocks in each of these: together they take little longer than in one."""
        missing = [dtype for dtype in dtypes if dtype not in self._prepared]
        if missing:
            prepared = self._prepare([missing] * len(self.backbone.blocks))
            self._prepared.update(zip(missing, map(list, zip(*prepared, strict=True)), strict=True))

    def _in_each(self, dtypes: Sequence[str]) -> list[nn.Module]:
        """Each block in the precision at its place. Who compares plans has all blocks in all of them; for
        one that is known, each is needed once."""
        if len(set(dtypes)) == 1 or self._prepared.keys() >= set(dtypes):
            return [self.blocks(dtype)[i] for i, dtype in enumerate(dtypes)]
        return [block for (block,) in self._prepare([[dtype] for dtype in dtypes])]

    def forget(self) -> None:
        """Free the blocks that no network is made of."""
        self._prepared.clear()

    @torch.no_grad()
    def _as_it_is(self) -> Inference:
        """The backbone itself, which may be no torch inside, after the first pass that it starts with."""
        network = Inference(list(self.backbone.blocks), [], torch.float32, self.pool)
        size = self.backbone.preprocessing.crop_size
        network(torch.zeros(1, 3, size, size, device=self.device))
        return network

    @torch.no_grad()
    def _prepare(self, dtypes: Sequence[Sequence[str]]) -> list[list[nn.Module]]:
        """Each block, fused, in each of the precisions that stand at its place."""
        folded = fuse(self.backbone).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        wanted = [[getattr(torch, dtype) for dtype in some] for some in dtypes]
        if self.device.type != "cpu" or not has_convolution(torch.float32):
            each = zip(folded.blocks, wanted, strict=True)
            return [[copy.deepcopy(block).to(dtype) for dtype in some] for block, some in each]
        preprocessing = self.backbone.preprocessing
        # Where an image is even, rounding errs the same way everywhere: that is what must be put right.
        example = to_batch(even_photos(preprocessing.crop_size))
        example = normalize(example, preprocessing, torch.float32)
        blocks = deque(folded.blocks)
        del folded  # a block is free as soon as it is prepared
        prepared = []
        for some in wanted:
            joined, example = in_one_pass(blocks.popleft(), example, some)
            prepared.append(joined)
        return prepared
