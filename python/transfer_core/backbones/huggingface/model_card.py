"""Facts from the front matter of a model card, a README.md on the hub."""

from __future__ import annotations

import re
from typing import NamedTuple

# SPDX names of the hub's licenses, where they are not just in capitals.
_SPDX = {"mit": "MIT", "apache-2.0": "Apache-2.0", "bsd-3-clause": "BSD-3-Clause", "openrail": "OpenRAIL"}

_UNKNOWN = ("", "unknown", "other")


class Card(NamedTuple):
    """License, data sets and the arXiv id of the paper; `unknown` or empty if not stated."""

    license: str
    license_url: str
    trained_on: str
    arxiv: str


def read_card(readme: bytes | None) -> Card:
    """Parse the front matter of a README.md."""
    lines = _front_matter((readme or b"").decode(errors="replace"))
    license = _word(lines, "license_name") or _word(lines, "license")
    url = _word(lines, "license_link")
    papers = [tag.removeprefix("arxiv:") for tag in _list(lines, "tags") if tag.startswith("arxiv:")]
    return Card(
        license="unknown" if license.lower() in _UNKNOWN else _SPDX.get(license.lower(), license.upper()),
        license_url=url if url.startswith("https://") else "",
        trained_on=", ".join(_list(lines, "datasets")) or "unknown",
        arxiv=papers[0] if papers else "",
    )


def _front_matter(text: str) -> list[str]:
    """The lines between the first two lines `---`."""
    found = re.match(r"---\r?\n(.*?)\r?\n---", text, re.DOTALL)
    return found[1].splitlines() if found else []


def _word(lines: list[str], name: str) -> str:
    """`license: mit` -> `mit`."""
    values = (line.partition(":")[2] for line in lines if line.startswith(f"{name}:"))
    return next(values, "").strip().strip("\"'")


def _list(lines: list[str], name: str) -> list[str]:
    """The items below `name:`, or in brackets beside it."""
    if inline := _word(lines, name).strip("[]"):
        return [item.strip().strip("\"'") for item in inline.split(",")]
    if f"{name}:" not in (starts := [line.rstrip() for line in lines]):
        return []
    items = []
    for line in starts[starts.index(f"{name}:") + 1 :]:
        if not line.lstrip().startswith("- "):
            break
        items.append(line.lstrip()[2:].strip().strip("\"'"))
    return items
