"""Model-based transfer learning in five steps: the training core of transfer-rb.

>>> import transfer_core
>>> model = transfer_core.train(backbone="mobilenet_v2", data="photos/")  # doctest: +SKIP
>>> model.predict("new.jpg")["label"]  # doctest: +SKIP
'stop_sign'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from transfer_core.runtime.version import __version__

if TYPE_CHECKING:
    from transfer_core.data.drawing import draw
    from transfer_core.model.loading import load_model as load
    from transfer_core.model.model import Model
    from transfer_core.public.data import (
        audit,
        check,
        compare_domains,
        estimate,
        learning_curve,
        map_labels,
        rank,
    )
    from transfer_core.public.training import resume, soup, train
    from transfer_core.runs import resumable

__all__ = [
    "Model",
    "__version__",
    "audit",
    "check",
    "compare_domains",
    "draw",
    "estimate",
    "learning_curve",
    "load",
    "map_labels",
    "rank",
    "resumable",
    "resume",
    "soup",
    "train",
]

# torch takes a second to import: nothing that needs it is imported before it is used.
_LAZY = {
    "audit": ("transfer_core.public.data", "audit"),
    "check": ("transfer_core.public.data", "check"),
    "draw": ("transfer_core.data.drawing", "draw"),
    "estimate": ("transfer_core.public.data", "estimate"),
    "learning_curve": ("transfer_core.public.data", "learning_curve"),
    "rank": ("transfer_core.public.data", "rank"),
    "compare_domains": ("transfer_core.public.data", "compare_domains"),
    "map_labels": ("transfer_core.public.data", "map_labels"),
    "soup": ("transfer_core.public.training", "soup"),
    "train": ("transfer_core.public.training", "train"),
    "resume": ("transfer_core.public.training", "resume"),
    "resumable": ("transfer_core.runs", "resumable"),
    "load": ("transfer_core.model.loading", "load_model"),
    "Model": ("transfer_core.model.model", "Model"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LAZY[name]
    return getattr(import_module(module), attribute)
