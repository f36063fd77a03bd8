"""Select the device, the precision and the number of cores and threads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from transfer_core.runtime.errors import ConfigurationError

if TYPE_CHECKING:
    import torch


class Device(str):
    """The name of a device as torch accepts it: `cpu`, `cuda:0`, `mps`."""

    @property
    def type(self) -> str:
        """The name without a number."""
        return self.partition(":")[0]


WORTH_SHARING = 200_000_000

_MOST_CORES: ContextVar[int | None] = ContextVar("most_cores", default=None)


@dataclass(frozen=True)
class Machine:
    """The `device` that a network runs on, and its `precision` (a word of the recipe)."""

    device: Device
    precision: str


def cores() -> int:
    """The number of cores for a computation: `TRANSFER_THREADS`, or those available to this process.

    Work is divided by `machine_cores` instead, so that results differ by rounding at most (in a large head).

    Raises
    ------
    ConfigurationError
        If `TRANSFER_THREADS` is not a number of cores.
    """
    chosen = core_setting("TRANSFER_THREADS") or _present_cores()
    return min(chosen, _MOST_CORES.get() or chosen)


def machine_cores() -> int:
    """The number of cores of this machine, available to this process or not."""
    return os.cpu_count() or 1


@contextmanager
def at_most_cores(limit: int | None) -> Iterator[None]:
    """Limit `cores` to `limit` within the block, in this thread; None changes nothing."""
    before = _MOST_CORES.set(limit or _MOST_CORES.get())
    try:
        yield
    finally:
        _MOST_CORES.reset(before)


def core_setting(variable: str) -> int | None:
    """Read a number of cores from an environment variable; None if it is not set.

    Raises
    ------
    ConfigurationError
        If it is not a whole number of at least 1.
    """
    value = os.environ.get(variable, "").strip()
    if not value:
        return None
    if not value.isdecimal() or int(value) < 1:
        raise ConfigurationError(f"{variable} is a number of cores, 1 or more, got {value!r}")
    return int(value)


def _present_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux; less than the machine has in a container
    return len(affinity(0)) if affinity else machine_cores()


def choose_device(wanted: str = "auto") -> Device:
    """Select a device: `auto` prefers cuda, then mps, then cpu.

    Raises
    ------
    ConfigurationError
        If the device is not available; the message lists the available ones.
    """
    present = available_devices()
    if wanted == "auto":
        return Device(present[0])
    if _is_among(wanted, present):
        return Device(wanted)
    raise ConfigurationError(
        f"device {wanted} is not available here (there is: {', '.join(present)}); use device: auto"
    )


def available_devices() -> list[str]:
    """Names of the available torch devices, fastest kind first, `cpu` last; torch is imported only where
    there may be others than the CPU."""
    if not _may_have_others():
        return ["cpu"]
    import torch

    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def check_precision(precision: str, device: Device) -> None:
    """Raise `ConfigurationError` for float16 on a CPU, which has no fast arithmetic for it."""
    if precision == "float16" and device.type == "cpu":
        raise ConfigurationError("precision float16 needs a GPU; on a cpu use bfloat16 or float32")


def check_processes(count: int, wanted: str, device: Device) -> None:
    """Check that `count` processes can train on this machine, one per GPU, or sharing its cores.

    Parameters
    ----------
    wanted
        The word of the recipe.
    device
        The device that was chosen for it.

    Raises
    ------
    ConfigurationError
        If there are too few GPUs or cores, or one of several GPUs is named.
    """
    if count == 1:
        return
    if ":" in wanted or device.type == "mps":
        raise ConfigurationError(
            f"{count} processes need a GPU each, or the CPU (got device {wanted}). Fix: device: :cuda or :cpu"
        )
    gpus = sum(name.startswith("cuda") for name in available_devices())
    there, unit = (gpus, "GPUs") if device.type == "cuda" else (cores(), "cores")
    if count > there:
        raise ConfigurationError(
            f"{count} processes need {count} {unit}, and there are {there}. Fix: processes: {there} or fewer"
        )


def choose_dtype(precision: str, device: Device) -> torch.dtype:
    """Select the floating-point type for training blocks of the backbone.

    `auto` is float32 on a CPU, where bfloat16 speeds up training very little, and bfloat16 on GPUs that
    support it natively.

    Raises
    ------
    ConfigurationError
        For float16 on a CPU, which has no fast arithmetic for it.
    """
    import torch

    if precision == "auto":
        return torch.bfloat16 if _is_fast_in_bfloat16(device) else torch.float32
    check_precision(precision, device)
    dtype: torch.dtype = getattr(torch, precision)
    return dtype


def fast_dtype(device: Device) -> str | None:
    """The native reduced-precision type of the device for inference; None if it has none.

    float16 is preferred where the hardware supports it: its significand has 11 bits, bfloat16's has 8.
    """
    import torch

    if device.type == "cuda":
        return "float16" if torch.cuda.get_device_capability(device) >= (7, 0) else None
    return "bfloat16" if device.type == "cpu" and _cpu_is_fast_in_bfloat16() else None


def precision_warning(precision: str, device: Device) -> str | None:
    """A warning for a precision that the device only emulates slowly, or None."""
    if precision != "bfloat16" or device.type != "cpu" or _cpu_is_fast_in_bfloat16():
        return None
    return (
        "precision bfloat16 runs without fast arithmetic on this CPU (which lacks AVX512-BF16 and AMX) and "
        "is several times slower than float32. Fix: precision auto or float32"
    )


@contextmanager
def threads_for_work(multiplications: int) -> Iterator[None]:
    """Limit torch to one thread within the block if a step of so many multiplications is too small to share.

    Threads synchronize after every operation; for operations of microseconds the overhead exceeds the gain.
    """
    import torch

    with torch_threads(min(torch.get_num_threads(), cores()) if multiplications >= WORTH_SHARING else 1):
        yield


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Set torch's intra-op threads to `count` within the block, in this thread.

    Threads that use torch for the first time start with the number that any thread set last.
    """
    import torch

    usual = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


def choose_like(device: str, precision: str) -> tuple[Device, str]:
    """Select device and precision for a model from another machine; `auto` replaces an unavailable device and
    an unsupported or slow precision."""
    chosen = choose_device(device if _is_among(device, available_devices()) else "auto")
    impossible = precision == "float16" and chosen.type == "cpu"
    return chosen, "auto" if impossible or precision_warning(precision, chosen) else precision


def _may_have_others() -> bool:
    """Whether torch could find a GPU: its build, and the system's device files."""
    if "torch" in sys.modules or sys.platform != "linux":
        return True
    try:
        is_for_cpu = version("torch").endswith("+cpu")
    except PackageNotFoundError:
        return True
    return not is_for_cpu and any(os.path.exists(place) for place in _GPU_FILES)


# Of NVIDIA's and AMD's drivers, and of the Windows subsystem for Linux.
_GPU_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def _cpu_is_fast_in_bfloat16() -> bool:
    if onednn_is_limited():
        return False
    import torch

    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)


def onednn_is_limited() -> bool:
    """Whether a variable keeps oneDNN, in torch and in OpenVINO, from the newest instructions of the CPU."""
    limits = (os.environ.get(name, "") for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"))
    return any(limit.upper() not in ("", "ALL", "DEFAULT") for limit in limits)


def _is_fast_in_bfloat16(device: Device) -> bool:
    """Whether a GPU has native bfloat16; `torch.cuda.is_bf16_supported` is also True if it is emulated."""
    import torch

    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def _is_among(device: str, present: list[str]) -> bool:
    return device in present or (device == "cuda" and "cuda:0" in present)
