"""Worker settings from environment variables, which Ruby sets from its configuration."""

from __future__ import annotations

import os
from dataclasses import dataclass

from transfer_core.runtime.errors import ConfigurationError

LARGEST_MODEL_MEMORY = 2 * 10**9


@dataclass(frozen=True)
class BatchingSettings:
    """Settings of micro-batching.

    Parameters
    ----------
    batch_size
        Inputs per forward pass at most; None: the size that was measured to be fastest.
    wait_s
        Seconds that a loaded input waits for others at most.
    queue_limit
        Open requests at most.
    """

    batch_size: int | None = None
    wait_s: float = 0.0
    queue_limit: int = 1000


def batching_settings() -> BatchingSettings:
    """Read `TRANSFER_SERVING_BATCH_SIZE`, `TRANSFER_SERVING_WAIT_MS` and `TRANSFER_SERVING_QUEUE_LIMIT`."""
    defaults = BatchingSettings()
    size = _number("TRANSFER_SERVING_BATCH_SIZE", at_least=1)
    wait_ms = _number("TRANSFER_SERVING_WAIT_MS", at_least=0)
    limit = _number("TRANSFER_SERVING_QUEUE_LIMIT", at_least=1)
    return BatchingSettings(
        defaults.batch_size if size is None else int(size),
        defaults.wait_s if wait_ms is None else wait_ms / 1000,
        defaults.queue_limit if limit is None else int(limit),
    )


def model_memory() -> int:
    """Memory limit of the model cache in bytes: `TRANSFER_MODEL_MEMORY`, or RAM / 4, at most 2 GB."""
    chosen = _number("TRANSFER_MODEL_MEMORY", at_least=0)
    return min(LARGEST_MODEL_MEMORY, _memory() // 4) if chosen is None else int(chosen)


def _number(variable: str, at_least: int) -> float | None:
    text = os.environ.get(variable, "").strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not at_least <= number < float("inf"):
        raise ConfigurationError(f"{variable} is a number of {at_least} or more, got {text!r}")
    return number


def _memory() -> int:
    """RAM of the machine in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
