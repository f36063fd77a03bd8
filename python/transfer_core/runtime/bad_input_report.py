"""Reports of unreadable inputs: messages, a file with the complete list, and error entries of `predict`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from transfer_core.runtime import paths
from transfer_core.runtime.atomic import replacing
from transfer_core.runtime.errors import DataError, Problem, RecipeError, did_you_mean
from transfer_core.runtime.permissions import FILE, make_directory

OnBadInput: TypeAlias = Literal["raise", "skip", "mark"]
# Inputs that one message names.
MOST_NAMED = 20
# Files with whole lists that are kept.
_MOST_LISTS = 20


def check_on_bad_input(value: Any) -> None:
    """Raise `RecipeError` unless `value` is a valid `on_bad_input` of `predict`."""
    words = get_args(OnBadInput)
    if value not in words:
        nearest = did_you_mean(value, words)
        raise RecipeError(
            [Problem("on_bad_input", f'unknown word "{value}"{nearest} (one of: {", ".join(words)})')]
        )


def mark(error: DataError) -> dict[str, str]:
    """The entry in place of a prediction: `error`, and `path` if the input is a file."""
    return {"error": str(error), **error.details}


def together(errors: Sequence[DataError], of: int) -> DataError:
    """Combine the errors of bad inputs among `of` inputs; a single error is returned unchanged."""
    if len(errors) == 1:
        return errors[0]
    return DataError(f"{len(errors)} of {of} inputs can't be used: {named(list(map(str, errors)))}")


def named(reasons: Sequence[str]) -> str:
    """Join the first 20 of `reasons`, with a count of the rest.

    >>> named(["a.jpg: no such file", "b.jpg: the file is empty"])
    'a.jpg: no such file; b.jpg: the file is empty'
    """
    more = len(reasons) - MOST_NAMED
    return "; ".join(reasons[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def listed_in_full(reasons: Sequence[str]) -> str:
    """As `named`; with more than 20 also the path of a file with all of them, one per line."""
    path = _write(reasons) if len(reasons) > MOST_NAMED else None
    return f"{named(reasons)} (all {len(reasons)}: {path})" if path else named(reasons)


def in_order(
    predictions: Sequence[dict[str, Any]], bad: Mapping[int, DataError], keep_marks: bool
) -> list[dict[str, Any]]:
    """Insert an error entry at the position of each bad input, unless `keep_marks` is False.

    Parameters
    ----------
    predictions
        Predictions of the readable inputs, in order.
    bad
        Position to error of each bad input.
    keep_marks
        Whether to insert entries.
    """
    if not keep_marks:
        return list(predictions)
    good = iter(predictions)
    return [
        mark(bad[number]) if number in bad else next(good) for number in range(len(predictions) + len(bad))
    ]


def _write(reasons: Sequence[str]) -> Path | None:
    """Write a list to `TRANSFER_HOME`/bad_inputs under the digest of its content; None if that fails."""
    content = "".join(f"{reason}\n" for reason in reasons).encode()
    path = paths.home() / "bad_inputs" / f"{hashlib.sha256(content).hexdigest()[:16]}.txt"
    try:
        make_directory(path.parent)
        with replacing(path, FILE) as temporary:
            temporary.write_bytes(content)
        *old, _ = sorted(path.parent.glob("*.txt"), key=lambda each: each.stat().st_mtime)
        for each in old[: -_MOST_LISTS + 1]:
            each.unlink(missing_ok=True)
    except OSError:
        return None
    return path
