"""From whatever the user wrote to a `Recipe`, or to a list of everything that is wrong with it."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from transfer_core.errors import Problem, RecipeError, did_you_mean
from transfer_core.recipe import Freeze, Recipe, Train, Unfreeze


def parse_recipe(words: Mapping[str, Any]) -> Recipe:
    """Read plain data into a recipe.

    Short forms are allowed for `data` (a path, or a dict with `train`, `valid`, `test`), for `head` and
    `augment` (names).

    Raises
    ------
    RecipeError
        With one problem per wrong word or value, each with its path (`steps[1].epochs`) and the
        valid names.
    """
    problems: list[Problem] = []
    recipe = _parse(_expand_short_forms(words), Recipe, "", problems)
    if not problems:
        _check_combinations(recipe, problems)
    if problems:
        raise RecipeError(problems)
    return typing.cast(Recipe, recipe)


def _expand_short_forms(words: Mapping[str, Any]) -> dict[str, Any]:
    expanded = dict(words)
    if "data" in expanded:
        expanded["data"] = _expand_source(expanded["data"])
    if isinstance(expanded.get("head"), str):
        expanded["head"] = {"type": expanded["head"]}
    if isinstance(expanded.get("augment"), list | tuple):
        expanded["augment"] = [{"type": a} if isinstance(a, str) else a for a in expanded["augment"]]
    return expanded


def _expand_source(source: Any) -> Any:
    if isinstance(source, str):
        return {"type": "path", "path": source}
    if not isinstance(source, Mapping) or source.get("type", "splits") != "splits":
        return source
    if "stream" in source:
        return {"type": "stream", **source}
    parts = {k: _expand_source(v) if k in ("train", "valid", "test") else v for k, v in source.items()}
    return {**parts, "type": "splits"}


def _parse(value: Any, expected: Any, path: str, problems: list[Problem]) -> Any:
    """`value` as the type `expected`; what does not fit is added to `problems`."""
    members = _struct_members(expected)
    if members and isinstance(value, Mapping):
        return _parse_struct(value, members, path, problems)
    element = _struct_element(expected)
    if element is not None and isinstance(value, list | tuple):
        return tuple(_parse(v, element, f"{path}[{i}]", problems) for i, v in enumerate(value))
    try:
        return msgspec.convert(value, expected)
    except msgspec.ValidationError as error:
        problems.append(Problem(path, _explain(value, expected, path, str(error))))
        return None


def _parse_struct(
    value: Mapping[str, Any], members: list[type[msgspec.Struct]], path: str, problems: list[Problem]
) -> Any:
    struct = _choose_member(value, members, path, problems)
    if struct is None:
        return None
    fields = {field.name: field for field in msgspec.structs.fields(struct)}
    before = len(problems)
    parsed = {}
    for word, inner in value.items():
        where = f"{path}.{word}" if path else str(word)
        if word in fields:
            parsed[word] = _parse(inner, fields[word].type, where, problems)
        elif word != "type":
            problems.append(Problem(where, _unknown_word(word, struct, list(fields))))
    for field in fields.values():
        if field.required and field.name not in value:
            problems.append(Problem(f"{path}.{field.name}" if path else field.name, "is missing"))
    return struct(**parsed) if len(problems) == before else None


def _choose_member(
    value: Mapping[str, Any], members: list[type[msgspec.Struct]], path: str, problems: list[Problem]
) -> type[msgspec.Struct] | None:
    if len(members) == 1:
        return members[0]
    tagged = {str(member.__struct_config__.tag): member for member in members}
    tag = value.get("type")
    if tag not in tagged:
        what = _noun(path)
        known = ", ".join(tagged)
        problems.append(
            Problem(path, f'unknown {what} "{tag}"{did_you_mean(tag, list(tagged))} (one of: {known})')
        )
        return None
    return tagged[typing.cast(str, tag)]


def _unknown_word(word: str, struct: type[msgspec.Struct], known: list[str]) -> str:
    where = f" for {struct.__struct_config__.tag}" if struct.__struct_config__.tag else ""
    choices = f" (one of: {', '.join(known)})" if known else " (it takes no options)"
    return f'unknown word "{word}"{where}{did_you_mean(word, known)}{choices}'


def _explain(value: Any, expected: Any, path: str, error: str) -> str:
    choices = _literal_choices(expected)
    if choices and isinstance(value, str):
        known = ", ".join(choices)
        return f'unknown {_noun(path)} "{value}"{did_you_mean(value, choices)} (one of: {known})'
    if path == "device":
        return f'unknown device "{value}" (one of: auto, cpu, mps, cuda, cuda:0, cuda:1, …)'
    return f"{error[0].lower()}{error[1:].split(' - at ')[0]} (got {value!r})"


def _noun(path: str) -> str:
    """`steps[2].optimizer` → `optimizer`, `steps[2]` → `step`, `augment[0]` → `augmentation`."""
    last = path.rsplit(".", 1)[-1].split("[")[0]
    return {"steps": "step", "augment": "augmentation"}.get(last, last)


def _union_members(expected: Any) -> tuple[Any, ...]:
    return get_args(expected) if get_origin(expected) in (Union, types.UnionType) else (expected,)


def _struct_members(expected: Any) -> list[type[msgspec.Struct]]:
    return [m for m in _union_members(expected) if isinstance(m, type) and issubclass(m, msgspec.Struct)]


def _struct_element(expected: Any) -> Any:
    """`X` where `expected` is `tuple[X, ...]` and X holds structs, else None."""
    for member in _union_members(expected):
        if get_origin(member) is tuple and _struct_members(get_args(member)[0]):
            return get_args(member)[0]
    return None


def _literal_choices(expected: Any) -> list[str]:
    return [
        choice
        for member in _union_members(expected)
        if get_origin(member) is Literal
        for choice in get_args(member)
        if isinstance(choice, str)
    ]


def _check_combinations(recipe: Recipe, problems: list[Problem]) -> None:
    """Rules between fields that need no knowledge of the backbone or of the data."""
    if recipe.steps and recipe.train != Train():
        problems.append(Problem("train", "give training words either as keywords or as steps, not both"))
    _check_training_words(recipe.train, "train", problems)
    for i, step in enumerate(recipe.steps):
        path = f"steps[{i}]"
        if isinstance(step, Train):
            _check_training_words(step, path, problems)
        if isinstance(step, Freeze) and step.first and step.blocks:
            problems.append(Problem(path, "freeze takes first or blocks, not both"))
        if isinstance(step, Unfreeze) and sum(map(bool, (step.last, step.blocks, step.all))) != 1:
            problems.append(Problem(path, "unfreeze takes one of last, blocks, all"))
    trains = [step for step in recipe.steps if isinstance(step, Train)]
    if recipe.steps and not trains:
        problems.append(Problem("steps", "no train step: the head would never be fitted"))
    if len({train.loss for train in trains if train.loss}) > 1:
        problems.append(Problem("steps", "all train steps must use the same loss"))


def _check_training_words(train: Train, path: str, problems: list[Problem]) -> None:
    of_minibatches = ("epochs", "learning_rate", "batch_size", "schedule", "warmup", "early_stopping")
    if train.optimizer == "lbfgs":
        problems += [
            Problem(f"{path}.{word}", f"L-BFGS fits to convergence on all rows and takes no {word}")
            for word in of_minibatches
            if getattr(train, word) is not None
        ]
    if train.momentum is not None and train.optimizer != "sgd":
        problems.append(Problem(f"{path}.momentum", "only the optimizer sgd takes momentum"))
