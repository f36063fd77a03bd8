"""The methods in order of preference, per modality; the first that applies explains."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TypeAlias

from transfer_core.explain.case import Attribution, Case
from transfer_core.runtime.errors import Problem, RecipeError, did_you_mean

Method: TypeAlias = Callable[[Case], Attribution | None]

# Name, module and function. Occlusion applies to every input, so those after it are used by name only.
METHODS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "image": (
        ("hirescam", "class_activation", "class_activation"),
        ("attention", "attention", "attended_image"),
        ("occlusion", "occlusion", "occluded_image"),
        ("rise", "rise", "randomly_masked_image"),
        ("rollout", "attention", "rolled_out_image"),
    ),
    "text": (
        ("linear", "linear", "linear_text"),
        ("attention", "attention", "attended_text"),
        ("integrated_gradients", "integrated_gradients", "integrated_text"),
        ("occlusion", "occlusion", "occluded_text"),
        ("rollout", "attention", "rolled_out_text"),
    ),
    "table": (
        ("linear", "linear", "linear_row"),
        ("integrated_gradients", "integrated_gradients", "integrated_row"),
        ("occlusion", "occlusion", "occluded_row"),
    ),
}


def attribute(case: Case, wanted: str = "auto") -> tuple[str, Attribution]:
    """The name and the result of a method, or of the first that applies to modality, backbone and head.

    Raises
    ------
    RecipeError
        At `method`, if it is unknown or does not apply.
    """
    known = METHODS[case.backbone.facts.modality]
    check_method(wanted, tuple(name for name, _, _ in known))
    for name, module, function in known:
        method: Method = getattr(import_module(f"transfer_core.explain.{module}"), function)
        if wanted in ("auto", name) and (found := method(case)):
            return name, found
    reason = f'"{wanted}" does not apply to {case.backbone.facts.name} with this head'
    raise RecipeError([Problem("method", f'{reason}. Fix: use "auto" or "occlusion"')])


def check_method(wanted: str, known: tuple[str, ...]) -> None:
    """Check the name of a method.

    Raises
    ------
    RecipeError
        If it is neither `auto` nor known.
    """
    names = ("auto", *known)
    if wanted not in names:
        hint = did_you_mean(wanted, names) or ""
        message = f'unknown method "{wanted}"{hint} (one of: {", ".join(names)})'
        raise RecipeError([Problem("method", message)])
