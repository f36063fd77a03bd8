"""Results that can be computed again: embeddings by content, digests of unchanged files.

Nothing in this package can fail a training: a cache that can't be used costs time, never a result.
"""

from transfer_core.cache.housekeeping import clear, ignored, prune, stats, verify
from transfer_core.cache.limit import cache_limit
from transfer_core.cache.store import RowStore

__all__ = ["RowStore", "cache_limit", "clear", "ignored", "prune", "stats", "verify"]
