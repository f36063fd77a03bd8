"""Where embeddings lie: the same photo is never embedded twice."""

from __future__ import annotations

from pathlib import Path

from transfer_core.cache import RowStore
from transfer_core.runtime import paths


class FeatureStore(RowStore):
    """Rows by the extractor's fingerprint and the image's key, in `TRANSFER_HOME`/cache/features."""

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(folder or paths.cache() / "features")
