"""The examples of a training by part, and the use of each part."""

from __future__ import annotations

from transfer_core.data import DataSplits
from transfer_core.model_file.header import DataPart, DataSummary
from transfer_core.pipeline.artifacts import Trained


def data_summary(splits: DataSplits, trained: Trained) -> DataSummary:
    """Summarize the parts of the data for the model file, without empty ones."""
    measured = splits.test_name
    carved = "valid" if measured == "test" else "held out of train"
    in_turn = trained.fitted_on_valid
    how = "cross-validation" if in_turn else carved
    chooses = "fitted, and in turn held out to calibrate" if in_turn else "chooses the best epoch, calibrates"
    source = sum(int(part.from_source.sum()) for part in (splits.train, splits.valid))
    unlabelled = len(splits.domains.unlabelled) if splits.domains else 0
    pool = len(splits.pool.data) - splits.reserved if splits.pool else 0
    copies = max(0, pool + source - sum(map(len, splits.parts)))
    parts = [
        ("unlabelled", unlabelled, "used without labels"),
        ("train", len(splits.train), "fitted, and in turn held out to calibrate" if in_turn else "fitted"),
        (carved, len(splits.valid), chooses),
        (measured, len(splits.test), "measured"),
        ("reserved", splits.reserved, "left out: kept for a later test"),
        ("copies", copies, "left out: exact copies of held-out examples"),
        ("unusable", len(splits.skipped), "left out: can't be read or used"),
    ]
    return DataSummary(
        examples=sum(count for _, count, _ in parts),
        parts=tuple(DataPart(name, count, use) for name, count, use in parts if count),
        fitted=len(splits.train) + (len(splits.valid) if in_turn else 0),
        calibrated=trained.calibrated,
        calibrated_by=how if trained.calibrated else "",
        measured=len(splits.test),
        near_duplicates=splits.near_duplicates,
    )
