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
def without_compiler(module: str) -> Iterator[None]:
    """Context in which `torch._dynamo`, whose import takes a second, is a stand-in with two functions.

    torchvision uses one function of it, when a detection operator runs; the stand-in forwards this call to
    the real module. timm uses its decorator `disable`. If `module` can't be imported with the stand-in,
    as may be with another release, the block runs with the real compiler.
    """
    if _COMPILER in sys.modules or not _imports_with_stand_in(module):
        yield
    else:
        with _stand_in():
            yield


def _imports_with_stand_in(module: str) -> bool:
    with _stand_in():
        try:
            importlib.import_module(module)
        except (ImportError, AttributeError):
            return False
    return True


@contextmanager
def _stand_in() -> Iterator[None]:
    package, utilities = ModuleType(_COMPILER), ModuleType(_ITS_UTILITIES)
    package.__path__ = []
    package.disable = _unchanged  # type: ignore[attr-defined]
    utilities.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
    sys.modules |= {_COMPILER: package, _ITS_UTILITIES: utilities}
    try:
        yield
    finally:
        del sys.modules[_COMPILER], sys.modules[_ITS_UTILITIES]


def _is_compile_supported(device_type: str) -> bool:
    found: bool = importlib.import_module(_ITS_UTILITIES).is_compile_supported(device_type)
    return found


def _unchanged(function: Any = None, *_: Any, **__: Any) -> Any:
    return function or _unchanged
