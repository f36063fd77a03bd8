"""Display of results as tables in notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

_MOST = 20


class ShownDict(dict[str, Any]):
    """A dict, such as a prediction or metrics, that Jupyter shows as tables."""

    def _repr_html_(self) -> str:
        return html(self)


def html(fields: Mapping[str, Any]) -> str:
    """A table of the values, and one of each list of dicts: HTML without scripts, all texts escaped."""
    lists = {name: value for name, value in fields.items() if _is_list_of_rows(value)}
    rows = [row for name, value in fields.items() if name not in lists for row in _facts(name, value)]
    return "\n".join([_table(rows), *(_list(name, value) for name, value in lists.items())])


def _is_list_of_rows(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(one, Mapping) for one in value)


def _facts(name: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        inner = list(value.items())[:_MOST]
        return [fact for key, one in inner for fact in _facts(f"{name} {key}", one)]
    is_matrix = isinstance(value, list | tuple) and any(isinstance(one, list | tuple) for one in value)
    return [] if is_matrix or value is None else [(name, value)]


def _list(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    caption = f"{name}: {_MOST} of {len(rows)}" if len(rows) > _MOST else name
    names = list(rows[0])
    return _table([[row.get(one) for one in names] for row in rows[:_MOST]], caption, names)


def _table(rows: Iterable[Sequence[Any]], caption: str = "", head: Sequence[str] = ()) -> str:
    lines = [f"<caption>{_cell(caption)}</caption>"] if caption else []
    if head:
        names = "".join(f'<th scope="col">{_cell(name)}</th>' for name in head)
        lines.append(f"<tr>{names}</tr>")
    for first, *others in rows:
        cells = "".join(f"<td>{_cell(other)}</td>" for other in others)
        lines.append(f'<tr><th scope="row">{_cell(first)}</th>{cells}</tr>')
    return f"<table>{''.join(lines)}</table>"


def _cell(value: Any) -> str:
    return escape(_text(value))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(one)}" for key, one in list(value.items())[:_MOST])
    if isinstance(value, list | tuple):
        return ", ".join([*map(_text, value[:_MOST]), *(["…"] if len(value) > _MOST else [])])
    return str(value)
