"""Problems of parallel text: empty, overlong and mismatched pairs, identical pairs, lost placeholders."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from transfer_core.data.bad_input import LONGEST_VALUE, counted, printable
from transfer_core.data.placeholders import placeholders
from transfer_core.runtime.limits import excess

# Pairs whose lengths differ by more than this factor are misaligned (Moses' clean-corpus-n has the same).
_FACTOR = 9
_SHORT = 20  # characters up to which lengths are not compared
_SHOWN = 3
# Share of the targets' letters that one script must have, for others to be wrong.
_MAIN_SHARE = 0.9


def pair_problems(sources: Sequence[str], targets: Sequence[str]) -> dict[int, str]:
    """Pairs that teach something wrong, by row, with the reason.

    Parameters
    ----------
    sources, targets
        N texts each.
    """
    script = main_script(targets)
    problems = {}
    for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
        if reason := _problem(source, target, script):
            problems[row] = reason
    return problems


def _problem(source: str, target: str, script: str) -> str | None:
    if not target.strip():
        return "the target is empty"
    if problem := excess("max_text_length", len(target), f"the {len(target)} characters of the target"):
        return problem
    long, short = max(len(source), len(target)), min(len(source), len(target))
    if long > _SHORT and long > _FACTOR * max(1, short):
        lengths = f"{len(source)} and {len(target)} characters"
        return f"source and target have {lengths}, one {_FACTOR} times as long as the other"
    other = _main_of(_scripts(target)) if script else ""
    if other and other != script and not _kept(source, target):
        return f"the target is {other.title()}, the other targets are {script.title()}"
    return None


def _kept(source: str, target: str) -> bool:
    """Whether the letters of the target are those of the source: a name, a unit, an example."""
    return {c for c in target if c.isalpha()} <= {c for c in source if c.isalpha()}


def pair_warnings(sources: Sequence[str], targets: Sequence[str], copies: bool) -> Iterator[str]:
    """Warnings about doubtful pairs, with counts and examples; `copies`: about identical ones, too."""
    pairs = list(zip(sources, targets, strict=True))
    same = [source for source, target in pairs if copies and source.strip() == target.strip()]
    other = [source for source, target in pairs if placeholders(source) != placeholders(target)]
    for found, what in (
        (same, "have the source as target. Fix: on_bad_input: :skip leaves them out"),
        (other, "have other placeholders in the target"),
    ):
        if found:
            examples = ", ".join(f'"{printable(text[:60])}"' for text in found[:_SHOWN])
            yield f"{counted(len(found), 'pair', 'pairs')} of {len(pairs)} {what} ({examples})"


def main_script(texts: Sequence[str]) -> str:
    """The script of nearly all letters, `LATIN`; empty if there is none."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(_scripts(text))
    return _main_of(counts, _MAIN_SHARE)


def _main_of(counts: Counter[str], share: float = 0.5) -> str:
    if not counts:
        return ""
    script, count = counts.most_common(1)[0]
    return script if count >= share * counts.total() else ""


def _scripts(text: str) -> Counter[str]:
    return Counter(map(_script, filter(str.isalpha, text[:LONGEST_VALUE])))


def _script_of(character: str) -> str:
    name = unicodedata.name(character, "")
    first = name.partition(" ")[0]
    return "CJK" if first in ("HIRAGANA", "KATAKANA", "HANGUL", "FULLWIDTH") else first


class _Scripts(dict[str, str]):
    """Script by character, looked up once."""

    def __missing__(self, character: str) -> str:
        script = _script_of(character)
        if len(self) < 100_000:
            self[character] = script
        return script


_script: Callable[[str], str] = _Scripts().__getitem__
