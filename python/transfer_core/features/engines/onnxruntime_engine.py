"""ONNX Runtime on the CPU, or through a provider for an accelerator."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from transfer_core.features.engines.engine import Array, Unusable
from transfer_core.runtime.devices import cores
from transfer_core.runtime.forks import skip_destructors_in_forks

# The provider for each type of device; nodes that it lacks run on the CPU.
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider"}
_NO_LOG = 4


class OnnxRuntimeEngine:
    """Sessions of ONNX Runtime: for batches side by side, and for a single one on all cores.

    Parameters
    ----------
    graph
        Returns the ONNX file of the network.
    device_type
        `cpu`, `cuda` or `mps`.

    Raises
    ------
    Unusable
        If ONNX Runtime is not installed, or has no provider for this device.
    """

    def __init__(self, graph: Callable[[], bytes], device_type: str) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise Unusable("the package onnxruntime is not installed") from None
        skip_destructors_in_forks()
        provider = PROVIDERS[device_type]
        if provider not in onnxruntime.get_available_providers():
            raise Unusable(f"this ONNX Runtime has no {provider}")
        self._runtime, self._graph = onnxruntime, graph
        self._providers = list(dict.fromkeys([provider, PROVIDERS["cpu"]]))
        self._sessions: dict[bool, Any] = {}
        self._opening = threading.Lock()

    def prepare(self, few: bool) -> None:
        """See `Engine`."""
        self._session(few and cores() > 1)

    def run(self, batch: Array, few: bool = False) -> Array:
        """See `Engine`."""
        session = self._session(few and cores() > 1)
        (given,) = session.get_inputs()
        result: Array = session.run(None, {given.name: batch})[0]
        return result

    def _session(self, few: bool) -> Any:
        with self._opening:
            if few not in self._sessions:
                self._sessions[few] = self._open(few)
            return self._sessions[few]

    def _open(self, few: bool) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = cores() if few else 1
        options.log_severity_level = _NO_LOG
        # Idle threads sleep: other programs and other models use the cores as well.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = self._graph()
        try:
            return self._runtime.InferenceSession(graph, options, providers=self._providers)
        except Exception as error:  # its errors have no common base class
            raise Unusable(f"ONNX Runtime can't load it: {error}") from error
