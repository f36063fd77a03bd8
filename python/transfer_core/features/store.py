"""The store of embeddings: the same photo is never embedded twice."""

from __future__ import annotations

from pathlib import Path

from transfer_core.cache import RowStore
from transfer_core.runtime import paths


class FeatureStore(RowStore):
    """Rows by the extractor's fingerprint and the image's key, in `TRANSFER_HOME`/cache/features.sqlite."""

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path or paths.cache() / "features.sqlite")
