"""Methods of the worker about this machine: runs, backbones, installation, cache; and drawing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

from transfer_core.worker.calls import Call
from transfer_core.worker.serving import serving

# No slow imports at module level: the handshake must not wait for them.

Plain = dict[str, Any]


def runs(call: Call) -> list[Plain]:
    """List the runs of this machine."""
    from transfer_core.runs import list_runs

    return list_runs()


def remove_run(call: Call, run: str) -> Plain:
    """Remove a run that no process trains."""
    from transfer_core.runs import remove

    return remove(run)


def prune_runs(
    call: Call, max_bytes: int | None = None, older_than_s: float | None = None, dry_run: bool = False
) -> list[Plain]:
    """Remove the runs beyond these limits, or beyond those of automatic upkeep."""
    from transfer_core.runs import prune

    return prune(max_bytes, older_than_s, dry_run)


def draw(call: Call, image: Any, prediction: Plain, path: str) -> Plain:
    """Write a photo with the predicted boxes to `path`."""
    from transfer_core.data.drawing import draw as draw_prediction

    draw_prediction(image, prediction, path)
    return {"path": path, "bytes": os.path.getsize(path)}


def serving_stats(call: Call) -> Plain:
    """Statistics of serving."""
    return serving().stats()


def backbones(
    call: Call,
    task: str | None = None,
    max_parameters: float | None = None,
    license: str | None = None,
    source: str | None = None,
    offline: bool = False,
) -> list[Plain]:
    """List the backbones that match the filters, the most relevant first."""
    import msgspec

    from transfer_core.backbones.catalogue import catalogue

    return [msgspec.to_builtins(e) for e in catalogue(task, max_parameters, license, source, offline)]


def backbone(call: Call, name: str, trust: bool = False) -> Plain:
    """Describe one backbone; `trust` allows its code to run."""
    import msgspec

    from transfer_core.backbones import facts

    return cast(Plain, msgspec.to_builtins(facts(name, trust)))


def doctor(call: Call, extras: Sequence[str] = (), torch: str | None = None) -> list[Plain]:
    """Check the installation, with the required `extras` and build of `torch` (`cpu`, `12.6`)."""
    from transfer_core.doctor import examine

    return [asdict(check) for check in examine(extras, torch)]


def cache_stats(call: Call) -> Plain:
    """Statistics of the cache."""
    from transfer_core import cache

    return cache.stats()


def cache_verify(call: Call) -> Plain:
    """Verify the cache, and delete damaged entries."""
    from transfer_core import cache

    return cache.verify()


def cache_prune(call: Call, max_bytes: int | None = None, older_than_s: float | None = None) -> Plain:
    """Delete entries of the cache beyond an age or a size, the least recently used first."""
    from transfer_core import cache

    return cast(Plain, cache.prune(max_bytes, older_than_s))


def cache_clear(call: Call) -> Plain:
    """Delete the whole cache."""
    from transfer_core import cache

    return cast(Plain, cache.clear())


def ping(call: Call) -> str:
    """Health check."""
    return "pong"
