"""Tracing with torch.fx in a process where other threads run networks, and changes of traced modules."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from torch import fx, nn

one_at_a_time = threading.RLock()


class Tracer(fx.Tracer):
    """Tracer that records only the calls of its own thread.

    While torch.fx traces, it intercepts every call of a module in the process. With its own tracer, a network
    that runs in another thread would fail or become a part of the graph.
    """

    def trace(self, *args: Any, **kwargs: Any) -> fx.Graph:
        """Trace as `torch.fx.Tracer.trace`, one thread at a time: two would not undo each other's patches."""
        with one_at_a_time:
            self._thread = threading.get_ident()
            return super().trace(*args, **kwargs)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Record the call of a module; in other threads, just call it."""
        if self.is_elsewhere():
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        """Record the use of a module's attribute; in other threads, just return it."""
        return attr_val if self.is_elsewhere() else super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_elsewhere(self) -> bool:
        """Whether the current thread is another one than the tracing one."""
        return threading.get_ident() != self._thread


def replace_submodule(module: nn.Module, path: str, by: nn.Module) -> None:
    """Replace the submodule at `path`, as `torch.nn.Module.set_submodule` does from torch 2.5 on."""
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, by)
