"""A session of ONNX Runtime with limits on memory and time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from typing import Any

from transfer_core.backbones.image_arrays import Array
from transfer_core.backbones.onnx.onnx_tensor_files import tensor_files
from transfer_core.backbones.untrusted import MEMORY_SHARE, deadline, time_limit
from transfer_core.runtime.errors import DependencyError, ModelFileError, OutOfMemory
from transfer_core.runtime.forks import skip_destructors_in_forks
from transfer_core.runtime.machine_memory import machine_memory

_NO_LOG = 4
# Phrases of ONNX Runtime's allocator.
_OUT_OF_MEMORY = ("Failed to allocate memory", "Available memory of", "bad allocation", "bad_alloc")


class Session:
    """Session of ONNX Runtime that runs on the calling thread; several threads may use it at the same time.

    Parameters
    ----------
    content
        An ONNX file with all its tensors.
    name
        Its name in errors.
    trust
        Whether a batch may exceed `untrusted.time_limit`.

    Raises
    ------
    ModelFileError
        If ONNX Runtime can't load it, or tensors are in other files.
    DependencyError
        If ONNX Runtime is not installed.
    """

    def __init__(self, content: bytes, name: str, trust: bool) -> None:
        self._name, self._trust = name, trust
        if tensor_files(content, name):
            raise ModelFileError(f"{name} can't be loaded: its tensors must be in the file itself")
        self._runtime = _runtime()
        _limit_memory()
        options = self._runtime.SessionOptions()
        # A batch on each core is faster than one batch on all of them (`features/parallel.py`).
        options.intra_op_num_threads = 1
        options.log_severity_level = _NO_LOG
        options.add_session_config_entry("session.use_env_allocators", "1")
        # The other format that it reads is not checked here.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        with self._as_ours("can't be loaded"):
            self._session = self._runtime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        self.inputs: Sequence[Any] = self._session.get_inputs()
        self.outputs: Sequence[Any] = self._session.get_outputs()
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map

    def run(self, output: str, inputs: Mapping[str, Array], images: int) -> Array:
        """Compute one output of a batch; raises `ModelFileError`, or `OutOfMemory` for lack of memory."""
        options = self._runtime.RunOptions()
        options.log_severity_level = _NO_LOG
        limit = None if self._trust else time_limit(images)
        stop = partial(setattr, options, "terminate", True)  # before the next operation
        with self._as_ours("can't be run"), deadline(limit, stop):
            (found,) = self._session.run([output], inputs, options)
        result: Array = found
        return result

    @contextmanager
    def _as_ours(self, complaint: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # ONNX Runtime's errors have no common base class
            # Drop ONNX Runtime's prefix.
            reason = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(str(error).split()))
            if any(phrase in reason for phrase in _OUT_OF_MEMORY):
                raise OutOfMemory(f"{self._name} needs more memory than it may take: {reason}") from error
            if "terminate flag" in reason:
                reason = "it exceeded the time limit. Fix: `trust: true` lifts it"
            raise ModelFileError(f"{self._name} {complaint}: {reason}") from error


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise DependencyError("an .onnx file", "onnxruntime", "onnx") from None
    skip_destructors_in_forks()
    return onnxruntime


@cache
def _limit_memory() -> None:
    """Limit the memory of all sessions in this process that share its allocator."""
    runtime = _runtime()
    kind = runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    info = runtime.OrtMemoryInfo("Cpu", kind, 0, runtime.OrtMemType.DEFAULT)
    limit = runtime.OrtArenaCfg({"max_mem": int(machine_memory()[1] * MEMORY_SHARE)})
    with suppress(Exception):  # the process may have registered an allocator before
        runtime.create_and_register_allocator(info, limit)
