"""The graph of a backbone and the embeddings that an engine must reproduce: cached, or made with torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from transfer_core.cache.networks import StoredArrays, open_arrays, store_arrays
from transfer_core.features.engines.engine import Array, Unusable
from transfer_core.features.parallel import on_one_core
from transfer_core.runtime.devices import Device
from transfer_core.runtime.errors import DependencyError, RecipeError
from transfer_core.runtime.version import __version__

if TYPE_CHECKING:
    from transfer_core.backbones.frozen import AnyBackbone

# Changes whenever the same backbone would get another graph. A release may change the code of a network, too.
GRAPH_VERSION = f"1 {__version__}"
# Of so many inputs the activations are in memory at the same time.
_AT_ONCE = 4


def has_graph(backbone: AnyBackbone) -> bool:
    """Whether a backbone of this identity and preprocessing was converted on this machine."""
    return open_arrays("graph", _key_of(backbone)) is not None


def _key_of(backbone: AnyBackbone) -> str:
    prepared = backbone.preprocessing if backbone.facts.modality == "image" else None
    return f"{backbone.identity} {prepared} {GRAPH_VERSION}"


class Reference:
    """A backbone's graph, and torch's embeddings of a probe in float32.

    Parameters
    ----------
    backbone
        The backbone.
    probe
        Makes the probe, a batch that the engine takes.
    device
        Where torch computes the embeddings.
    """

    def __init__(self, backbone: AnyBackbone, probe: Callable[[], Array], device: Device) -> None:
        self._backbone, self._make_probe, self._device = backbone, probe, device
        # A graph that the cache did not take.
        self._unstored: bytes | None = None

    def graph(self) -> bytes:
        """The ONNX file, with normalization inside.

        Raises
        ------
        Unusable
            If the backbone can't be converted.
        """
        if self._unstored:
            return self._unstored
        if stored := self._stored():
            with suppress(ValueError):  # damaged: converted again
                return stored.read("graph").tobytes()
        from transfer_core.backbones.graph import onnx_graph

        try:
            is_image = self._backbone.facts.modality == "image"
            graph = onnx_graph(self._backbone.module(), from_levels=is_image)
        except (RecipeError, DependencyError) as error:
            raise Unusable(str(error)) from error
        arrays = {"graph": np.frombuffer(graph, np.uint8)}
        if self.embeddings.ndim == 2:  # maps of the first blocks alone are larger than the graph
            arrays["embeddings"] = self.embeddings
        store_arrays("graph", self._key, arrays, {"probe": self._digest})
        if not self._stored():
            self._unstored = graph
        return graph

    @cached_property
    def probe(self) -> Array:
        """The probe."""
        return self._make_probe()

    @cached_property
    def embeddings(self) -> Array:
        """Torch's embeddings of the probe, (P, …) float32."""
        stored = self._stored()
        if stored and "embeddings" in stored.names and stored.metadata.get("probe") == self._digest:
            with suppress(ValueError):  # damaged: computed again
                return stored.read("embeddings")
        from transfer_core.features.engines.torch_engine import TorchEngine

        def computed() -> Array:
            engine = TorchEngine(self._backbone.module(), self._device, "float32")
            parts = range(0, len(self.probe), _AT_ONCE)
            return np.concatenate([engine.run(self.probe[start : start + _AT_ONCE]) for start in parts])

        return on_one_core(computed)

    def _stored(self) -> StoredArrays | None:
        return open_arrays("graph", self._key)

    @cached_property
    def _key(self) -> str:
        return _key_of(self._backbone)

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(np.ascontiguousarray(self.probe).tobytes()).hexdigest()
