"""What Ruby's configuration says to the worker, as environment variables of the same names."""

from __future__ import annotations

import os
from dataclasses import dataclass

from transfer_core.runtime.errors import ConfigurationError

LARGEST_MODEL_MEMORY = 2 * 10**9


@dataclass(frozen=True)
class Gathering:
    """How requests for predictions are gathered.

    Up to `batch_size` inputs go through the network together (None: as many as were measured to be fastest),
    a decoded input waits up to `wait_s` for others, and `queue_limit` requests may be open.
    """

    batch_size: int | None = None
    wait_s: float = 0.0
    queue_limit: int = 1000


def gathering() -> Gathering:
    """By `TRANSFER_SERVING_BATCH_SIZE`, `TRANSFER_SERVING_WAIT_MS` and `TRANSFER_SERVING_QUEUE_LIMIT`."""
    usual = Gathering()
    size = _number("TRANSFER_SERVING_BATCH_SIZE", at_least=1)
    wait_ms = _number("TRANSFER_SERVING_WAIT_MS", at_least=0)
    limit = _number("TRANSFER_SERVING_QUEUE_LIMIT", at_least=1)
    return Gathering(
        usual.batch_size if size is None else int(size),
        usual.wait_s if wait_ms is None else wait_ms / 1000,
        usual.queue_limit if limit is None else int(limit),
    )


def model_memory() -> int:
    """Bytes of models that are kept: `TRANSFER_MODEL_MEMORY`, or a quarter of the machine's, at most 2 GB."""
    chosen = _number("TRANSFER_MODEL_MEMORY", at_least=0)
    return min(LARGEST_MODEL_MEMORY, _memory() // 4) if chosen is None else int(chosen)


def _number(variable: str, at_least: int) -> float | None:
    said = os.environ.get(variable, "").strip()
    if not said:
        return None
    try:
        number = float(said)
    except ValueError:
        number = -1
    if not at_least <= number < float("inf"):
        raise ConfigurationError(f"{variable} is a number of {at_least} or more, got {said!r}")
    return number


def _memory() -> int:
    """Bytes of the machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
