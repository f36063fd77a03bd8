"""torch.fx beside threads that predict."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from torch import fx, nn

_one_at_a_time = threading.RLock()


class Tracer(fx.Tracer):
    """Records what its own thread does, and nothing else.

    While it traces, torch.fx catches every call of a module in the whole process. Without this, a network
    that another thread predicts with meanwhile would fail, or end up in the graph.
    """

    def trace(self, *args: Any, **kwargs: Any) -> fx.Graph:
        """As `torch.fx.Tracer.trace`; two that trace at the same time would not put back what they caught."""
        with _one_at_a_time:
            self._thread = threading.get_ident()
            return super().trace(*args, **kwargs)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """The call of a module: recorded, or just made."""
        if self.is_elsewhere():
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        """An attribute of a module: recorded, or just given."""
        return attr_val if self.is_elsewhere() else super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_elsewhere(self) -> bool:
        """Whether this is another thread than the one that traces."""
        return threading.get_ident() != self._thread
