"""Describe the input, output and metadata of an ONNX file in a confined process; results are remembered.

A graph that crashes when it is loaded, or takes too much memory or time, does so in that process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from hashlib import sha256
from importlib.util import find_spec
from typing import Any

import msgspec

from transfer_core.backbones.foreign_network import Interface
from transfer_core.backbones.untrusted import LOAD_S, MEMORY_SHARE
from transfer_core.runtime.errors import DependencyError, ModelFileError, OutOfMemory
from transfer_core.runtime.machine_memory import machine_memory
from transfer_core.runtime.measurements import remembered
from transfer_core.sandbox.environment import confined_environment

_PROCESS = "transfer_core.backbones.onnx.onnx_description_process"
_ERRORS = {error.__name__: error for error in (ModelFileError, OutOfMemory)}


class Description(msgspec.Struct, frozen=True):
    """Input and output of an ONNX file, and the preprocessing that its metadata declares."""

    declared: dict[str, Any]
    interface: Interface


def describe(content: bytes, name: str) -> Description:
    """Describe an ONNX file.

    Parameters
    ----------
    content
        The file, with all its tensors.
    name
        Its name in errors.

    Raises
    ------
    ModelFileError
        If ONNX Runtime can't load and run it within the limits, with the reason; if its inputs or outputs are
        not supported.
    OutOfMemory
        If it needs more memory than its share.
    DependencyError
        If ONNX Runtime is not installed.
    """
    known = remembered(f"ONNX graph {sha256(content).hexdigest()}", lambda: _measured(content, name))
    return msgspec.convert(known, Description)


def _measured(content: bytes, name: str) -> dict[str, Any]:
    if find_spec("onnxruntime") is None:
        raise DependencyError("an .onnx file", "onnxruntime", "onnx")
    settings = {"name": name, "memory": int(machine_memory()[1] * MEMORY_SHARE)}
    with tempfile.TemporaryFile() as output:  # of limited size, unlike a pipe's
        try:
            ran = subprocess.run(
                [sys.executable, "-m", _PROCESS, json.dumps(settings)],
                input=content,
                stdout=output,
                stderr=subprocess.DEVNULL,
                env=confined_environment(),
                cwd="/",
                timeout=LOAD_S,
                start_new_session=True,  # so that Ctrl-C does not reach it
            )
        except subprocess.TimeoutExpired:
            raise ModelFileError(f"{name} can't be loaded: it exceeded the limit of {LOAD_S:.0f} s") from None
        output.seek(0)
        printed = output.read()
    try:
        answer = msgspec.json.decode(printed, type=dict[str, Any])
        if "error" in answer:
            raise _ERRORS.get(answer["error"], ModelFileError)(answer["message"])
        plain: dict[str, Any] = msgspec.to_builtins(msgspec.convert(answer, Description))
    except msgspec.MsgspecError as error:
        reason = f"it ended its process (status {ran.returncode})" if ran.returncode else str(error)
        raise ModelFileError(f"{name} can't be loaded: {reason}") from None
    return plain
