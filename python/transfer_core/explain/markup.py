"""Explanations as HTML: escaped, without scripts and requests."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from transfer_core.explain.alignment import Alignment
from transfer_core.explain.pictures import AGAINST, FOR

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
  body {{ font: 16px/1.6 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }}
</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def page(title: str, body: str) -> str:
    """A whole document around a fragment of HTML; `title` is text."""
    return _PAGE.format(title=escape(title), body=body)


def picture(png: bytes, description: str) -> str:
    """An image in the page itself; `description` is text."""
    data = base64.b64encode(png).decode()
    return f'<img alt="{escape(description)}" src="data:image/png;base64,{data}" style="max-width: 100%">'


def words(tokens: Sequence[tuple[str, float]]) -> str:
    """Words on backgrounds of their contributions: red for the label, blue against it."""
    largest = max((abs(score) for _, score in tokens), default=0.0)
    return " ".join(_word(text, score, largest) for text, score in tokens)


def bars(rows: Mapping[str, float]) -> str:
    """A table of names and numbers with a bar for each, the largest first."""
    largest = max((abs(value) for value in rows.values()), default=0.0)
    ordered = sorted(rows.items(), key=lambda row: -abs(row[1]))
    cells = (
        (escape(name), f"{value:.4g}", _bar(value / largest if largest else 0.0)) for name, value in ordered
    )
    return table((), cells)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    lines = [f"<thead><tr>{head}</tr></thead>"] if head else []
    for first, *others in rows:
        cells = "".join(f'<td style="padding: 0 .5em">{cell}</td>' for cell in others)
        lines.append(f'<tr><th scope="row" style="text-align: left">{first}</th>{cells}</tr>')
    return f"<table>{''.join(lines)}</table>"


def alignment(found: Alignment) -> str:
    """A table with a row for each token of the target and a column for each of the source."""
    header = ["", *(_upright(piece) for piece in found.source)]
    rows = [
        [escape(piece), *(_share(float(weight)) for weight in row)]
        for piece, row in zip(found.target, found.weights, strict=True)
    ]
    return table(header, rows)


def _word(text: str, score: float, largest: float) -> str:
    red, green, blue = FOR if score > 0 else AGAINST
    share = 0.6 * abs(score) / largest if largest else 0.0
    style = f"background: rgba({red}, {green}, {blue}, {share:.2f}); padding: .1em .2em"
    return f'<span style="{style}" title="{score:.4g}">{escape(text)}</span>'


def _bar(share: float) -> str:
    red, green, blue = FOR if share > 0 else AGAINST
    style = f"background: rgb({red}, {green}, {blue}); width: {10 * abs(share):.2f}em; height: .7em"
    return f'<div style="{style}"></div>'


def _share(weight: float) -> str:
    style = f"background: rgba(30, 30, 230, {min(1.0, weight):.2f}); width: 1.5em; height: 1.5em"
    return f'<div style="{style}" title="{weight:.2f}"></div>'


def _upright(piece: str) -> str:
    return f'<span style="writing-mode: vertical-rl; font-weight: normal">{escape(piece)}</span>'


def described(parts: Mapping[str, Any]) -> str:
    """A paragraph of names and values that are not None; the values are text or numbers."""
    shown = {name: value for name, value in parts.items() if value is not None}
    texts = (f"{escape(name)}: <strong>{_value(value)}</strong>" for name, value in shown.items())
    return f"<p>{', '.join(texts)}</p>"


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))
