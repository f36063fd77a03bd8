"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.environment import PEERS, ROOT

# What makes a CPU fast at the arithmetic of networks.
TELLING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16")


def describe() -> dict[str, str]:
    """Processor, memory, system."""
    info = _read("/proc/cpuinfo")
    flags = set(_first(r"^(?:flags|Features)\s*: (.*)$", info).split())
    memory = _first(r"^MemTotal:\s*(\d+)", _read("/proc/meminfo"))
    return {
        "processor": _first(r"^model name\s*: (.*)$", info) or platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "flags": " ".join(flag for flag in TELLING_FLAGS if flag in flags),
        "memory": f"{int(memory or 0) / 2**20:.0f} GiB",
        "system": _first(r'^PRETTY_NAME="(.*)"$', _read("/etc/os-release")) or platform.platform(),
        "libc": " ".join(platform.libc_ver()),
    }


def versions() -> dict[str, str]:
    """Of everything that takes part; `not installed` where it is not."""
    names = ("torch", "torchvision", "numpy", "pillow", "scikit-learn")
    found = {"python": platform.python_version(), "ruby": _output("ruby", "-e", "print RUBY_VERSION")}
    found |= {name: _version(name) for name in names}
    found |= {name: _peer_version(name) for name in ("keras", "fastai")}
    found["transfer-rb"] = _output("git", "describe", "--always", "--dirty") or "no git"
    return found


def has_fast_bfloat16() -> bool:
    """Whether the processor has instructions for it."""
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(describe()["flags"].split()))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _peer_version(name: str) -> str:
    code = f"from importlib.metadata import version; print(version({name!r}), end='')"
    return _output(str(PEERS), "-c", code) or "not installed"


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False).stdout.strip()
    except OSError:
        return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1].strip() if found else ""
