"""Checks of the installation, each with the command that fixes its finding."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from transfer_core import __version__
from transfer_core.model_file import trust as trusted
from transfer_core.runtime import paths
from transfer_core.runtime.errors import TransferError
from transfer_core.runtime.installation import install_command, repair_command
from transfer_core.runtime.machine_memory import machine_memory
from transfer_core.runtime.permissions import exposure

OLDEST_PYTHON = (3, 10)
SETUP = "transfer setup"
SETUP_OFFLINE = "transfer setup --offline"

# Package on PyPI: the module it brings.
PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "numpy": "numpy",
    "msgpack": "msgpack",
    "msgspec": "msgspec",
    "safetensors": "safetensors",
    "pillow": "PIL",
    "onnx": "onnx",
}
# Extra in `pyproject.toml`: package on PyPI: the module it brings.
EXTRAS = {
    "parquet": {"pyarrow": "pyarrow"},
    "sklearn": {"scikit-learn": "sklearn"},
    "huggingface": {"tokenizers": "tokenizers", "transformers": "transformers"},
    "peft": {"peft": "peft"},
    "tensorflow": {"tensorflow": "tensorflow"},
    "onnx": {"onnxruntime": "onnxruntime", "onnx": "onnx"},
    "keras": {"keras": "keras"},
    "timm": {"timm": "timm"},
    "translation": {"tokenizers": "tokenizers", "sacrebleu": "sacrebleu"},
    "signing": {"cryptography": "cryptography"},
    "search": {"optuna": "optuna"},
    "ray": {"ray": "ray"},
}
LEAST_FREE_DISK = 1_000_000_000
LEAST_FREE_MEMORY = 1_000_000_000


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Parameters
    ----------
    detail
        Finding in words.
    remedy
        Command that fixes the finding; None if the check passed or no command helps.
    """

    name: str
    ok: bool
    detail: str
    remedy: str | None = None


def examine(extras: Sequence[str] = (), torch: str | None = None) -> Iterator[Check]:
    """Yield all checks, in the order in which a training would fail. Importing torch takes seconds.

    Parameters
    ----------
    extras
        Extras that must be installed.
    torch
        Required build of torch: `cpu` or a CUDA version; None: any.
    """
    yield check_python()
    yield Check("transfer_core", True, f"{__version__} in {Path(__file__).parent}")
    for package, module in PACKAGES.items():
        yield check_package(package, module)
    if torch:
        yield check_build(torch)
    for extra in extras:
        yield check_extra(extra)
    for name, check in MACHINE.items():
        try:
            yield check()
        except TransferError as error:
            yield Check(name, False, str(error))
        except Exception as error:
            yield Check(name, False, f"{type(error).__name__}: {error}", SETUP)


def check_python() -> Check:
    """Check the version of the Python interpreter."""
    found = sys.version_info[:3]
    detail = f"{'.'.join(map(str, found))} at {sys.executable}"
    if found >= OLDEST_PYTHON:
        return Check("python", True, detail)
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return Check("python", False, f"{detail}, older than {oldest}", f"{SETUP} --python python{oldest}")


def check_package(package: str, module: str) -> Check:
    """Check that a package is installed and its module can be imported."""
    try:
        installed = version(package)
    except PackageNotFoundError:
        return Check(package, False, "not installed", repair_command(package))
    if fault := _import_fault(module):
        return Check(package, False, f"{installed}, but it {fault}", repair_command(package))
    return Check(package, True, installed)


def check_build(wanted: str) -> Check:
    """Check that torch is the requested build: for a CUDA version, or for the CPU."""
    from torch import version as built

    found = built.cuda or "cpu"
    if found == wanted:
        return Check("torch build", True, _build_name(found))
    option = "--cpu" if wanted == "cpu" else f"--cuda {wanted}"
    detail = f"{_build_name(found)}, expected {_build_name(wanted)}"
    return Check("torch build", False, detail, f"{SETUP} --force {option}")


def check_extra(extra: str) -> Check:
    """Check that the modules of an extra can be imported. Some imports take seconds."""
    for package, module in EXTRAS.get(extra, {}).items():
        if fault := _import_fault(module):
            detail = f"the package {package} {fault}"
            return Check(f"extra {extra}", False, detail, install_command(package, extra))
    return Check(f"extra {extra}", True, ", ".join(EXTRAS.get(extra, {})))


def check_device() -> Check:
    """Report the device that `device: auto` selects."""
    import torch

    from transfer_core.runtime.devices import available_devices

    first, *others = available_devices()
    also = f", also there: {', '.join(others)}" if others else ""
    if first.startswith("cuda"):
        return Check("device", True, f"{first}, {torch.cuda.get_device_name(first)}{also}")
    threads = torch.get_num_threads()
    return Check("device", True, f"{first}, {threads} thread{'s' if threads > 1 else ''}{also}")


def check_engines() -> Check:
    """Report the inference engines, and those that trainings on this machine have chosen."""
    from transfer_core.features.engines.choice import installed_engines
    from transfer_core.runtime.measurements import known

    found = ", ".join(f"{name} {version}" for name, version in installed_engines().items())
    used = Counter(
        f"{chosen['engine']} in {chosen['precision']}"
        for chosen in known("engine: ").values()
        if isinstance(chosen, dict) and {"engine", "precision"} <= chosen.keys()
    )
    counts = ", ".join(f"{how}: {count}" for how, count in used.most_common())
    detail = f"{found}{f'; backbones measured here: {counts}' if counts else ''}"
    if {"openvino", "onnxruntime"} & installed_engines().keys():
        return Check("engines", True, detail)
    slow = f"{detail}: frozen backbones run in torch, which takes about twice the time on a CPU"
    return Check("engines", False, slow, repair_command("openvino"))


def check_weights() -> Check:
    """Report the backbones whose weights need no download (`transfer backbones --offline`)."""
    from transfer_core.backbones.catalogue import catalogue

    present = [entry.name for entry in catalogue(offline=True)]
    detail = f"{len(present)} of {len(catalogue()):,} backbones on this machine"
    if present:
        return Check("weights", True, f"{detail}: {', '.join(present)}")
    if paths.offline():
        return Check("weights", False, f"{detail}, and TRANSFER_OFFLINE forbids downloads", SETUP_OFFLINE)
    return Check("weights", True, f"{detail}; the first training downloads what it needs")


def check_home() -> Check:
    """Check that `TRANSFER_HOME` is writable and private."""
    home = paths.home()
    if not _writable(home):
        remedy = f"export TRANSFER_HOME={shlex.quote(str(Path.home() / 'transfer'))}"
        return Check("home", False, f"{home} can't be written to", remedy)
    for kept_at in (home, paths.runs(), paths.cache(), trusted.list_path()):
        if found := exposure(kept_at):
            return Check("home", False, f"{found.path} {found.reason}", found.fix)
    environment = [home / "env"] if (home / "env").exists() else []
    folders = (*environment, paths.runs(), paths.cache())
    kept = ", ".join(f"{folder.name} {_size(_bytes_in(folder))}" for folder in folders)
    return Check("home", True, f"{home} ({kept})")


def check_runs() -> Check:
    """Count the stored runs, and check that no other user could have written to them."""
    from transfer_core.runs.listing import STATUSES, states

    found = states()
    if untrusted := next(filter(None, (state.folder.exposure for state in found)), None):
        return Check("runs", False, f"{untrusted.path} {untrusted.reason}", untrusted.fix)
    by_status = {status: [s.bytes for s in found if s.status == status] for status in STATUSES}
    counts = [f"{len(sizes)} {status} ({_size(sum(sizes))})" for status, sizes in by_status.items() if sizes]
    return Check("runs", True, ", ".join(counts) or "none")


def check_disk() -> Check:
    """Check the free space on the disk of `TRANSFER_HOME`."""
    free = shutil.disk_usage(_nearest_folder(Path(os.path.realpath(paths.home())))).free
    if free >= LEAST_FREE_DISK:
        return Check("disk", True, f"{_size(free)} free")
    emptied = "transfer cache clear" if paths.cache().exists() else None
    return Check("disk", False, f"only {_size(free)} free, {_size(LEAST_FREE_DISK)} wanted", emptied)


def check_memory() -> Check:
    """Check the free memory."""
    total, free = machine_memory()
    detail = f"{_size(free)} free of {_size(total)}"
    ok = free >= LEAST_FREE_MEMORY
    return Check("memory", ok, detail if ok else f"{detail}, {_size(LEAST_FREE_MEMORY)} wanted")


def check_sandbox() -> Check:
    """Probe the sandbox for SavedModels without trust, in a separate process."""
    from transfer_core.sandbox.probe import ATTEMPTS, gaps

    possible = gaps()
    prevented = [name for name in ATTEMPTS if name not in possible]
    parts = [f"a SavedModel without trust can't {', '.join(prevented)}"] if prevented else []
    if possible:
        parts.append(f"this kernel lets it {', '.join(possible)}: only its list of operations prevents that")
    return Check("sandbox", True, "; ".join(parts))


MACHINE: dict[str, Callable[[], Check]] = {
    "device": check_device,
    "engines": check_engines,
    "weights": check_weights,
    "home": check_home,
    "runs": check_runs,
    "disk": check_disk,
    "memory": check_memory,
    "sandbox": check_sandbox,
}


def _import_fault(module: str) -> str | None:
    """Reason why a module can't be imported, as a predicate; None if it can."""
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        return "is not installed" if error.name == module else f"can't be imported: {_first_line(error)}"
    except Exception as error:
        return f"can't be imported: {_first_line(error)}"
    return None


def _build_name(build: str) -> str:
    return "CPU" if build == "cpu" else f"CUDA {build}"


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _nearest_folder(path: Path) -> Path:
    """The directory itself, or its nearest existing parent; a dangling link counts as existing."""
    return next(folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder))


def _writable(path: Path) -> bool:
    folder = _nearest_folder(path)
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _bytes_in(folder: Path) -> int:
    count = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # another process may delete files meanwhile
                count += os.lstat(os.path.join(where, name)).st_size
    return count


def _size(count: int) -> str:
    """Format a number of bytes: `41.6 MB`."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
