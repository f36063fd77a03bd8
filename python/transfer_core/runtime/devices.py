"""Which device, which precision and how many cores a computation uses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from transfer_core.runtime.errors import ConfigurationError

if TYPE_CHECKING:
    import torch

WORTH_SHARING = 200_000_000

_MOST_CORES: ContextVar[int | None] = ContextVar("most_cores", default=None)


def cores() -> int:
    """How many cores a computation may use: `TRANSFER_THREADS`, or those that this process may run on. What
    work is cut by is `machine_cores`: results differ by no more than a product's rounding (in a large head).

    Raises
    ------
    ConfigurationError
        If `TRANSFER_THREADS` is no such number.
    """
    chosen = core_setting("TRANSFER_THREADS") or _present_cores()
    return min(chosen, _MOST_CORES.get() or chosen)


def machine_cores() -> int:
    """How many cores this machine has, whoever may use them."""
    return os.cpu_count() or 1


@contextmanager
def at_most_cores(limit: int | None) -> Iterator[None]:
    """Within, `cores` are not more than `limit`, in this thread; None changes nothing."""
    before = _MOST_CORES.set(limit or _MOST_CORES.get())
    try:
        yield
    finally:
        _MOST_CORES.reset(before)


def core_setting(variable: str) -> int | None:
    """The number of cores that an environment variable says, None if it says nothing.

    Raises
    ------
    ConfigurationError
        If it is no whole number of 1 or more.
    """
    said = os.environ.get(variable, "").strip()
    if not said:
        return None
    if not said.isdecimal() or int(said) < 1:
        raise ConfigurationError(f"{variable} is a number of cores, 1 or more, got {said!r}")
    return int(said)


def _present_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux; less than the machine has in a container
    return len(affinity(0)) if affinity else machine_cores()


def choose_device(wanted: str = "auto") -> torch.device:
    """The device for `wanted`: `auto` takes cuda, then mps, then cpu.

    Raises
    ------
    ConfigurationError
        If the wanted device is not there; the message names those that are.
    """
    import torch

    present = available_devices()
    if wanted == "auto":
        return torch.device(present[0])
    if _is_among(wanted, present):
        return torch.device(wanted)
    raise ConfigurationError(
        f"device {wanted} is not available here (there is: {', '.join(present)}); use device: auto"
    )


def available_devices() -> list[str]:
    """Names of the devices that torch can use here, fastest kind first; `cpu` is always the last."""
    import torch

    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The floating-point type in which blocks of the backbone train.

    `auto` is float32 on a CPU, whose bfloat16 saves a training next to nothing, and the fastest type with
    float32's range on a GPU that has it.

    Raises
    ------
    ConfigurationError
        For float16 on a CPU, which has no fast arithmetic in it.
    """
    import torch

    if precision == "auto":
        return torch.bfloat16 if _is_fast_in_bfloat16(device) else torch.float32
    if precision == "float16" and device.type == "cpu":
        raise ConfigurationError("precision float16 needs a GPU; on a cpu use bfloat16 or float32")
    dtype: torch.dtype = getattr(torch, precision)
    return dtype


def fast_dtype(device: torch.device) -> str | None:
    """The type below float32 that the device calculates in by itself, for a network that only infers.

    float16 where there is hardware for it: with 11 bits it rounds less than bfloat16 with 8.
    """
    import torch

    if device.type == "cuda":
        return "float16" if torch.cuda.get_device_capability(device) >= (7, 0) else None
    return "bfloat16" if device.type == "cpu" and _cpu_is_fast_in_bfloat16() else None


def precision_warning(precision: str, device: torch.device) -> str | None:
    """A warning for a precision that the device computes correctly but slowly; None if there is no reason."""
    if precision != "bfloat16" or device.type != "cpu" or _cpu_has_bfloat16_operators():
        return None
    return (
        "precision bfloat16 runs without fast arithmetic on this CPU (which lacks AVX-512 and AVX-NE-CONVERT)"
        " and is several times slower than float32. Fix: precision auto or float32"
    )


@contextmanager
def as_many_threads_as_pay(multiplications: int) -> Iterator[None]:
    """Torch works with one thread within, if a step of so many multiplications is too small to share.

    Threads meet after every operation. Where one takes microseconds they would mostly wait for each other,
    and on a machine with other work for their turn.
    """
    import torch

    with torch_threads(min(torch.get_num_threads(), cores()) if multiplications >= WORTH_SHARING else 1):
        yield


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch shares each operation among `count` threads within, in this thread.

    Threads that use torch for the first time start with the number that any thread has set last.
    """
    import torch

    usual = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


def choose_like(device: str, precision: str) -> tuple[torch.device, str]:
    """Device and precision of a model that may come from another machine; `auto` replaces a device that is
    absent here and a precision that is impossible or slow here."""
    chosen = choose_device(device if _is_among(device, available_devices()) else "auto")
    impossible = precision == "float16" and chosen.type == "cpu"
    return chosen, "auto" if impossible or precision_warning(precision, chosen) else precision


def _cpu_is_fast_in_bfloat16() -> bool:
    import torch

    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    has_instructions = any(getattr(torch.cpu, name, lambda: False)() for name in names)
    return has_instructions and _cpu_has_bfloat16_operators()


def _cpu_has_bfloat16_operators() -> bool:
    import torch

    from transfer_core.runtime.onednn import has_convolution

    return has_convolution(torch.bfloat16)


def _is_fast_in_bfloat16(device: torch.device) -> bool:
    """Not `torch.cuda.is_bf16_supported`, which also says yes where it is only emulated, and slow."""
    import torch

    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def _is_among(device: str, present: list[str]) -> bool:
    return device in present or (device == "cuda" and "cuda:0" in present)
