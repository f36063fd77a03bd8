"""Import torchvision and timm without torch's compiler, in a fifth of the time."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_COMPILER, _ITS_UTILITIES = "torch._dynamo", "torch._dynamo.utils"


@contextmanager
def without_compiler() -> Iterator[None]:
    """Context in which `torch._dynamo` is an empty module, unless it was imported before.

    Importing it takes a second. torchvision uses one function of it, when a detection operator runs; the
    empty module forwards this call to the real one. timm uses its decorator `disable`.
    """
    if _COMPILER in sys.modules:
        yield
        return
    package, utilities = ModuleType(_COMPILER), ModuleType(_ITS_UTILITIES)
    package.__path__ = []
    package.disable = _as_it_is  # type: ignore[attr-defined]
    utilities.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
    sys.modules |= {_COMPILER: package, _ITS_UTILITIES: utilities}
    try:
        yield
    finally:
        del sys.modules[_COMPILER], sys.modules[_ITS_UTILITIES]


def _is_compile_supported(device_type: str) -> bool:
    answer: bool = importlib.import_module(_ITS_UTILITIES).is_compile_supported(device_type)
    return answer


def _as_it_is(function: Any = None, *_: Any, **__: Any) -> Any:
    return function or _as_it_is
