"""Amounts and dates written as text."""

from __future__ import annotations

import re

_CURRENCY = r"(?:[€$£¥₹%‰]|EUR|USD|GBP|CHF)"
AMOUNT = re.compile(rf"{_CURRENCY}?\s*[+-]?\d[\d.,'’\s]*[-–—]*\s*{_CURRENCY}?")
DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}")


def is_amount(text: str) -> bool:
    """Whether `text` is a number with a decimal or thousands separator, a currency or a percent sign.

    >>> [is_amount(text) for text in ("1.616,50 €", "$3", "12 %", "0123", "7", "1.2.2024", "A4")]
    [True, True, True, False, False, False, False]
    """
    text = text.strip()
    return bool(not text.isdigit() and AMOUNT.fullmatch(text) and not DATE.fullmatch(text))
