"""A report as one HTML page without scripts, requests and inline styles."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from transfer_core.report.parts import Section

_FOLDER = Path(__file__).parent


def render_page(title: str, sections: Sequence[Section]) -> str:
    """Render sections as HTML.

    Their texts are escaped. The content security policy allows images in the page and the one style
    sheet in it, by its hash.
    """
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    digest = b64encode(sha256(style.encode()).digest()).decode()
    return _template().render(title=title, sections=sections, style=style, digest=digest)


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = lambda jpeg: f"data:image/jpeg;base64,{b64encode(jpeg).decode()}"
    return environment.get_template("page.html")
