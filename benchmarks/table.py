"""What is shown of a part: tables, and targets with the verdict on each. Data in, Markdown out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """`rows` have a cell per column; a first column of names, the others of figures."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""


@dataclass(frozen=True)
class Target:
    """A figure beside what it should be: at least `wanted`, or at most. None: it could not be measured."""

    what: str
    measured: float | None
    wanted: float
    at_least: bool = True
    unit: str = "×"

    @property
    def met(self) -> bool:
        """Whether it was reached; what was not measured was not."""
        if self.measured is None:
            return False
        return self.measured >= self.wanted if self.at_least else self.measured <= self.wanted

    @property
    def verdict(self) -> str:
        """Met, or missed by which share of the target."""
        if self.measured is None:
            return "not measured"
        if self.met:
            return "met"
        return (
            f"missed by {abs(self.measured - self.wanted) / abs(self.wanted) * 100:.0f} %"
            if self.wanted
            else "missed"
        )


@dataclass(frozen=True)
class Section:
    """The report of one part."""

    title: str
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    targets: tuple[Target, ...] = ()


def section(part: Section) -> str:
    """As Markdown."""
    blocks = [f"## {part.title}", *part.text]
    for one in part.tables:
        blocks += [f"**{one.title}**", table(one)] if one.title else [table(one)]
    if part.targets:
        blocks.append(table(_targets(part.targets)))
    return "\n\n".join(blocks) + "\n"


def table(shown: Table) -> str:
    """As Markdown whose columns stand below each other in a terminal, too."""
    widths = [max(len(row[i]) for row in (shown.columns, *shown.rows)) for i in range(len(shown.columns))]
    rule = tuple("-" * width if i == 0 else "-" * (width - 1) + ":" for i, width in enumerate(widths))
    return "\n".join(_line(cells, widths) for cells in (shown.columns, rule, *shown.rows))


def seconds(values: Sequence[float]) -> str:
    """The median, and the range where there is one."""
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2] if len(ordered) % 2 else sum(ordered[len(ordered) // 2 - 1 :][:2]) / 2
    return f"{middle:.2f} s" + (f" ({ordered[0]:.2f} to {ordered[-1]:.2f})" if len(ordered) > 1 else "")


def times(ratio: float | None) -> str:
    """A ratio with two or three telling digits."""
    return (
        ""
        if ratio is None
        else f"{ratio:.0f} ×"
        if ratio >= 100
        else f"{ratio:.1f} ×"
        if ratio >= 10
        else f"{ratio:.2f} ×"
    )


def percent(share: float | None) -> str:
    """A share with one decimal."""
    return "" if share is None else f"{share * 100:.1f} %"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.ljust(width) if i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "| " + " | ".join(padded) + " |"


def _targets(targets: Sequence[Target]) -> Table:
    rows = []
    for target in targets:
        sign = "≥" if target.at_least else "≤"
        rows.append(
            (
                target.what,
                _figure(target.measured, target.unit),
                f"{sign} {_figure(target.wanted, target.unit)}",
                target.verdict,
            )
        )
    return Table(("target", "measured", "wanted", "verdict"), tuple(rows))


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    if unit == "×":
        return times(value)
    return percent(value) if unit == "%" else f"{value:.3g} {unit}".strip()
