"""Metrics on held-out examples, in numpy alone. Formulas: `docs/reference/metrics.md`."""

from transfer_core.metrics.calibration import (
    expected_calibration_error,
    fit_label_temperature,
    fit_temperature,
)
from transfer_core.metrics.classification import classification_metrics
from transfer_core.metrics.multi_label import multi_label_metrics
from transfer_core.metrics.regression import regression_metrics

__all__ = [
    "classification_metrics",
    "expected_calibration_error",
    "fit_label_temperature",
    "fit_temperature",
    "multi_label_metrics",
    "regression_metrics",
]
