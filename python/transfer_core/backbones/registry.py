"""Registry of the sources of backbones.

A source registers itself in a module `*_source` of this room, which needs neither torch nor an optional
library:

    register(Source(name="timm", prefixes=("timm",), loading="transfer_core.backbones.timm.timm_loading"))

These modules are found by their names and imported at the first lookup. A source from elsewhere is available
once its module, which calls `register`, was imported.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Protocol, cast

from transfer_core.backbones.catalogue_entry import Entry
from transfer_core.backbones.facts import BackboneFacts, WeightsFacts
from transfer_core.runtime.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from transfer_core.backbones.backbone import Backbone

_ROOM = "transfer_core.backbones"

# The source of names without a prefix that no other source claims.
DEFAULT_SOURCE = "torchvision"


class Loading(Protocol):
    """The functions of a source's loading module.

    `trust` allows running code that comes with a backbone; without it, such a backbone is refused.
    """

    def facts(self, name: str, trust: bool) -> BackboneFacts:
        """Describe the backbone `name` without reading its weights.

        Raises
        ------
        RecipeError
            At `backbone` for an unknown name, with the nearest; at `trust`.
        DependencyError
            If the source's library is missing.
        WeightsNotFound
            If `name` is a file, a directory or a repository that is not on this machine and can't be fetched.
        """

    def load(self, facts: BackboneFacts, weights: str, trust: bool, progress: Progress) -> Backbone:
        """Load the backbone with trained weights, in eval mode.

        Parameters
        ----------
        facts
            The result of `facts`.
        weights
            `pretrained`, `random`, the name of published weights, or the path of a file.
        trust
            Whether code that comes with the backbone may run.
        progress
            Receives the progress of downloads, and warnings.

        Raises
        ------
        RecipeError, WeightsNotFound, ModelFileError, DependencyError
            See `backbones.load`.
        """

    def restore(
        self,
        facts: BackboneFacts,
        tensors: Mapping[str, Tensor],
        weights: WeightsFacts | None,
        digest: str,
        trust: bool,
    ) -> Backbone:
        """Restore the backbone that `Backbone.state_dict()` was taken from, in eval mode.

        The source's files are not read: whatever the network needs beside its tensors is in its assets.

        Parameters
        ----------
        facts
            As they were when it was saved.
        tensors
            The state dict.
        weights, digest
            The `weights` and `weights_digest` of the saved backbone.
        trust
            Whether code may run that is not in the saved model.

        Raises
        ------
        ModelFileError
            If a tensor is missing or has another shape.
        """


def _never(_: object) -> bool:
    return False


@dataclass(frozen=True)
class Source:
    """A library, a hub or a file format that backbones come from.

    Parameters
    ----------
    name
        `BackboneFacts.source` of its backbones.
    loading
        The module that implements `Loading`; imported when a backbone of this source is first asked for.
    prefixes
        How names begin, before `:` or `/`: `timm/resnet18`.
    claims
        Whether a name without a known prefix belongs to this source: `model.onnx`.
    packages
        Distributions of which one has the code that its blocks run: a part of the identity of embeddings.
    published
        Facts by name from a table, for a source that has one: neither torch nor `loading` is imported, and
        saved models hold only the name. Raises `RecipeError` for an unknown name.
    entries
        Its entries of the catalogue.
    is_local
        Whether an entry can be used without the network: the library and the weights are on this machine.
    is_fitted
        Whether its backbones are fitted on the inputs of the training examples instead of having pretrained
        weights; `loading` then has a function `fit` (see scikit-learn's).
    fixed_networks
        Whether a name determines the layers, so that a saved file can't claim a larger network.
    """

    name: str
    loading: str
    prefixes: tuple[str, ...] = ()
    claims: Callable[[str], bool] = _never
    packages: tuple[str, ...] = ()
    published: Callable[[str], BackboneFacts] | None = None
    entries: Callable[[], Iterable[Entry]] = tuple
    is_local: Callable[[Entry], bool] = _never
    is_fitted: bool = False
    fixed_networks: bool = False

    def module(self) -> Loading:
        """Import the loading module; raises `DependencyError` if the source's library is missing."""
        return cast(Loading, import_module(self.loading))


_registered: dict[str, Source] = {}


def register(source: Source) -> None:
    """Add a source.

    Raises
    ------
    ValueError
        If its name or one of its prefixes is taken.
    """
    taken = {prefix: other.name for other in _registered.values() for prefix in other.prefixes}
    clashes = [f'the prefix "{prefix}" of {taken[prefix]}' for prefix in source.prefixes if prefix in taken]
    if source.name in _registered:
        clashes.append(f'the name "{source.name}"')
    if clashes:
        raise ValueError(f"can't register the source {source.name}: {' and '.join(clashes)} is taken")
    _registered[source.name] = source


def sources() -> Mapping[str, Source]:
    """All sources by name."""
    _import_sources()
    return _registered


def source_of(name: str) -> Source:
    """Find the source that the backbone `name` belongs to."""
    prefix = _prefix(name)
    everything = sources()
    for source in everything.values():
        if prefix in source.prefixes:
            return source
    return next((s for s in everything.values() if s.claims(name)), everything[DEFAULT_SOURCE])


def is_fitted(facts: BackboneFacts) -> bool:
    """Whether a backbone is fitted on the inputs of the training examples."""
    return sources()[facts.source].is_fitted


def bare_name(name: str) -> str:
    """The name without its source's prefix: `timm/resnet18` -> `resnet18`."""
    prefix = _prefix(name)
    return name[len(prefix) + 1 :] if prefix in source_of(name).prefixes else name


@cache
def library_version(source: str) -> str:
    """Name and version of the library that runs the blocks, `timm 1.0.22`; empty if there is none.

    Does not import it.
    """
    known = sources().get(source)
    for package in known.packages if known else ():
        with suppress(PackageNotFoundError):
            return f"{package} {version(package)}"
    return ""


def _prefix(name: str) -> str:
    """The part of a name before the first `:` or `/`; empty if it has neither."""
    ends = [name.index(separator) for separator in ":/" if separator in name]
    return name[: min(ends)] if ends else ""


@cache
def _import_sources() -> None:
    """Import the `*_source` modules of this room, which register themselves."""
    for module in pkgutil.walk_packages(import_module(_ROOM).__path__, f"{_ROOM}."):
        if module.name.endswith("_source"):
            import_module(module.name)
