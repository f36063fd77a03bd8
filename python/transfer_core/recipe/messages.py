"""Error messages about unknown options and invalid values of a recipe."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Sequence, Sized
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from transfer_core.recipe.hints import INSTEAD, SYNONYMS
from transfer_core.recipe.schema import PathSource, Splits, StreamSource
from transfer_core.runtime.errors import did_you_mean

# Descriptions of expected values where the type alone is not specific; by path, or by its last word.
EXPECTED = {
    "": "the words of a recipe",
    "data": "a path, or a path each for train, valid and test",
    "data.train": "a path",
    "data.valid": "a path",
    "data.test": "a path",
    "path": "a path",
    "device": "auto, cpu, mps, cuda, or one GPU as in cuda:1",
    "split": "shares such as { test: 0.2, valid: 0.15 }",
    "class_weights": "none, balanced, or a number above 0 and at most 1000000 for each label",
}


def wrong_value(value: Any, expected: Any, path: str) -> str:
    """Describe an invalid value: `expected a whole number of at least 1 (got 0)`, or the valid names.

    Parameters
    ----------
    value
        The value given.
    expected
        The type of the field.
    path
        The path of the field.
    """
    word = _last_word(path)
    if (most := most_of(expected)) is not None and isinstance(value, Sized) and len(value) > most:
        unit = "characters" if isinstance(value, str) else "values"
        return f"expected at most {most} {unit} (got {len(value)})"
    if isinstance(value, str) and "\0" in value:
        return f"expected no NUL character (got {shown(value)})"
    choices = names_of(expected)
    if choices and isinstance(value, str):
        kind = {"steps": "step", "augment": "augmentation"}.get(word, word)
        return f"unknown {kind} {shown(value)}{did_you_mean(value, choices)} (one of: {', '.join(choices)})"
    description = EXPECTED.get(path) or EXPECTED.get(word) or described(expected)
    return f"expected {description} (got {shown(value)}){_as_a_share(value, path)}"


def _as_a_share(value: Any, path: str) -> str:
    """Suggest the share for a value given as a percentage, as a clause."""
    is_number = path in ("split.test", "split.valid") and isinstance(value, int | float)
    return f", did you mean {value / 100:g}?" if is_number and 1 < value < 100 else ""


def unknown_word(word: object, struct: type[msgspec.Struct], known: Sequence[str]) -> str:
    """Describe an unknown option: `unknown word "epoch" for train, did you mean "epochs"? (one of: …)`.

    Parameters
    ----------
    word
        The name given.
    struct
        The type of the part of the recipe.
    known
        Its valid options.
    """
    tag = struct.__struct_config__.tag
    where = f" for {tag}" if tag and struct not in (Splits, PathSource, StreamSource) else ""
    if str(word) in INSTEAD:
        instead = INSTEAD[str(word)]
        return f'unknown word "{word}"{". " if instead.startswith("Fix") else ": "}{instead}'
    if SYNONYMS.get(str(word)) in known:
        return f'unknown word "{word}"{where}, did you mean "{SYNONYMS[str(word)]}"?'
    choices = f" (one of: {', '.join(known)})" if known else " (it takes no options)"
    return f"unknown word {shown(str(word))}{where}{did_you_mean(word, known)}{choices}"


def described(expected: Any) -> str:
    """Describe a type for users: `a list of names`, `a number above 0`."""
    names = names_of(expected)
    if names:
        return _either(names)
    members = (member for member in members_of(expected) if member is not type(None))
    return " or ".join(map(_described_one, members))


def _described_one(expected: Any) -> str:
    if get_origin(expected) is Annotated:
        base, *constraints = get_args(expected)
        if base in (int, float):
            noun = "a whole number" if base is int else "a number"
            return f"{noun} {_range(typing.cast(Meta, constraints[0]))}"
        return _described_one(base)
    if get_origin(expected) is tuple:
        return f"a list of {_plural(get_args(expected)[0])}"
    if isinstance(expected, type) and issubclass(expected, msgspec.Struct):
        return f"options ({', '.join(expected.__struct_encode_fields__)})"
    if get_origin(expected) is Literal:
        return str(get_args(expected)[0])
    if get_origin(expected) is dict:
        return "names by name"
    return {str: "a name", bool: "true or false"}[expected]


def _plural(expected: Any) -> str:
    if without_bounds(expected) is str:
        return "names"
    names = names_of(expected)
    if names:
        return _either(names)
    return _described_one(expected).removeprefix("a ").replace("number", "numbers", 1)


def _either(names: list[str]) -> str:
    return " or ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _range(meta: Meta) -> str:
    """Describe bounds: `of at least 1`, `above 0 and below 1`."""
    bounds = (
        ("of at least", meta.ge),
        ("above", meta.gt),
        ("at most", meta.le),
        ("below", meta.lt),
    )
    return " and ".join(f"{relation} {bound:.10g}" for relation, bound in bounds if bound is not None)


def shown(value: Any) -> str:
    """Format a value as in Ruby or JSON, shortened."""
    try:
        text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= 60 else f"{text[:59]}…"


def members_of(expected: Any) -> tuple[Any, ...]:
    """The alternatives of a union, or the type itself."""
    return get_args(expected) if get_origin(expected) in (Union, types.UnionType) else (expected,)


def without_bounds(expected: Any) -> Any:
    """`tuple[X, ...]` of `Annotated[tuple[X, ...], Meta(…)]`."""
    return get_args(expected)[0] if get_origin(expected) is Annotated else expected


def most_of(expected: Any) -> int | None:
    """The maximum length over the alternatives of a type, in characters or values; None if unlimited."""
    metas = (meta for member in members_of(expected) for meta in getattr(member, "__metadata__", ()))
    return max((meta.max_length for meta in metas if meta.max_length is not None), default=None)


def structs_of(expected: Any) -> list[type[msgspec.Struct]]:
    """The structs among the alternatives."""
    return [m for m in members_of(expected) if isinstance(m, type) and issubclass(m, msgspec.Struct)]


def names_of(expected: Any) -> list[str]:
    """The names to choose from: a literal's, or the tags of several structs."""
    structs = structs_of(expected)
    tags = [str(struct.__struct_config__.tag) for struct in structs] if len(structs) > 1 else []
    literals = [get_args(member) for member in members_of(expected) if get_origin(member) is Literal]
    return [*tags, *(name for names in literals for name in names if isinstance(name, str))]


def _last_word(path: str) -> str:
    """`steps[2].optimizer` → `optimizer`, `steps[2]` → `steps`."""
    return path.rsplit(".", 1)[-1].split("[")[0]
