"""Restore backbone and head from the header and tensors of a saved model.

The file is untrusted: every value is validated before use.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from transfer_core import backbones
from transfer_core.backbones import BackboneFacts, Preprocessing
from transfer_core.backbones.frozen import AnyBackbone, SavedBackbone, open_backbone
from transfer_core.backbones.joint.joint_backbone import JointBackbone
from transfer_core.backbones.registry import library_version, source_of, sources
from transfer_core.backbones.weights import is_path, sha256
from transfer_core.features.engines.reference import has_graph
from transfer_core.heads.gallery import novelty_of
from transfer_core.heads.novelty import Novelty
from transfer_core.model.weights_identity import checked_digest
from transfer_core.model_file.format import BACKBONE_PREFIX, NOVELTY_PREFIX, BackboneSource, ModelHeader
from transfer_core.model_file.header import Member
from transfer_core.model_file.strict_json import convert
from transfer_core.runtime.errors import ModelFileError, RecipeError, TransferError
from transfer_core.runtime.memory_errors import lack_of_memory
from transfer_core.runtime.progress import Progress
from transfer_core.tasks import State, read_state
from transfer_core.tasks.criteria import Array

if TYPE_CHECKING:
    from torch import Tensor, nn

    from transfer_core.backbones import Backbone

# Slightly above the largest input size of torchvision's networks, in pixels.
_USUAL_CROP = 640

# Fields whose errors the caller can fix.
_OF_THE_CALLER = {"trust", "method", "block", "input"}

T = TypeVar("T")


class Misfit(ValueError):
    """Something in a saved model can't be used; the message names the field and the value."""


@contextmanager
def use_of(path: Path) -> Iterator[None]:
    """Convert errors caused by the content of the saved model at `path` to `ModelFileError`.

    Errors for missing weights or packages, untrusted code and lack of memory pass unchanged.
    """
    try:
        yield
    except Misfit as error:
        raise ModelFileError(f"{path} can't be used: {error}") from error
    except RecipeError as error:
        if {problem.path for problem in error.problems} <= _OF_THE_CALLER:
            raise
        raise ModelFileError(f"{path} can't be used: {error}") from error
    except TransferError:
        raise
    # With untrusted numbers, libraries raise nearly any exception.
    except Exception as error:
        if lack_of_memory(error):
            raise
        lines = str(error).splitlines() or [""]
        raise ModelFileError(f"{path} can't be used: {type(error).__name__}: {lines[0]}") from error


def restore_state(header: ModelHeader) -> State:
    """Restore the task state of a saved model.

    Raises
    ------
    Misfit
        Unknown task, or values of a wrong type, out of bounds or in contradiction.
    """
    try:
        return read_state(header.task, header.labels, header.state)
    except ValueError as error:
        raise Misfit(str(error)) from None


def restore_backbone(
    header: ModelHeader, arrays: Mapping[str, Array], progress: Progress, trust: bool
) -> AnyBackbone:
    """Restore the backbone of a saved model, in eval mode.

    Parameters
    ----------
    header, arrays
        Content of the file.
    progress
        Receives events while weights are read.
    trust
        Whether code that the header names may run.

    Raises
    ------
    Misfit
        It does not fit the header, or has numbers that are not finite.
    ModelFileError
        Its tensors are not those of the network, or the weights that it names are others now.
    WeightsNotFound, RecipeError, DependencyError
        See `backbones.load`.
    """
    if header.backbone.inside:
        backbone = _inside(header, under(BACKBONE_PREFIX, arrays), trust)
        _check_equal("backbone.name", header.backbone.name, backbone.facts.name)
    else:
        backbone = _with_external_weights(header, progress, trust)
    facts = backbone.facts
    _check_equal("modality", header.modality, facts.modality)
    _check_equal("embedding_width", header.embedding_width, facts.embedding_width)
    return backbone


def restore_novelty(header: ModelHeader, arrays: Mapping[str, Array]) -> Novelty | None:
    """Restore the novelty detector of a saved model, if it has one.

    Raises
    ------
    Misfit
        It does not fit the header.
    """
    try:
        return novelty_of(under(NOVELTY_PREFIX, arrays), header.embedding_width, len(header.labels))
    except ValueError as error:
        raise Misfit(str(error)) from None


def _inside(header: ModelHeader, arrays: Mapping[str, Array], trust: bool) -> AnyBackbone:
    source = header.backbone
    if source.members:
        members = enumerate(source.members)
        return JointBackbone(tuple(_member(one, under(f"{n}.", arrays), trust) for n, one in members))
    return _member(
        Member(
            name=source.name,
            weights=source.weights,
            weights_digest=source.weights_digest,
            facts=source.facts,
            preprocessing=header.preprocessing,
        ),
        arrays,
        trust,
    )


def _member(source: Member, arrays: Mapping[str, Array], trust: bool) -> AnyBackbone:
    facts = _facts(source)
    published = {weights.name: weights for weights in facts.weights}
    stored = source.preprocessing
    # The stored preprocessing: published metadata may change, a saved model must not.
    weights = replace(
        published.get(source.weights, facts.default_weights),
        name=source.weights,
        preprocessing=_converted(stored, Preprocessing, "preprocessing") if stored else None,
    )
    if facts.modality == "image" and not weights.preprocessing:
        raise Misfit("preprocessing: is missing, as a backbone for images needs it")
    if weights.preprocessing and weights.preprocessing.resize_size < weights.preprocessing.crop_size:
        raise Misfit(
            f"preprocessing.resize_size: expected at least the crop_size, {weights.preprocessing.crop_size} "
            f"(got {weights.preprocessing.resize_size})"
        )
    saved = SavedBackbone(facts, weights, source.weights_digest, library_version(facts.source), arrays)
    known = dataclasses.replace(saved, weights_digest=checked_digest(saved))
    if facts.plain and not trust and has_graph(known):
        return known  # these tensors and this preprocessing were checked when the graph was made
    return _network(saved, trust)


def _network(saved: SavedBackbone, trust: bool) -> Backbone:
    """Restore the network of a saved backbone, and check its tensors and what an image takes."""
    import torch

    from transfer_core.backbones.compute_limits import ComputeLimitExceeded, check_compute

    facts = saved.facts
    tensors = {name: torch.from_numpy(array) for name, array in saved.arrays.items()}
    backbone = backbones.restore(facts, tensors, saved.weights, saved.weights_digest, trust)
    backbone.weights_digest = checked_digest(backbone)
    check_numbers(backbone, BACKBONE_PREFIX)
    if facts.modality == "image" and _may_be_large(facts, backbone.preprocessing):
        try:
            check_compute(backbone)
        except ComputeLimitExceeded as error:
            size = backbone.preprocessing.crop_size
            raise Misfit(f"preprocessing.crop_size: for images of {size} pixels {error}") from None
    return backbone


def _may_be_large(facts: BackboneFacts, preprocessing: Preprocessing) -> bool:
    """Whether one image could take much memory or time.

    True if the file describes the layers, or a published network takes larger images than usual.
    """
    return not sources()[facts.source].fixed_networks or preprocessing.crop_size > _USUAL_CROP


def facts_of(header: ModelHeader) -> BackboneFacts:
    """The facts of the backbone of a saved model; raises `Misfit` if they are missing or invalid."""
    return _facts(header.backbone)


def _facts(source: BackboneSource | Member) -> BackboneFacts:
    if source.facts is None:
        # By name only: paths in an untrusted header are not opened.
        if not source_of(source.name).published:
            raise Misfit(f"backbone.facts: is missing, as {source.name} needs it")
        return backbones.facts(source.name)
    facts = _converted(source.facts, BackboneFacts, "backbone.facts")
    _check_equal("backbone.name", source.name, facts.name)
    _check_equal("backbone.facts.source", facts.source, source_of(facts.name).name)
    return facts


def _with_external_weights(header: ModelHeader, progress: Progress, trust: bool) -> AnyBackbone:
    source = header.backbone
    # The digest first: the named file is parsed only if it is the one of the training.
    is_other = is_path(source.weights) and _is_other(Path(source.weights), source.weights_digest)
    if not is_other:
        found = open_backbone(source.name, source.weights, progress, trust)
        is_other = found.weights_digest != source.weights_digest
    if is_other:
        raise ModelFileError(
            f"the weights {source.weights} of {source.name} are not those that this model was trained "
            "with; bring these back, or use a copy of the model that has its backbone"
        )
    return found


def _is_other(path: Path, digest: str) -> bool:
    """Whether the file exists with another digest."""
    path = path.expanduser()
    return path.is_file() and sha256(path) != digest


def _check_equal(field: str, found: object, expected: object) -> None:
    if found != expected:
        raise Misfit(f"{field}: expected {expected} (got {found})")


def check_numbers(module: nn.Module, prefix: str) -> None:
    """Check that tensors are finite; constants (masks, limits) may hold infinity."""
    parameters = {name for name, _ in module.named_parameters()}
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point() or _is_finite(tensor):
            continue
        is_constant = name not in parameters and not name.rpartition(".")[2].startswith("running_")
        if tensor.isnan().any() or not (is_constant and prefix == BACKBONE_PREFIX):
            number = "NaN" if tensor.isnan().any() else "infinity"
            raise Misfit(f"{prefix}{name}: expected finite numbers (got {number})")


def _is_finite(tensor: Tensor) -> bool:
    # A sum is fast and propagates NaN and infinity; it may overflow, hence the second test.
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def _converted(value: object, expected: type[T], field: str) -> T:
    try:
        return convert(value, expected, field)
    except ValueError as error:
        raise Misfit(str(error)) from None


def under(prefix: str, tensors: Mapping[str, T]) -> dict[str, T]:
    """The tensors whose names begin with `prefix`, by the rest of the name."""
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
