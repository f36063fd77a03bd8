"""Pretrained backbones without torch: facts, identity and tensors; the network is loaded on demand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec
import numpy.typing as npt

from transfer_core.backbones import backbone_loading
from transfer_core.backbones.asset_files import PREFIX, files_in
from transfer_core.backbones.facts import BackboneFacts, Preprocessing, WeightsFacts, identity_of
from transfer_core.backbones.joint.joint_backbone import PREFIX as JOINT
from transfer_core.backbones.joint.joint_backbone import JointBackbone, joint_facts, member_names
from transfer_core.backbones.registry import library_version, source_of
from transfer_core.backbones.representations import Representation
from transfer_core.backbones.weights import find_weights
from transfer_core.cache.digests import is_settled, stamp_of
from transfer_core.cache.networks import open_arrays, store_arrays
from transfer_core.runtime.progress import Progress

if TYPE_CHECKING:
    from transfer_core.backbones.backbone import Backbone

Array: TypeAlias = npt.NDArray[Any]


class AnyBackbone(Protocol):
    """A pretrained backbone, with its network in memory (`Backbone`) or not (`FrozenBackbone`)."""

    @property
    def facts(self) -> BackboneFacts: ...  # noqa: D102
    @property
    def weights(self) -> WeightsFacts | None: ...  # noqa: D102
    @property
    def weights_digest(self) -> str: ...  # noqa: D102
    @property
    def identity(self) -> str: ...  # noqa: D102
    @property
    def preprocessing(self) -> Preprocessing: ...  # noqa: D102
    @property
    def gives(self) -> frozenset[Representation]: ...  # noqa: D102

    @property
    def vocabulary(self) -> int: ...  # noqa: D102

    def files(self) -> Mapping[str, bytes]:
        """Other files that it needs (a tokenizer, a configuration), by name."""

    def tensors(self) -> Mapping[str, Array]:
        """All tensors by name, as a saved model contains them."""

    def module(self) -> Backbone:
        """The network; imports torch, and loads it if it is not in memory."""


@dataclass(frozen=True)
class _Described:
    """Base of backbones without a network; the parameters are attributes of `Backbone`."""

    facts: BackboneFacts
    weights: WeightsFacts | None
    weights_digest: str
    code: str

    @property
    def identity(self) -> str:
        """See `Backbone`."""
        return identity_of(self.facts, len(self.facts.blocks), self.weights_digest, self.code)

    @property
    def preprocessing(self) -> Preprocessing:
        """See `Backbone`."""
        preprocessing = (self.weights or self.facts.default_weights).preprocessing
        assert preprocessing
        return preprocessing

    @property
    def gives(self) -> frozenset[Representation]:
        """See `Backbone`."""
        return self.facts.gives


@dataclass(frozen=True)
class SavedBackbone(_Described):
    """The backbone of a saved model, whose tensors are in memory.

    Parameters
    ----------
    arrays
        The tensors by name.
    """

    arrays: Mapping[str, Array]

    @property
    def vocabulary(self) -> int:
        """See `Backbone`."""
        words = self.arrays.get(f"blocks.{self.facts.blocks[0]}.words.weight")
        return 0 if words is None or self.facts.modality != "text" else len(words)

    def files(self) -> Mapping[str, bytes]:
        """See `AnyBackbone`."""
        return files_in(self.arrays)

    def tensors(self) -> Mapping[str, Array]:
        """See `AnyBackbone`."""
        return self.arrays

    def module(self) -> Backbone:
        """See `AnyBackbone`."""
        return self._module

    @cached_property
    def _module(self) -> Backbone:
        import torch

        tensors = {name: torch.from_numpy(array) for name, array in self.arrays.items()}
        return backbone_loading.restore(self.facts, tensors, self.weights, self.weights_digest)


@dataclass(frozen=True)
class FrozenBackbone(_Described):
    """A backbone whose tensors are in the cache: torch is imported when its network is asked for.

    Parameters
    ----------
    name, wanted
        As in the recipe; see `backbones.load`.
    vocabulary
        See `Backbone`.
    """

    name: str
    wanted: str
    vocabulary: int

    def files(self) -> Mapping[str, bytes]:
        """See `AnyBackbone`."""
        return self._files

    def tensors(self) -> Mapping[str, Array]:
        """See `AnyBackbone`; from the cache, or of the network if they are damaged there."""
        if stored := open_arrays(_KIND, self.identity):
            with suppress(ValueError):
                return {name: stored.read(name) for name in stored.names}
        return self.module().tensors()

    def module(self) -> Backbone:
        """See `AnyBackbone`."""
        return self._module

    @cached_property
    def _module(self) -> Backbone:
        return backbone_loading.load(self.name, self.wanted)

    @cached_property
    def _files(self) -> Mapping[str, bytes]:
        if stored := open_arrays(_KIND, self.identity):
            with suppress(ValueError):
                return files_in({name: stored.read(name) for name in stored.names if name.startswith(PREFIX)})
        return self.module().files()


def open_backbone(
    name: str, weights: str = "pretrained", progress: Progress | None = None, trust: bool = False
) -> AnyBackbone:
    """Open a backbone: without torch if it was opened before and its files are unchanged.

    Parameters
    ----------
    name, weights, progress, trust
        See `backbones.load`.

    Raises
    ------
    RecipeError, WeightsNotFound, ModelFileError, DependencyError
        See `backbones.load`.
    """
    if name.startswith(JOINT):
        return JointBackbone(
            tuple(open_backbone(one, weights, progress, trust) for one in member_names(name))
        )
    if weights != "random" and not trust and (known := _known(name, weights, progress)):
        return known
    backbone = backbone_loading.load(name, weights, progress, trust)
    if backbone.weights and backbone.facts.plain and not trust:
        _remember(backbone, name, weights)
    return backbone


def describe(name: str, weights: str = "pretrained", trust: bool = False) -> BackboneFacts:
    """Describe a backbone as `backbones.facts` does, without torch if it was opened before."""
    if name.startswith(JOINT):
        return joint_facts([describe(one, weights, trust) for one in member_names(name)])
    if weights != "random" and not trust and not source_of(name).published:
        known = _opened_before(name, weights, library_version(source_of(name).name))
        if known:
            return known.facts
    return backbone_loading.facts(name, trust)


def _known(name: str, weights: str, progress: Progress | None) -> FrozenBackbone | None:
    source = source_of(name)
    code = library_version(source.name)
    if not source.published:
        return _opened_before(name, weights, code)
    facts = source.published(name)
    found = find_weights(facts, weights, progress)
    known = FrozenBackbone(facts, found.weights, found.digest, code, name, weights, 0)
    return known if open_arrays(_KIND, known.identity) else None


def _opened_before(name: str, weights: str, code: str) -> FrozenBackbone | None:
    """The backbone of a source whose facts need its library, if the files that it was read from are the
    same."""
    stored = open_arrays(_ORIGIN, _origin_key(name, weights, code))
    if not stored:
        return None
    try:
        origin = msgspec.json.decode(stored.metadata["origin"], type=_Origin)
    except (KeyError, msgspec.MsgspecError):
        return None
    if any(_stamp(path) != stamp for path, stamp in origin.stamps.items()):
        return None
    described = (origin.facts, origin.weights, origin.weights_digest, origin.code)
    known = FrozenBackbone(*described, name, weights, origin.vocabulary)
    return known if open_arrays(_KIND, known.identity) else None


def _remember(backbone: Backbone, name: str, weights: str) -> None:
    published = source_of(name).published
    if not published and not backbone.origin:
        return
    if not open_arrays(_KIND, backbone.identity):
        store_arrays(_KIND, backbone.identity, backbone.tensors(), {})
    if published:
        return
    stamps = {path: stamp for path in backbone.origin if (stamp := _stamp(path))}
    if len(stamps) == len(backbone.origin):
        origin = _Origin(
            stamps,
            backbone.facts,
            backbone.weights,
            backbone.weights_digest,
            backbone.code,
            backbone.vocabulary,
        )
        key = _origin_key(name, weights, library_version(backbone.facts.source))
        store_arrays(_ORIGIN, key, {}, {"origin": msgspec.json.encode(origin).decode()})


class _Origin(msgspec.Struct, frozen=True):
    """What a backbone was read from, by the stamps of its files, and what was found there."""

    stamps: dict[str, str]
    facts: BackboneFacts
    weights: WeightsFacts | None
    weights_digest: str
    code: str
    vocabulary: int


# Kinds of files in the cache (`cache.networks`).
_KIND, _ORIGIN = "tensors", "origin"


def _origin_key(name: str, weights: str, code: str) -> str:
    """Identifies the question; the variables decide where files are searched."""
    places = [os.environ.get(variable, "") for variable in _VARIABLES]
    return repr((name, os.path.abspath(name), weights, code, places))


_VARIABLES = ("TRANSFER_WEIGHTS", "TRANSFER_HOME", "HF_HOME", "HF_HUB_CACHE", "TORCH_HOME", "XDG_CACHE_HOME")


def _stamp(path: str) -> str:
    """The stamp of an unchanged file; empty for one that is gone, or changed a moment ago."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return stamp_of(status) if is_settled(status) else ""
