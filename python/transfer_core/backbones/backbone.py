"""A pretrained network as a sequence of named blocks, and the three ways to get one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from transfer_core.backbones import torchvision
from transfer_core.backbones.checkpoint import fit, read_tensors
from transfer_core.backbones.facts import BackboneFacts, Preprocessing, WeightsFacts, facts
from transfer_core.backbones.weights import find_weights
from transfer_core.model_file import tensors_digest
from transfer_core.progress import Progress


class Backbone(nn.Module):
    """Photos in, embeddings out.

    `blocks` is a plain `nn.Sequential` whose children bear the names in `facts.blocks`: cutting it anywhere
    (`blocks[:k]`, `blocks[k:]`) gives two networks that do the same in two steps. All parameters are in it.

    Parameters
    ----------
    weights
        What was loaded; None if the weights are random.
    weights_digest
        sha256 of the weights' file; of random weights, of the tensors.
    """

    def __init__(
        self,
        facts: BackboneFacts,
        blocks: Mapping[str, nn.Module],
        pool: nn.Module,
        weights: WeightsFacts | None = None,
        weights_digest: str = "",
    ) -> None:
        super().__init__()
        self.facts = facts
        self.blocks = nn.Sequential(OrderedDict(blocks))
        self.pool = pool
        self.weights = weights
        self.weights_digest = weights_digest

    @property
    def preprocessing(self) -> Preprocessing:
        """What photos must go through; random weights take that of the default weights."""
        return (self.weights or self.facts.default_weights).preprocessing

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, embedding_width): what the published classifier's last layer saw."""
        embeddings: Tensor = self.pool(self.blocks(images))
        return embeddings


def load(name: str, weights: str = "pretrained", progress: Progress | None = None) -> Backbone:
    """The backbone `name` with trained weights, in eval mode.

    Parameters
    ----------
    weights
        `pretrained`, the name of published weights (`IMAGENET1K_V1`), the path of a `.pth` or
        `.safetensors` file, or `random`.

    Raises
    ------
    RecipeError
        For an unknown name of a backbone or of weights.
    WeightsNotFound
        With the places that were looked at.
    ModelFileError
        For a file that is damaged, altered, more than tensors, or of another architecture.
    """
    known = facts(name)
    if weights == "random":
        return build(name)
    progress = progress or Progress()
    found = find_weights(known, weights, progress)
    if found.weights.noncommercial:
        terms = f"{found.weights.license}: no commercial use ({found.weights.license_url})"
        progress.warning(f"{name}'s weights {found.weights.name} are licensed {terms}")
    return _filled(known, read_tensors(found.path), found.weights, found.digest, str(found.path))


def restore(name: str, tensors: Mapping[str, Tensor], weights: WeightsFacts | None, digest: str) -> Backbone:
    """The backbone that `Backbone.state_dict()` was taken from, in eval mode.

    Raises
    ------
    ModelFileError
        If a tensor is missing or has another shape.
    """
    return _filled(facts(name), tensors, weights, digest, "the saved model")


def build(name: str, seed: int = 0) -> Backbone:
    """The backbone `name` with random weights (the same for the same seed), in eval mode: for tests."""
    known = facts(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _create(known, known.default_weights)
    backbone = Backbone(known, *torchvision.arrange(model, known.family))
    backbone.weights_digest = tensors_digest(backbone.state_dict())
    return backbone.eval()


def _create(known: BackboneFacts, weights: WeightsFacts) -> nn.Module:
    return torchvision.create(known.name, known.family, weights.preprocessing.crop_size)


def _filled(
    known: BackboneFacts,
    tensors: Mapping[str, Tensor],
    weights: WeightsFacts | None,
    digest: str,
    origin: str,
) -> Backbone:
    """A backbone whose parameters are these very tensors."""
    with OnlyShapes():
        model = _create(known, weights or known.default_weights)
    blocks, pool = torchvision.arrange(model, known.family)
    backbone = Backbone(known, blocks, pool, weights, digest)
    fitting = fit(backbone, _names_in(model, backbone), tensors, f"{origin} does not fit {known.name}")
    backbone.load_state_dict(fitting, assign=True)
    return backbone.eval()


def _names_in(model: nn.Module, backbone: Backbone) -> dict[str, str]:
    """The publisher's name of every tensor of the backbone, and the backbone's own name of it."""
    own = {id(tensor): name for name, tensor in backbone.state_dict(keep_vars=True).items()}
    published = model.state_dict(keep_vars=True).items()
    return {name: own[id(tensor)] for name, tensor in published if id(tensor) in own}


class OnlyShapes(TorchFunctionMode):
    """Modules made within allocate no memory and draw no random numbers.

    `torch.device("meta")` would do it more slowly, and RegNet computes its widths with tensors that it would
    leave without values.
    """

    _ALLOCATE = (torch.empty, torch.zeros, torch.ones)
    # On tensors without memory torch would ask its compiler how to draw, which takes a second to import.
    _DRAW = (Tensor.normal_, Tensor.uniform_)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func in self._ALLOCATE:
            return func(*args, **{**options, "device": "meta"})
        if func in self._DRAW:
            return args[0]
        if getattr(func, "__module__", None) == "torch.nn.init":
            return options["tensor"] if "tensor" in options else args[0]
        return func(*args, **options)
