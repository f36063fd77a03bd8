"""Choose the engine, the precision and the batch size of a frozen backbone: measured once per machine."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import numpy as np

from transfer_core.features.engines.engine import Array, Engine, Unusable
from transfer_core.features.engines.onnxruntime_engine import OnnxRuntimeEngine
from transfer_core.features.engines.openvino_engine import OpenVinoEngine
from transfer_core.features.engines.reference import Reference
from transfer_core.runtime.devices import Device
from transfer_core.runtime.measurements import remembered

if TYPE_CHECKING:
    from transfer_core.backbones.frozen import AnyBackbone

# Changes whenever the same weights would get another choice, or the same choice would give other embeddings.
CHOICE_VERSION = 1

# The least cosine between an embedding and the published network's in float32. Of a thousand pictures some
# are rounded worse than the worst of a few: on the probe half of the error may be made that 0.999 allows.
AGREEMENT = 0.9995

# An engine further down the list must be this much faster: the noise of the measurement must not decide.
CLEARLY_FASTER = 0.9

# Inputs per forward pass to try, from the first on while they pay: activations of few images stay in a core's
# cache, a GPU needs more at once.
BATCHES = {"cpu": (1, 4), "cuda": (32, 64, 128, 256), "mps": (16, 32)}
WORTH_ENLARGING = 0.97

# Networks of other libraries run as they are. This many images suit ONNX Runtime on one core, which is slower
# with more, and TensorFlow on all, which is hardly faster.
FOREIGN_BATCH = 8

# A network this slow, per image, is timed once.
SLOW_S = 0.1

PACKAGES = {"openvino": "openvino", "onnxruntime": "onnxruntime", "torch": "torch"}


@dataclass(frozen=True)
class Choice:
    """How a backbone runs.

    Parameters
    ----------
    engine, version
        Name of the engine, and the version of its package.
    precision
        `float32`, `bfloat16` or `float16`.
    batch
        Inputs per forward pass: images, or tokens of texts.
    seconds
        Measured time per image, on a CPU of one core; 0: not measured.
    """

    engine: str
    version: str
    precision: str
    batch: int
    seconds: float = field(default=0.0, compare=False)


def choose(backbone: AnyBackbone, reference: Reference, device: Device, precision: str) -> Choice:
    """The fastest choice, by a short timing, whose embeddings of the probe agree with torch's in float32.

    Parameters
    ----------
    backbone
        The backbone.
    reference
        Its graph, the probe and torch's embeddings of it.
    device
        Where it runs.
    precision
        `auto`, or the user's choice, which is not checked for agreement.
    """
    first = BATCHES[device.type][0]
    if not backbone.facts.plain:
        return Choice("torch", _version("torch"), "float32", FOREIGN_BATCH)
    installed = installed_engines()
    size = backbone.preprocessing.crop_size if backbone.facts.modality == "image" else ""
    how = f"{size} {precision} on {_place(device)}, {installed}, version {CHOICE_VERSION}"
    key = f"engine: {backbone.identity}, {how}"

    def measure() -> dict[str, object]:
        best: Choice | None = None
        for candidate in _candidates(device, precision, first):
            timed = _timed(candidate, backbone, reference, device, precision == "auto")
            if timed and (best is None or timed.seconds < CLEARLY_FASTER * best.seconds):
                best = timed
            if candidate.engine == "onnxruntime" and best:
                break  # torch is for what no other engine can run
        chosen = best or Choice("torch", _version("torch"), "float32", first)
        if backbone.facts.modality == "image":
            chosen = _with_batch_that_pays(chosen, backbone, reference, device)
        return asdict(chosen)

    return Choice(**remembered(key, measure))


def installed_engines() -> dict[str, str]:
    """The versions of the installed engines."""
    return {name: found for name in PACKAGES if (found := _version(name))}


def open_engine(choice: Choice, backbone: AnyBackbone, reference: Reference, device: Device) -> Engine:
    """Open the chosen engine.

    Raises
    ------
    Unusable
        If it can't run the backbone.
    """
    if choice.engine == "openvino":
        return OpenVinoEngine(reference.graph, choice.precision)
    if choice.engine == "onnxruntime":
        return OnnxRuntimeEngine(reference.graph, device.type)
    from transfer_core.features.engines.torch_engine import TorchEngine

    return TorchEngine(backbone.module(), device, choice.precision)


def _candidates(device: Device, precision: str, batch: int) -> Iterator[Choice]:
    """What to try, in the order of preference where times are alike."""
    wanted = {"auto": ("float32", "float16", "bfloat16")}.get(precision, (precision,))
    if device.type == "cpu":
        pairs = [("openvino", "float32"), ("openvino", "bfloat16"), ("onnxruntime", "float32")]
        pairs += [("torch", "float32" if precision == "auto" else precision)]
    else:
        pairs = [
            ("torch", "float32"),
            ("torch", "float16"),
            ("torch", "bfloat16"),
            ("onnxruntime", "float32"),
        ]
    for engine, reduced in pairs:
        if reduced in wanted and (found := _version(engine)):
            yield Choice(engine, found, reduced, batch)


def _timed(
    candidate: Choice, backbone: AnyBackbone, reference: Reference, device: Device, check: bool
) -> Choice | None:
    """The candidate with its time per input; None if it can't be used, or does not agree."""
    try:
        engine = open_engine(candidate, backbone, reference, device)
        engine.prepare(few=False)
        parts = np.array_split(reference.probe, -(-len(reference.probe) // max(4, candidate.batch)))
        engine.run(parts[0])
        start = _now(device)
        embeddings = np.concatenate([engine.run(part) for part in parts])
        seconds = (_now(device) - start) / len(reference.probe)
    except Unusable:
        return None
    if (check or candidate.precision == "float32") and not agree(embeddings, reference.embeddings):
        return None
    return replace(candidate, seconds=seconds)


def agree(embeddings: Array, expected: Array) -> bool:
    """Whether all embeddings point where the expected ones do."""
    found, right = (np.asarray(rows, np.float64).reshape(len(rows), -1) for rows in (embeddings, expected))
    if found.shape != right.shape or not np.isfinite(found).all():
        return False
    # Without a least length: random weights give tiny numbers. None at all is not agreement.
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(right, axis=1)
    cosine = (found * right).sum(axis=1) / np.maximum(lengths, 1e-100)
    return bool(((cosine >= AGREEMENT) | (found == right).all(axis=1)).all())


def _with_batch_that_pays(
    choice: Choice, backbone: AnyBackbone, reference: Reference, device: Device
) -> Choice:
    engine = open_engine(choice, backbone, reference, device)
    best, least = choice.batch, math.inf
    for size in BATCHES[device.type]:
        batch = np.resize(reference.probe, (size, *reference.probe.shape[1:]))
        seconds = min(_seconds(engine, batch, device) for _ in range(1 if choice.seconds > SLOW_S else 3))
        if seconds / size > WORTH_ENLARGING * least:
            break
        best, least = size, seconds / size
    return replace(choice, batch=best, seconds=least)


def _seconds(engine: Engine, batch: Array, device: Device) -> float:
    start = _now(device)
    engine.run(batch)
    return _now(device) - start


def _now(device: Device) -> float:
    """On a CPU the time of this process: the share that other programs take does not count."""
    return time.process_time() if device.type == "cpu" else time.perf_counter()


def _place(device: Device) -> str:
    if device.type != "cuda":
        return device.type
    import torch

    return torch.cuda.get_device_name(device)


def _version(engine: str) -> str:
    try:
        return version(PACKAGES[engine])
    except PackageNotFoundError:
        return ""
