"""A pretrained network as a sequence of named blocks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from transfer_core.backbones.assets import Assets
from transfer_core.backbones.facts import BackboneFacts, Preprocessing, WeightsFacts, identity_of
from transfer_core.backbones.registry import library_version
from transfer_core.backbones.representations import EXAMPLES, Representation
from transfer_core.backbones.weights_reader import fit
from transfer_core.runtime.errors import ModelFileError, Problem, RecipeError


class Backbone(nn.Module):
    """A pretrained network that maps inputs to embeddings.

    `blocks` is a plain `nn.Sequential` whose children are named as in `facts.blocks`. It can be cut anywhere
    (`blocks[:k]`, `blocks[k:]`) into two networks that compute the same in two steps. All parameters are in
    it.

    Parameters
    ----------
    facts
        Its description.
    blocks
        Modules by name, in the order in which they run.
    pool
        Output of the last block -> embeddings (N, embedding_width); without parameters.
    weights
        The facts of the loaded weights; None if they are random.
    weights_digest
        sha256 of the file of weights, or of the tensors if they are random.
    assets
        Other files that it needs (a tokenizer, a configuration), by name; saved with it.
    code
        Identifies the code that the blocks run; the version of the source's library by default.
    """

    def __init__(
        self,
        facts: BackboneFacts,
        blocks: Mapping[str, nn.Module],
        pool: nn.Module,
        weights: WeightsFacts | None = None,
        weights_digest: str = "",
        assets: Mapping[str, bytes] | None = None,
        code: str = "",
    ) -> None:
        super().__init__()
        self.facts = facts
        self.blocks = nn.Sequential(OrderedDict(blocks))
        self.pool = pool
        self.weights = weights
        self.weights_digest = weights_digest
        self.assets = Assets(assets or {})
        self.code = code or library_version(facts.source)
        # Paths of the files that it was read from; empty if these alone don't determine it.
        self.origin: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """Identifier of everything but the input that embeddings depend on: blocks, weights, code."""
        return identity_of(self.facts, len(self.blocks), self.weights_digest, self.code)

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessing of images; with random weights, that of the default weights."""
        preprocessing = (self.weights or self.facts.default_weights).preprocessing
        assert preprocessing
        return preprocessing

    @property
    def gives(self) -> frozenset[Representation]:
        """The representations that the backbone provides: `pooled` and what its facts declare."""
        return self.facts.gives

    def files(self) -> Mapping[str, bytes]:
        """Other files that it needs, by name."""
        return self.assets.files()

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """All tensors by name, as a saved model contains them; on the CPU they are not copied."""
        return {name: tensor.detach().cpu().numpy() for name, tensor in self.state_dict().items()}

    @property
    def vocabulary(self) -> int:
        """Tokens that it has embeddings for; 0 unless inputs are texts."""
        return int(self.blocks[0].words.num_embeddings) if self.facts.modality == "text" else 0  # type: ignore[union-attr, arg-type]

    def module(self) -> Backbone:
        """The backbone itself (see `frozen.AnyBackbone`)."""
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Pooled embeddings: the input of the published classifier's last layer.

        Parameters
        ----------
        images
            (N, 3, H, W) float for images, (N, L, 2) int32 for texts.

        Returns
        -------
        Tensor
            (N, embedding_width).
        """
        embeddings: Tensor = self.pool(self.blocks(images))
        return embeddings

    def feature_maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of images of any size, one per entry of `facts.feature_maps`.

        Parameters
        ----------
        images
            (N, 3, H, W) float.

        Returns
        -------
        tuple of Tensor
            (N, channels, ⌈H / stride⌉, ⌈W / stride⌉) each, from the smallest stride to the largest; one place
            less where a network does not pad.

        Raises
        ------
        RecipeError
            At `backbone`, if it has no feature maps.
        """
        maps = self.facts.feature_maps
        if not maps:
            raise _lacks(self.facts, "feature_maps")
        outputs = self._outputs_of({declared.block for declared in maps}, images)
        return tuple(declared.of(outputs[declared.block]) for declared in maps)

    def token_states(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """One vector per token of a text, or per patch of an image with its class token first.

        Parameters
        ----------
        inputs
            (N, L, 2) int32 for texts, (N, 3, H, W) float for images.

        Returns
        -------
        states : Tensor
            (N, T, `facts.token_states.width`), zeros where the mask is False.
        mask : Tensor
            (N, T) bool; False for padding.

        Raises
        ------
        RecipeError
            At `backbone`, if it has no tokens.
        """
        declared = self.facts.token_states
        if declared is None:
            raise _lacks(self.facts, "tokens")
        states = self._outputs_of({declared.block}, inputs)[declared.block]
        return states, (states != 0).any(dim=2)  # a token's vector is never zero, padding always

    def example_pass(self) -> None:
        """Run every block once on a valid input."""
        if self.facts.modality == "text":
            self.blocks(torch.zeros(1, 4, 2, dtype=torch.int32))
        else:
            size = self.preprocessing.crop_size
            self.blocks(torch.zeros(1, 3, size, size))

    def _outputs_of(self, names: set[str], x: Tensor) -> dict[str, Tensor]:
        """The outputs of these blocks; what follows the last of them is not run."""
        found: dict[str, Tensor] = {}
        for name, block in self.blocks.named_children():
            x = block(x)
            if name in names:
                found[name] = x
                if len(found) == len(names):
                    return found
        missing = ", ".join(sorted(names - found.keys()))
        raise ModelFileError(f"{self.facts.name} declares outputs of the blocks {missing}, which it lacks")


def _lacks(facts: BackboneFacts, needed: Representation) -> RecipeError:
    others = ", ".join(EXAMPLES[needed])
    message = f"{facts.name} has no {needed}. Fix: use a backbone that has them, such as {others}"
    return RecipeError([Problem("backbone", message)])


def filled(backbone: Backbone, published: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> Backbone:
    """Assign tensors to a backbone that was made within `OnlyShapes`, and set it to eval mode.

    Parameters
    ----------
    backbone
        Made of modules of `published`; its parameters become `tensors`, without a copy.
    published
        The publisher's network.
    tensors
        By the publisher's names or the backbone's own.
    origin
        Name of the tensors in the error: `x.pth`.

    Raises
    ------
    ModelFileError
        If a tensor is missing or has another shape.
    """
    complaint = f"{origin} does not fit {backbone.facts.name}"
    fitting = fit(backbone, _names_in(published, backbone), tensors, complaint)
    backbone.load_state_dict(fitting, assign=True)
    return backbone.eval()


def _names_in(model: nn.Module, backbone: Backbone) -> dict[str, str]:
    """Map the publisher's name of each tensor of the backbone to the backbone's own name."""
    own = {id(tensor): name for name, tensor in backbone.state_dict(keep_vars=True).items()}
    published = model.state_dict(keep_vars=True).items()
    return {name: own[id(tensor)] for name, tensor in published if id(tensor) in own}


class OnlyShapes(TorchFunctionMode):
    """Context in which new modules allocate no memory and draw no random numbers.

    `torch.device("meta")` is slower, and would leave the tensors without values that RegNet computes its
    widths with.
    """

    _ALLOCATE: tuple[Callable[..., Any], ...] = (torch.empty, torch.zeros, torch.ones)
    # Drawing into tensors without memory makes torch import its compiler, which takes a second.
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
