"""Speed on a GPU: embedding, fine-tuning, compilation, copies, JPEG decoding and several processes.

The numbers decide what is switched on: `torch.compile` where it repays within a training, decoding on the GPU
where its pixels are near Pillow's. Networks have random weights, which take the same time.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.part import Measured, Options
from benchmarks.table import Section, Table

NETWORKS = ("mobilenet_v2", "resnet50", "vit_b_16")
PRECISIONS = ("float32", "bfloat16", "float16")
_SIDE = 224


def measure(options: Options) -> Measured:
    """Measure on the first GPU, or on the CPU if there is none."""
    import torch

    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    networks = NETWORKS[:1] if options.quick else NETWORKS
    batch = options.count(64 if device != "cpu" else 16, 2)
    found: Measured = {
        "device": torch.cuda.get_device_name(0) if device != "cpu" else "CPU, no GPU",
        "gpus": torch.cuda.device_count(),
        "torch": torch.__version__,
        "batch": batch,
        "networks": {name: _network(name, device, batch, options) for name in networks},
        "jpeg": _jpeg(device, options.count(256, 2)),
    }
    options.say("JPEG decoding")
    if device != "cpu":
        found["copy_gb_per_s"] = _copies(options.count(256, 1))
    counts = [n for n in (1, 2, 4, 8) if n <= max(torch.cuda.device_count(), 1)]
    if not options.quick and len(counts) > 1:
        found["processes"] = {str(n): _processes(n, options) for n in counts}
    return found


def report(measured: Measured) -> Section:
    """Tables of images per second."""
    rows = [
        (
            name,
            precision,
            *(_shown(speeds.get(kind)) for kind in ("embed", "train", "compiled")),
            _repays(speeds),
        )
        for name, precisions in measured["networks"].items()
        for precision, speeds in precisions.items()
    ]
    head = (
        "network",
        "precision",
        "embed, img/s",
        "train all, img/s",
        "compiled",
        "compilation repays after",
    )
    jpeg = measured["jpeg"]
    decoded = [(kind, _shown(jpeg.get(kind))) for kind in ("Pillow", "torchvision", "nvJPEG")]
    decoded += [("largest mean difference of nvJPEG to Pillow", _shown(jpeg.get("difference")))]
    tables = [Table(head, tuple(rows)), Table(("JPEG, one thread", "img/s"), tuple(decoded))]
    for title, key in (("copy to the GPU", "copy_gb_per_s"), ("processes", "processes")):
        if key in measured:
            unit = "GB/s" if key == "copy_gb_per_s" else "img/s"
            tables.append(Table((title, unit), tuple((k, _shown(v)) for k, v in measured[key].items())))
    where = f"{measured['device']}, torch {measured['torch']}, batches of {measured['batch']}."
    return Section("GPU", (where,), tuple(tables), ())


def _network(name: str, device: str, batch: int, options: Options) -> dict[str, dict[str, float]]:
    """Images per second by precision."""
    from transfer_core import backbones
    from transfer_core.features.engines.torch_engine import TorchEngine
    from transfer_core.runtime.devices import Device

    found: dict[str, dict[str, float]] = {}
    pixels = np.random.default_rng(0).integers(0, 256, (batch, _SIDE, _SIDE, 3), np.uint8)
    for precision in PRECISIONS[: 1 if device == "cpu" else None]:
        options.say(f"{name}, {precision}")
        backbone = backbones.load(name, "random")
        engine = TorchEngine(backbone, Device(device), precision)
        seconds = _seconds(lambda engine=engine: engine.run(pixels), options)
        found[precision] = {
            "embed": batch / seconds,
            **_training(backbone, device, precision, batch, options),
        }
    return found


def _training(backbone: Any, device: str, precision: str, batch: int, options: Options) -> dict[str, float]:
    """Images per second of training all blocks; on a GPU compiled as well."""
    import torch
    from torch import nn

    from transfer_core.finetune.network import Tail
    from transfer_core.runtime.progress import Progress
    from transfer_core.tasks.criteria import CrossEntropy
    from transfer_core.training.batch import Batch
    from transfer_core.training.losses import loss_of
    from transfer_core.training.single_device_execution import single_device_execution

    head = nn.Sequential(nn.Linear(backbone.facts.embedding_width, 10))
    tail = Tail(backbone, head, backbone.facts.blocks, 0).train()
    pixels = torch.randint(0, 256, (batch, 3, _SIDE, _SIDE), dtype=torch.uint8)
    some = Batch(pixels, torch.arange(batch) % 10, torch.ones(batch))
    loss, dtype = loss_of(CrossEntropy()), getattr(torch, precision)
    with single_device_execution(tail, torch.device(device), dtype, batch, Progress()) as execution:
        step = _seconds(lambda: execution.backward(some, loss), options)
        found = {"train": batch / step}
        if device != "cpu":
            usual = execution.module
            execution.module = torch.compile(usual)
            began = time.perf_counter()
            execution.backward(some, loss)
            compiling = time.perf_counter() - began
            faster = _seconds(lambda: execution.backward(some, loss), options)
            execution.module = usual
            found["compiled"] = batch / faster
            if faster < step:
                found["repays_images"] = batch * compiling / (step - faster)
    return found


def _jpeg(device: str, count: int) -> dict[str, float]:
    """Images per second of decoding photos of 1024 × 768, and the difference of a GPU's pixels."""
    import torch
    from torchvision.io import decode_jpeg

    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).resize((1024, 768), Image.BICUBIC)
    file = io.BytesIO()
    smooth.save(file, "JPEG", quality=90)
    data = file.getvalue()
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    pixels = np.asarray(Image.open(io.BytesIO(data)))

    def per_second(work: Callable[[], object]) -> float:
        began = time.perf_counter()
        for _ in range(count):
            work()
        return count / (time.perf_counter() - began)

    found = {
        "Pillow": per_second(lambda: np.asarray(Image.open(io.BytesIO(data)))),
        "torchvision": per_second(lambda: decode_jpeg(encoded)),
    }
    if device != "cpu":
        on_gpu = decode_jpeg([encoded], device=device)[0]
        difference = on_gpu.cpu().permute(1, 2, 0).float() - torch.from_numpy(pixels).float()
        found["difference"] = float(difference.abs().mean())
        many = [encoded] * 32
        decode_jpeg(many, device=device)
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(max(1, count // 32)):
            decode_jpeg(many, device=device)
        torch.cuda.synchronize()
        found["nvJPEG"] = 32 * max(1, count // 32) / (time.perf_counter() - began)
    return found


def _copies(megabytes: int) -> dict[str, float]:
    """GB per second to the GPU, from ordinary and page-locked memory."""
    import torch

    found = {}
    ordinary = torch.empty(megabytes * 2**20, dtype=torch.uint8)
    for name, source in (("ordinary memory", ordinary), ("page-locked memory", ordinary.pin_memory())):
        source.to("cuda:0", non_blocking=True)
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(10):
            source.to("cuda:0", non_blocking=True)
        torch.cuda.synchronize()
        found[name] = 10 * source.numel() / 1e9 / (time.perf_counter() - began)
    return found


def _processes(count: int, options: Options) -> float:
    """Training images per second of an epoch after the first, with batches of 64 per process."""
    import transfer_core

    epochs: list[float] = []

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "epoch" and event["step"] == "fine_tune":
            epochs.append(time.perf_counter())

    examples = 64 * 16 * count
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        for i in range(examples):
            path = Path(folder) / "train" / "ab"[i % 2] / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)).save(path)
        transfer_core.train(
            data=str(Path(folder) / "train"),
            backbone="resnet50",
            weights="random",
            split={"test": 0.0, "valid": 0.0, "near_duplicates": False},
            steps=[
                {"type": "freeze"},
                {"type": "train"},
                {"type": "unfreeze", "all": True},
                {"type": "train", "epochs": 3, "batch_size": 64 * count},
            ],
            processes=count,
            device="cuda",
            on_event=listen,
        )
    options.say(f"{count} processes")
    return 2 * examples / (epochs[-1] - epochs[0])


def _seconds(work: Callable[[], object], options: Options) -> float:
    """Seconds of one call: the median of several after a warm-up."""
    import torch

    def once() -> float:
        began = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - began

    for _ in range(options.count(3, 0)):
        once()
    return float(np.median([once() for _ in range(options.count(10, 1))]))


def _shown(value: float | None) -> str:
    return "not run" if value is None else f"{value:,.1f}"


def _repays(speeds: dict[str, float]) -> str:
    images = speeds.get("repays_images")
    return f"{images:,.0f} images" if images else "never" if "compiled" in speeds else "not run"
