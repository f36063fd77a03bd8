"""The methods in order of preference, per modality; the first that applies explains."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TypeAlias

from transfer_core.explain.case import Attribution, Case

Method: TypeAlias = Callable[[Case], Attribution | None]

# Name, module and function; exact and gradient methods precede occlusion, which applies always.
METHODS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "image": (
        ("hirescam", "class_activation", "class_activation"),
        ("attention", "attention", "attended_image"),
        ("occlusion", "occlusion", "occluded_image"),
    ),
    "text": (
        ("linear", "linear", "linear_text"),
        ("attention", "attention", "attended_text"),
        ("occlusion", "occlusion", "occluded_text"),
    ),
    "table": (
        ("linear", "linear", "linear_row"),
        ("occlusion", "occlusion", "occluded_row"),
    ),
}


def attribute(case: Case) -> tuple[str, Attribution]:
    """The name and the result of the first method that applies to the modality, backbone and head."""
    for name, module, function in METHODS[case.backbone.facts.modality]:
        method: Method = getattr(import_module(f"transfer_core.explain.{module}"), function)
        if found := method(case):
            return name, found
    raise AssertionError("occlusion applies to every input")
