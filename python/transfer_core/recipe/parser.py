"""Parse and validate recipes: plain data to a `Recipe`, or a list of all errors."""

from __future__ import annotations

import math
import numbers
import os
import typing
from collections import Counter
from collections.abc import Mapping, Sized
from typing import Any, get_args, get_origin

import msgspec

from transfer_core.recipe.hints import EXAMPLES
from transfer_core.recipe.messages import (
    members_of,
    most_of,
    structs_of,
    unknown_word,
    without_bounds,
    wrong_value,
)
from transfer_core.recipe.schema import Columns, Recipe
from transfer_core.recipe.steps import CONTRASTIVE, OF_MINIBATCHES, Freeze, Train, Unfreeze
from transfer_core.runtime.errors import Problem, RecipeError

# Options of one part: no part has as many, and each unknown one costs a search for the nearest name.
_MOST_WORDS = 100


def parse_recipe(words: Mapping[str, Any]) -> Recipe:
    """Parse plain data into a recipe.

    Short forms are allowed for `data` (a path, or a dict with `train`, `valid`, `test`), for `source` and
    `unlabelled` (paths), for `head`, `augment`, `adapt`, `weigh`, `distill` and `regularize` (names).

    Raises
    ------
    RecipeError
        With one problem per unknown option or invalid value, each with its path (`steps[1].epochs`) and the
        valid names.
    """
    problems: list[Problem] = []
    recipe = _parse(_expand_short_forms(words), Recipe, "", problems)
    if not problems:
        recipe = _with_train_step(recipe)
        _check_combinations(recipe, problems)
    if problems:
        raise RecipeError(problems)
    return typing.cast(Recipe, recipe)


def _expand_short_forms(words: Any) -> Any:
    if not isinstance(words, Mapping):
        return words
    expanded = dict(words)
    if expanded.get("from") is not None:
        expanded.setdefault("backbone", "auto")
        if isinstance(expanded["from"], os.PathLike):
            expanded["from"] = os.fspath(expanded["from"])
    if "data" in expanded:
        expanded["data"] = _expand_source(expanded["data"])
    for word in ("source", "unlabelled"):
        if word in expanded:
            expanded[word] = _expand_part(expanded[word])
    for word in ("adapt", "weigh"):
        if isinstance(expanded.get(word), str):
            expanded[word] = {"method": expanded[word]}
    if "distill" in expanded:
        expanded["distill"] = _expand_distill(expanded["distill"])
    if isinstance(expanded.get("regularize"), str):
        expanded["regularize"] = {"type": expanded["regularize"]}
    if isinstance(expanded.get("weights"), os.PathLike):
        expanded["weights"] = os.fspath(expanded["weights"])
    if isinstance(expanded.get("head"), str):
        expanded["head"] = {"type": expanded["head"]}
    if isinstance(expanded.get("augment"), list | tuple):
        expanded["augment"] = [{"type": a} if isinstance(a, str) else a for a in expanded["augment"]]
    return expanded


def _expand_distill(given: Any) -> Any:
    if isinstance(given, str | os.PathLike):
        given = {"from": given}
    if not isinstance(given, Mapping):
        return given
    expanded = dict(given)
    if isinstance(expanded.get("from"), os.PathLike):
        expanded["from"] = os.fspath(expanded["from"])
    if isinstance(expanded.get("relation"), str):
        expanded["relation"] = [expanded["relation"]]
    return expanded


def _expand_source(source: Any) -> Any:
    source = _expand_part(source)
    if not isinstance(source, Mapping) or source.get("type", "splits") != "splits":
        return source
    parts = {k: _expand_part(v) if k in ("train", "valid", "test") else v for k, v in source.items()}
    return {**parts, "type": "splits"}


def _expand_part(source: Any) -> Any:
    if isinstance(source, str | os.PathLike):
        return {"type": "path", "path": os.fspath(source)}
    if isinstance(source, Mapping) and "stream" in source:
        return {"type": "stream", **source}
    return source


def _parse(value: Any, expected: Any, path: str, problems: list[Problem]) -> Any:
    """Convert `value` to the type `expected`; errors are appended to `problems`."""
    if structs_of(expected) and isinstance(value, Mapping):
        return _parse_struct(value, expected, path, problems)
    if (most := most_of(expected)) is not None and isinstance(value, Sized) and len(value) > most:
        problems.append(Problem(path, wrong_value(value, expected, path)))
        return None
    element = _struct_element(expected)
    if element is not None and isinstance(value, list | tuple):
        return tuple(_parse(v, element, f"{path}[{i}]", problems) for i, v in enumerate(value))
    try:
        parsed = msgspec.convert(_plain_number(value), expected)
    except (msgspec.ValidationError, OverflowError, RecursionError):
        parsed = math.nan
    if not _is_finite(parsed):
        problems.append(Problem(path, wrong_value(value, expected, path)))
    return parsed


def _parse_struct(value: Mapping[Any, Any], expected: Any, path: str, problems: list[Problem]) -> Any:
    if len(value) > _MOST_WORDS:
        problems.append(Problem(path, f"expected at most {_MOST_WORDS} words (got {len(value)})"))
        return None
    struct = _chosen_struct(value, structs_of(expected))
    if struct is None:
        name = value.get("type")
        problems.append(
            Problem(path if isinstance(name, str) else f"{path}.type", wrong_value(name, expected, path))
        )
        return None
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    before = len(problems)
    parsed = {}
    for word, inner in value.items():
        where = f"{path}.{str(word)[:60]}" if path else str(word)[:60]
        if word in fields:
            parsed[fields[word].name] = _parse(inner, fields[word].type, where, problems)
        elif word != "type" or struct.__struct_config__.tag is None:
            problems.append(Problem(where, unknown_word(word, struct, list(fields))))
    for field in fields.values():
        word = field.encode_name
        if field.required and word not in value:
            example = EXAMPLES.get(word, "") if not path else ""
            missing = f"is missing. {example}" if example else "is missing"
            problems.append(Problem(f"{path}.{word}" if path else word, missing))
    return struct(**parsed) if len(problems) == before else None


def _chosen_struct(
    value: Mapping[Any, Any], structs: list[type[msgspec.Struct]]
) -> type[msgspec.Struct] | None:
    """The only struct, or the one that the value's `type` names."""
    if len(structs) == 1:
        return structs[0]
    named = (struct for struct in structs if struct.__struct_config__.tag == value.get("type"))
    return next(named, None)


def _struct_element(expected: Any) -> Any:
    """`X` where `expected` is `tuple[X, ...]` and X holds structs, else None."""
    for member in map(without_bounds, members_of(expected)):
        if get_origin(member) is tuple and structs_of(get_args(member)[0]):
            return get_args(member)[0]
    return None


def _plain_number(value: Any) -> Any:
    """Convert numbers of other libraries, such as NumPy, to Python's."""
    if type(value) in (bool, int, float) or not isinstance(value, numbers.Real):
        return value
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def _is_finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    return not isinstance(value, float) or math.isfinite(value)


def _with_train_step(recipe: Recipe) -> Recipe:
    """Append training options given beside steps that only freeze and unfreeze as their `train` step."""
    if not recipe.steps or recipe.train == Train() or any(isinstance(step, Train) for step in recipe.steps):
        return recipe
    return msgspec.structs.replace(recipe, steps=(*recipe.steps, recipe.train), train=Train())


def _check_combinations(recipe: Recipe, problems: list[Problem]) -> None:
    """Check the rules between fields that do not depend on the backbone or the data."""
    _check_columns(recipe.columns, problems)
    _check_domains(recipe, problems)
    if recipe.reuse and sum(map(bool, (recipe.reuse.first, recipe.reuse.last, recipe.reuse.blocks))) != 1:
        problems.append(Problem("reuse", "takes one of first, last, blocks"))
    if recipe.steps and recipe.train != Train():
        problems.append(Problem("train", "give training words either as keywords or as steps, not both"))
    _check_training_words(recipe.train, "train", problems)
    for i, step in enumerate(recipe.steps):
        path = f"steps[{i}]"
        if isinstance(step, Train):
            _check_training_words(step, path, problems)
        elif isinstance(step, Freeze | Unfreeze):
            _check_thaw(step, path, problems)
    trains = [step for step in recipe.steps if isinstance(step, Train)]
    if recipe.steps and not trains:
        problems.append(Problem("steps", "no train step: the head would never be fitted"))
    elif recipe.steps and not isinstance(recipe.steps[-1], Train):
        message = "nothing is trained after it: add a train step, or leave it out"
        problems.append(Problem(f"steps[{len(recipe.steps) - 1}]", message))
    if len({train.loss for train in trains if train.loss and train.loss != CONTRASTIVE}) > 1:
        problems.append(Problem("steps", "all train steps must use the same loss"))


def _check_columns(columns: Columns, problems: list[Problem]) -> None:
    for word, names in (("input", columns.input), ("target", columns.target)):
        twice = [name for name, n in Counter(names).items() if n > 1] if isinstance(names, tuple) else []
        problems += [Problem(f"columns.{word}", f'names "{name}" twice') for name in twice]


def _check_domains(recipe: Recipe, problems: list[Problem]) -> None:
    if recipe.source is not None:
        problems += [
            Problem(word, "is for data of one domain. Fix: leave out source")
            for word in ("distill", "corrections")
            if getattr(recipe, word)
        ]
        return
    for word in ("adapt", "weigh", "map_labels", "unlabelled"):
        if getattr(recipe, word) is not None and not (word == "unlabelled" and recipe.distill):
            message = 'needs a labelled source domain. Fix: source: "studio/", with data: the target domain'
            problems.append(Problem(word, message))


def _check_thaw(step: Freeze | Unfreeze, path: str, problems: list[Problem]) -> None:
    if step.blocks == ():
        problems.append(Problem(f"{path}.blocks", "names no block"))
    elif isinstance(step, Freeze) and step.first and step.blocks:
        problems.append(Problem(path, "freeze takes first or blocks, not both"))
    elif isinstance(step, Unfreeze) and sum(map(bool, (step.last, step.blocks, step.all))) != 1:
        problems.append(Problem(path, "unfreeze takes one of last, blocks, all"))


def _check_training_words(train: Train, path: str, problems: list[Problem]) -> None:
    if train.optimizer == "lbfgs":
        problems += [
            Problem(f"{path}.{word}", f"L-BFGS {_instead_of(word)} and takes no {word}")
            for word in OF_MINIBATCHES
            if getattr(train, word) is not None
        ]
    if train.momentum is not None and train.optimizer != "sgd":
        problems.append(Problem(f"{path}.momentum", "only the optimizer sgd takes momentum"))


def _instead_of(word: str) -> str:
    if word == "weight_decay":
        return "chooses the strength of its regularisation by cross-validation"
    return "fits to convergence on all rows"
