"""Checks of the groups that metrics are compared between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from transfer_core.data.bad_input import counted, listed, printable
from transfer_core.data.dataset import DataSplits
from transfer_core.runtime.errors import DataError

# Columns with more values are identifiers or numbers.
MOST_SUBGROUPS = 100


def check_subgroups(subgroups: Sequence[str | None], column: str | None) -> None:
    """Raise `DataError` if no row has a value of the column, or it has too many different ones.

    Parameters
    ----------
    subgroups
        The value of each row.
    column
        Name of the column; None: there is none.
    """
    if column is None:
        return
    names = set(subgroups) - {None}
    if not names:
        raise DataError(f'no row has a value of "{printable(column)}", as columns group: needs')
    if len(names) > MOST_SUBGROUPS:
        raise DataError(
            f'"{printable(column)}" has {len(names)} different values, expected at most {MOST_SUBGROUPS} '
            "groups. Fix: name another column in columns group:, or keep its rows together by split group:"
        )


def subgroup_warnings(splits: DataSplits, column: str | None) -> Iterator[str]:
    """Warn about rows without a value of the column, and a single group."""
    if column is None:
        return
    parts = splits.train, splits.valid, splits.test
    values = [one for part in parts for one in part.subgroups]
    names = sorted({one for one in values if one is not None})
    if missing := values.count(None):
        many = counted(missing, splits.modality.one, splits.modality.many)
        yield f'{many} of {len(values)} have no value of "{printable(column)}": no group metric covers them'
    if len(names) == 1:
        many = splits.modality.many
        yield f'all {many} have the "{printable(column)}" {listed(names)}: no groups to compare'
