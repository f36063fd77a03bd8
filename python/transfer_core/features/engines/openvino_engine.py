"""OpenVINO on the CPU."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from transfer_core.features.engines.engine import Array, Unusable
from transfer_core.runtime.devices import cores, onednn_is_limited
from transfer_core.runtime.forks import keep_in_forks, skip_destructors_in_forks

# The part of the package that sends usage statistics; the runtime does not need it.
_CONVERTER = "openvino.tools.ovc"


class OpenVinoEngine:
    """Compiled networks of any batch size: for batches side by side, and for a single one on all cores.

    Each is compiled when it is first used.

    Parameters
    ----------
    graph
        Returns the ONNX file of the network.
    precision
        `float32`, or `bfloat16` for matrix products and convolutions.

    Raises
    ------
    Unusable
        If OpenVINO is not installed, or the CPU has no such arithmetic.
    """

    def __init__(self, graph: Callable[[], bytes], precision: str) -> None:
        core = _core()
        if precision != "float32" and not _has_bfloat16(core):
            raise Unusable(f"{precision} is not native to this CPU")
        self._core, self._graph = core, graph
        self._precision = "f32" if precision == "float32" else "bf16"
        self._requests: dict[bool, _Requests] = {}
        self._compiling = threading.Lock()
        keep_in_forks(self)

    def prepare(self, few: bool) -> None:
        """See `Engine`."""
        self._requests_for(few and cores() > 1)

    def run(self, batch: Array, few: bool = False) -> Array:
        """See `Engine`."""
        with self._requests_for(few and cores() > 1).one() as request:
            request.infer([batch], share_inputs=True)
            result: Array = request.get_output_tensor(0).data.copy()
        return result

    def _requests_for(self, few: bool) -> _Requests:
        with self._compiling:
            if few not in self._requests:
                self._requests[few] = _Requests(self._compiled(few))
            return self._requests[few]

    def _compiled(self, few: bool) -> Any:
        options = {
            "INFERENCE_PRECISION_HINT": self._precision,
            # One stream has the threads of all cores; else each has one, so that results don't depend on
            # the number of cores.
            "NUM_STREAMS": 1 if few else cores(),
            "INFERENCE_NUM_THREADS": cores(),
            # Threads that are bound to cores wait for other programs there.
            "ENABLE_CPU_PINNING": False,
        }
        graph = self._graph()
        try:
            return self._core.compile_model(self._core.read_model(graph), "CPU", options)
        except RuntimeError as error:
            raise Unusable(f"OpenVINO can't compile it: {error}") from error


class _Requests:
    """Idle inference requests of a compiled network; one more is made when all are in use."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()

    @contextmanager
    def one(self) -> Iterator[Any]:
        try:
            request = self._idle.get_nowait()
        except queue.Empty:
            request = self._compiled.create_infer_request()
        yield request
        self._idle.put(request)


def _has_bfloat16(core: Any) -> bool:
    """Whether the CPU has the arithmetic, and no variable forbids it, which OpenVINO ignores and crashes."""
    return not onednn_is_limited() and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


_importing = threading.Lock()


def _core() -> Any:
    with _importing:
        return _imported_core()


@cache
def _imported_core() -> Any:
    with _without_converter():
        try:
            import openvino
        except ImportError:
            raise Unusable("the package openvino is not installed") from None
    skip_destructors_in_forks()
    # Two threads that make this conversion for the first time at once wait for each other: the bindings
    # hold Python's lock in one, and the lock of a variable that is being initialized in the other.
    openvino.Type.f32.to_dtype()
    return openvino.Core()


@contextmanager
def _without_converter() -> Iterator[None]:
    """Import OpenVINO without its converter of models, which sends usage statistics and loads slowly."""
    if "openvino" in sys.modules:
        yield
        return
    sys.modules[_CONVERTER] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_CONVERTER]
