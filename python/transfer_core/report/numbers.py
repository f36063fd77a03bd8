"""Values as short text."""

from __future__ import annotations

import math
from typing import Any

# Characters of a cell.
LONGEST = 300


def number(value: Any) -> str:
    """Format a number with up to three decimals; anything that is none as an en dash.

    Examples
    --------
    >>> number(0.80882), number(68), number(1234567.8), number(None)
    ('0.809', '68', '1,234,568', '–')
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    if isinstance(value, int) or value == round(value):
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) >= 0.1 else f"{value:.3g}"


def number_range(interval: Any) -> str:
    """Format a pair of numbers; an empty text without one."""
    return f"{number(interval[0])} to {number(interval[1])}" if interval else ""


def shortened(text: str, longest: int = LONGEST) -> str:
    """Cut a text that is too long, with an ellipsis; line ends become spaces."""
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def title_of(name: str) -> str:
    """The title of a metric or word: `balanced_accuracy` becomes "Balanced accuracy"."""
    special = {"ece": "Expected calibration error", "r2": "R²", "mae": "Mean absolute error", "bleu": "BLEU"}
    special |= {"rmse": "Root mean squared error", "chrf2": "chrF2", "auroc": "AUROC", "rouge_l": "ROUGE-L"}
    special |= {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "macro_f1": "Macro F1", "micro_f1": "Micro F1"}
    special |= {"f1": "F1", "tfidf_accuracy": "Accuracy of TF-IDF", "tfidf_macro_f1": "Macro F1 of TF-IDF"}
    return special.get(name) or name.replace("_", " ").capitalize()
