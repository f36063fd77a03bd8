"""Bounded types of the fields of a recipe."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

# Recipes are also read from untrusted model files: their size must be bounded.
LONGEST_NAME, MOST_NAMES = 4096, 100_000

Name: TypeAlias = Annotated[str, Meta(max_length=LONGEST_NAME, pattern=r"^[^\0]*$")]
# Without the pattern: msgspec 0.22 crashes on a union of a string with a pattern and a list.
Column: TypeAlias = Annotated[str, Meta(max_length=LONGEST_NAME)]
Target: TypeAlias = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
Count: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000)]
Some: TypeAlias = Annotated[int, Meta(ge=1, le=100_000)]
Width: TypeAlias = Annotated[int, Meta(ge=1, le=65_536)]
Positive: TypeAlias = Annotated[float, Meta(gt=0, le=1e6)]
NotNegative: TypeAlias = Annotated[float, Meta(ge=0, le=1e6)]
Probability: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Fraction: TypeAlias = Annotated[float, Meta(ge=0, lt=1)]


ImageSize: TypeAlias = Annotated[int, Meta(ge=96, le=1280, multiple_of=32)]


class Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Immutable and compared by value."""
