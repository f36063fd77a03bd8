"""Backbones to rank: those that the caller names, or a shortlist of those on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transfer_core import backbones
from transfer_core.backbones.catalogue import catalogue
from transfer_core.backbones.facts import BackboneFacts
from transfer_core.runtime.errors import DependencyError, Problem, RecipeError

# Larger networks embed slowly on a CPU, and seldom pay for it on small data.
_MOST_PARAMETERS = 100e6
_MOST = 8

# Without pretrained weights; fitted on the training inputs.
_FITTED = {
    "text": ("sklearn:TfidfVectorizer",),
    "table": ("sklearn:StandardScaler", "sklearn:ColumnTransformer"),
}


@dataclass(frozen=True)
class Candidate:
    """A backbone with the name of its weights and their license."""

    facts: BackboneFacts
    weights: str
    license: str


def named_candidates(names: Sequence[str], trust: bool) -> list[Candidate]:
    """The backbones with these names.

    Raises
    ------
    RecipeError
        At `among`, for an unknown name.
    """
    found = []
    for number, name in enumerate(dict.fromkeys(names)):
        try:
            facts = backbones.facts(name, trust)
        except RecipeError as error:
            problems = [Problem(f"among[{number}]", problem.message) for problem in error.problems]
            raise RecipeError(problems) from None
        found.append(Candidate(facts, "pretrained", _license(facts)))
    return found


def candidates_for(modality: str) -> list[Candidate]:
    """A shortlist of backbones for `modality` whose library and weights are on this machine.

    The most relevant of the catalogue come first.

    Raises
    ------
    RecipeError
        At `among`, if there are none.
    """
    listed = catalogue(offline=True, max_parameters=_MOST_PARAMETERS)
    listed = [entry for entry in listed if entry.modality == modality]
    found = [Candidate(backbones.facts(e.backbone), e.weights, e.license) for e in listed[:_MOST]]
    for name in _FITTED.get(modality, ()):
        try:
            facts = backbones.facts(name)
        except DependencyError:
            continue
        found.append(Candidate(facts, "pretrained", facts.code_license))
    if not found:
        message = (
            f"no backbone for {modality} inputs is on this machine. Fix: install weights with "
            "`transfer setup`, or name one that can be downloaded"
        )
        raise RecipeError([Problem("among", message)])
    return found


def _license(facts: BackboneFacts) -> str:
    return facts.default_weights.license if facts.weights else facts.code_license
