"""Import timm without torch's compiler; raises `DependencyError` if it is not installed."""

from __future__ import annotations

from transfer_core.backbones.quick_import import without_compiler
from transfer_core.runtime.errors import DependencyError

try:
    with without_compiler("timm.models"):
        import timm
        import timm.models
        from timm.layers.conv2d_same import Conv2dSame
        from timm.layers.norm_act import BatchNormAct2d
except ModuleNotFoundError as error:
    if error.name != "timm":
        raise
    raise DependencyError("a backbone timm/…", "timm", "timm") from error

__all__ = ["BatchNormAct2d", "Conv2dSame", "timm"]
