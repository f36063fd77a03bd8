"""PyTorch: on GPUs, and for networks that no other engine can run."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from transfer_core.backbones.backbone import Backbone
from transfer_core.features.engines.engine import Array
from transfer_core.features.image_tensors import normalize
from transfer_core.runtime.devices import Device, cores, torch_threads


class TorchEngine:
    """A copy of a backbone, which later changes to it don't affect; with images in channels-last memory.

    Parameters
    ----------
    precision
        `float32`, `float16` or `bfloat16`, of parameters and activations.
    """

    def __init__(self, backbone: Backbone, device: Device, precision: str) -> None:
        self._device, self._dtype = device, getattr(torch, precision)
        self._is_image = backbone.facts.modality == "image"
        if backbone.facts.plain:
            network = copy.deepcopy(backbone).eval().requires_grad_(False).to(device, self._dtype)
            if self._is_image:
                network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._network = network
        else:
            self._network = backbone.eval()
        if self._is_image:
            self._preprocessing = backbone.preprocessing

    def prepare(self, few: bool) -> None:
        """See `Engine`; a network of another library starts with its first batch."""

    def run(self, batch: Array, few: bool = False) -> Array:
        """See `Engine`. Where a GPU's memory is too small for a batch, in halves."""
        with torch.inference_mode():
            if few and self._device.type == "cpu":
                with torch_threads(cores()):
                    return self._embed(torch.from_numpy(batch)).numpy()
            return self._in_parts(torch.from_numpy(batch)).numpy()

    def _in_parts(self, batch: Tensor) -> Tensor:
        try:
            return self._embed(batch)
        except torch.cuda.OutOfMemoryError:
            if len(batch) == 1:
                raise
        middle = len(batch) // 2
        return torch.cat([self._in_parts(batch[:middle]), self._in_parts(batch[middle:])])

    def _embed(self, batch: Tensor) -> Tensor:
        inputs = batch.to(self._device)
        if self._is_image:
            inputs = normalize(inputs.permute(0, 3, 1, 2), self._preprocessing, self._dtype)
        embeddings: Tensor = self._network(inputs)
        return embeddings.float().cpu()
