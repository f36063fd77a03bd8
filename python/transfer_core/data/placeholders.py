"""Placeholders of format strings and tags of markup, which a translation must keep."""

from __future__ import annotations

import re
from collections import Counter

# `%(name)s`, `%1$s`, `%s`, `%-5.2f`, `%PRODUCTNAME`, `{name}`, `%{name}`, `${name}`, `$(name)`, `$1`, `%1`.
_PLACEHOLDER = re.compile(
    r"%\(\w+\)[sdifr]|%\d+\$[sdif]|%[-+0#]*\d*(?:\.\d+)?(?:hh?|ll?|z)?[sdifuxXeg](?![A-Za-z])|%[A-Z]{3,}"
    r"|[$%]?\{\w*\}|\$\(\w+\)|\$\d+|%\d+"
)
# Attributes, such as titles, may be translated.
_TAG = re.compile(r"<(/?[A-Za-z][\w-]*)(?:\s[^<>]*)?/?>")


def placeholders(text: str) -> Counter[str]:
    """The placeholders and tags of a text.

    >>> sorted(placeholders("Copy %(count)d files to {name}, 50% done"))
    ['%(count)d', '{name}']
    >>> sorted(placeholders('<a href="/">Hello %{name}</a>'))
    ['%{name}', '</a>', '<a>']
    """
    return Counter(_PLACEHOLDER.findall(text)) + Counter(f"<{name}>" for name in _TAG.findall(text))


def changed_placeholders(source: str, output: str) -> dict[str, list[str]]:
    """Placeholders that are `missing` in an output, and `extra` ones; empty if both texts have the same.

    >>> changed_placeholders("%(count)d files", "{count} ficheiros")
    {'missing': ['%(count)d'], 'extra': ['{count}']}
    """
    before, after = placeholders(source), placeholders(output)
    if before == after:
        return {}
    return {"missing": sorted((before - after).elements()), "extra": sorted((after - before).elements())}
