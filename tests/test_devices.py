"""Which device and which precision is chosen, here and on machines that this one only pretends to be."""

import pytest
import torch

from transfer_core.runtime.devices import (
    Device,
    available_devices,
    choose_device,
    choose_dtype,
    choose_like,
    fast_dtype,
    precision_warning,
)
from transfer_core.runtime.errors import ConfigurationError

CPU = Device("cpu")


@pytest.fixture
def machine(monkeypatch):
    """`machine(cuda=2)`: a machine with two GPUs, as far as torch is asked."""

    def pretend(cuda=0, mps=False, capability=(9, 0)):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


def test_the_fastest_kind_comes_first(machine):
    machine()
    assert available_devices() == ["cpu"]
    machine(mps=True)
    assert available_devices() == ["mps", "cpu"]
    machine(cuda=2)
    assert available_devices() == ["cuda:0", "cuda:1", "cpu"]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [("auto", "cuda:0"), ("cuda", "cuda"), ("cuda:1", "cuda:1"), ("cpu", "cpu")],
)
def test_what_is_there_can_be_chosen(machine, wanted, chosen):
    machine(cuda=2)
    assert choose_device(wanted) == chosen


@pytest.mark.parametrize("wanted", ["cuda", "cuda:0", "mps"])
def test_what_is_not_there_is_an_error(machine, wanted):
    machine()
    with pytest.raises(ConfigurationError) as error:
        choose_device(wanted)
    assert str(error.value) == (f"device {wanted} is not available here (there is: cpu); use device: auto")


def test_a_gpu_too_many(machine):
    machine(cuda=2)
    with pytest.raises(ConfigurationError, match=r"cuda:2 .* \(there is: cuda:0, cuda:1, cpu\)"):
        choose_device("cuda:2")


def test_precision(machine):
    gpu = Device("cuda:0")
    machine(cuda=1)
    assert choose_dtype("auto", gpu) == torch.bfloat16
    assert choose_dtype("auto", CPU) == torch.float32
    assert choose_dtype("float16", gpu) == torch.float16
    assert choose_dtype("bfloat16", CPU) == torch.bfloat16
    machine(cuda=1, capability=(8, 0))
    assert choose_dtype("auto", gpu) == torch.bfloat16
    machine(cuda=1, capability=(7, 5))
    assert choose_dtype("auto", gpu) == torch.float32


def bfloat16_instructions(monkeypatch, present):
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: present, raising=False)


def test_the_type_that_hardware_is_fast_in(machine, monkeypatch):
    gpu = Device("cuda:0")
    machine(cuda=1, capability=(7, 0))
    assert fast_dtype(gpu) == "float16"
    machine(cuda=1, capability=(6, 1))
    assert fast_dtype(gpu) is None
    assert fast_dtype(Device("mps")) is None
    bfloat16_instructions(monkeypatch, present=False)
    assert fast_dtype(CPU) is None


def test_a_cpu_with_the_instructions_is_fast_in_bfloat16(monkeypatch):
    bfloat16_instructions(monkeypatch, present=True)
    assert fast_dtype(CPU) == "bfloat16"
    assert precision_warning("bfloat16", CPU) is None
    assert choose_like("cpu", "bfloat16") == (CPU, "bfloat16")


def test_a_cpu_without_the_instructions_is_not(monkeypatch):
    bfloat16_instructions(monkeypatch, present=False)
    assert fast_dtype(CPU) is None
    assert "Fix: precision auto or float32" in precision_warning("bfloat16", CPU)
    assert precision_warning("auto", CPU) is None
    assert precision_warning("float32", CPU) is None
    assert choose_like("cpu", "bfloat16") == (CPU, "auto")
    assert choose_dtype("bfloat16", CPU) == torch.bfloat16


def test_half_precision_needs_a_gpu():
    with pytest.raises(ConfigurationError) as error:
        choose_dtype("float16", CPU)
    assert str(error.value) == "precision float16 needs a GPU; on a cpu use bfloat16 or float32"


@pytest.mark.parametrize(
    ("device", "precision", "expected"),
    [
        ("cuda", "auto", (CPU, "auto")),
        ("cuda:3", "float16", (CPU, "auto")),
        ("auto", "float16", (CPU, "auto")),
        ("mps", "float32", (CPU, "float32")),
    ],
)
def test_a_model_from_another_machine(machine, device, precision, expected):
    machine()
    assert choose_like(device, precision) == expected


def test_a_model_from_a_machine_with_more_gpus(machine):
    machine(cuda=1)
    assert choose_like("cuda:3", "float16") == (Device("cuda:0"), "float16")
    assert choose_like("cuda", "auto") == (Device("cuda"), "auto")
    assert choose_like("cpu", "auto") == (CPU, "auto")
