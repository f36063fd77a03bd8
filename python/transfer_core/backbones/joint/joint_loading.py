"""Describe several backbones at once; implements `registry.Loading`.

They are opened by `backbones.frozen.open_backbone`, since they are not one network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from transfer_core.backbones import backbone_loading
from transfer_core.backbones.facts import BackboneFacts, WeightsFacts
from transfer_core.backbones.joint.joint_backbone import joint_facts, member_names
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.runtime.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor


def facts(name: str, trust: bool) -> BackboneFacts:
    """See `Loading`."""
    return joint_facts([backbone_loading.facts(member, trust) for member in member_names(name)])


def load(facts: BackboneFacts, weights: str, trust: bool, progress: Progress) -> NoReturn:
    """See `Loading`; there is no single network."""
    raise RecipeError([Problem("backbone", f"{facts.name} is not one network. Fix: name one of them")])


def restore(
    facts: BackboneFacts,
    tensors: Mapping[str, Tensor],
    weights: WeightsFacts | None,
    digest: str,
    trust: bool,
) -> NoReturn:
    """See `Loading`; each member is restored on its own."""
    load(facts, digest, trust, Progress())
