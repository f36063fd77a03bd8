"""Where embeddings lie: the same photo is never embedded twice."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from transfer_core import paths
from transfer_core.cache import RowStore


class FeatureStore(RowStore):
    """Rows by the extractor's fingerprint and the image's key, in `TRANSFER_HOME`/cache/features."""

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(folder or paths.cache() / "features")
        # What an earlier version kept there.
        for suffix in ("-wal", "-shm", ""):
            with suppress(OSError):
                (paths.cache() / f"features.sqlite{suffix}").unlink(missing_ok=True)
