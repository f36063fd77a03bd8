"""Several frozen backbones whose embeddings are concatenated; implements `frozen.AnyBackbone`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NoReturn

from transfer_core.backbones.facts import BackboneFacts, Preprocessing, WeightsFacts
from transfer_core.backbones.registry import is_fitted, source_of
from transfer_core.backbones.representations import Representation
from transfer_core.runtime.errors import ConfigurationError, Problem, RecipeError

if TYPE_CHECKING:
    from transfer_core.backbones.frozen import AnyBackbone, Array

PREFIX = "joint:"
MOST_MEMBERS = 8


def joint_name(names: Sequence[str]) -> str:
    """The name of a recipe for these backbones; one alone keeps its own."""
    return names[0] if len(names) == 1 else PREFIX + "+".join(names)


def member_names(name: str) -> list[str]:
    """The backbones of a joint name.

    Raises
    ------
    RecipeError
        At `backbone`, unless these are two to eight different ones.
    """
    names = name.removeprefix(PREFIX).split("+")
    if not 2 <= len(set(names)) == len(names) <= MOST_MEMBERS or not all(names):
        message = f"{PREFIX}… takes two to {MOST_MEMBERS} different backbones, separated by + (got {name})"
        raise RecipeError([Problem("backbone", message)])
    return names


def joint_facts(members: Sequence[BackboneFacts]) -> BackboneFacts:
    """The facts of several backbones together.

    Raises
    ------
    RecipeError
        At `backbone`, if they take different kinds of input, or one has no pretrained embedding.
    """
    first = members[0]
    for facts in members:
        if facts.modality != first.modality:
            what = f"{first.name} takes {first.modality} inputs, {facts.name} {facts.modality} inputs"
            raise RecipeError([Problem("backbone", f"{what}. Fix: join backbones for one kind of input")])
        if "pooled" not in facts.gives or is_fitted(facts) or source_of(facts.name).name == "joint":
            message = f"{facts.name} can't be joined with others. Fix: name pretrained networks"
            raise RecipeError([Problem("backbone", message)])
    weights = WeightsFacts(name="pretrained", preprocessing=first.default_weights.preprocessing)
    return BackboneFacts(
        name=joint_name([facts.name for facts in members]),
        source="joint",
        family="joint",
        paper="",
        arxiv="",
        code_license=" and ".join(dict.fromkeys(facts.code_license for facts in members)),
        code_url="",
        embedding_width=sum(facts.embedding_width for facts in members),
        parameters=sum(facts.parameters for facts in members),
        backbone_parameters=sum(facts.backbone_parameters for facts in members),
        default=weights.name,
        blocks=tuple(facts.name for facts in members),
        weights=(weights,),
        modality=first.modality,
        trainable=False,
        plain=all(facts.plain for facts in members),
        max_length=min((facts.max_length for facts in members if facts.max_length), default=None),
        positions=min((facts.positions for facts in members if facts.positions), default=None),
    )


@dataclass(frozen=True)
class JointBackbone:
    """The members in the order of their embeddings."""

    members: tuple[AnyBackbone, ...]

    @cached_property
    def facts(self) -> BackboneFacts:
        """See `AnyBackbone`."""
        return joint_facts([member.facts for member in self.members])

    @property
    def weights(self) -> WeightsFacts:
        """See `AnyBackbone`."""
        return self.facts.default_weights

    @cached_property
    def weights_digest(self) -> str:
        """sha256 of the digests of the members."""
        digests = " ".join(member.weights_digest for member in self.members)
        return hashlib.sha256(digests.encode()).hexdigest()

    @property
    def identity(self) -> str:
        """See `AnyBackbone`."""
        return " + ".join(member.identity for member in self.members)

    @property
    def preprocessing(self) -> Preprocessing:
        """That of the first member, for thumbnails."""
        return self.members[0].preprocessing

    @property
    def gives(self) -> frozenset[Representation]:
        """See `AnyBackbone`."""
        return self.facts.gives

    @property
    def vocabulary(self) -> int:
        """See `AnyBackbone`."""
        return 0

    def files(self) -> Mapping[str, bytes]:
        """See `AnyBackbone`; those of the members are in `tensors`."""
        return {}

    def tensors(self) -> Mapping[str, Array]:
        """The tensors of each member, with its number before the name."""
        return {
            f"{number}.{name}": tensor
            for number, member in enumerate(self.members)
            for name, tensor in member.tensors().items()
        }

    def module(self) -> NoReturn:
        """See `AnyBackbone`.

        Raises
        ------
        ConfigurationError
            Always: there is no single network.
        """
        raise ConfigurationError(
            f"{self.facts.name} has {len(self.members)} networks, and only predicts, embeds and is saved. "
            "Fix: train with one of them to export or explain the model"
        )


def members_of(backbone: AnyBackbone) -> tuple[AnyBackbone, ...]:
    """The members of a joint backbone; any other backbone alone."""
    return backbone.members if isinstance(backbone, JointBackbone) else (backbone,)
