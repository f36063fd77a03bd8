"""Which library's code runs a source's backbones."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from transfer_core.backbones.facts import SourceName

_PACKAGES: dict[SourceName, tuple[str, ...]] = {
    "torchvision": ("torchvision",),
    "timm": ("timm",),
    "huggingface": ("transformers",),
    "keras": ("keras",),
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "onnx": ("onnxruntime", "onnxruntime-gpu"),
    "scikit_learn": ("scikit-learn",),
}


@cache
def library_version(source: SourceName) -> str:
    """`timm 1.0.22`; empty where no library has the code, or none is installed. Imports nothing."""
    for package in _PACKAGES.get(source, ()):
        with suppress(PackageNotFoundError):
            return f"{package} {version(package)}"
    return ""
