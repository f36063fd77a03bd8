"""Groups of the user that are in several parts of a split."""

from __future__ import annotations

from transfer_core.findings.examples import Examples, Finding


def shared_groups(examples: Examples) -> list[Finding]:
    """Groups whose examples are in more than one part; the `score` is the number of their examples."""
    parts: dict[str, set[str]] = {}
    sizes: dict[str, int] = {}
    for group, part in zip(examples.groups, examples.parts, strict=True):
        if group is not None and part is not None:
            parts.setdefault(group, set()).add(part)
            sizes[group] = sizes.get(group, 0) + 1
    return [
        Finding(
            "group",
            f'the group "{group}" is in {" and ".join(sorted(of))}: the metrics are too good for new groups',
            score=float(sizes[group]),
        )
        for group, of in parts.items()
        if len(of) > 1
    ]
