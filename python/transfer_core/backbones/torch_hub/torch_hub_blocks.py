"""Split any network of images into named blocks, up to its classifier.

Blocks are the network's children, and the elements of children that are sequences, as far as the forward pass
runs them one after the other; a block's name is its path with `_` for dots (`layer1_0`). Modules without
weights other than scales and shifts belong to the block before. A network that can't be traced is one block.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from transfer_core.backbones.traced_chain import Link, chain_of
from transfer_core.backbones.tracing import replace_submodule

Blocks = dict[str, nn.Module]
Parts = tuple[Blocks, nn.Module]

AS_ONE = "network"


def arrange(network: nn.Module, image_size: int) -> Parts:
    """Arrange the network's own modules (no copies) as blocks, and the pooling after them, (N, W).

    Parameters
    ----------
    network
        In eval mode.
    image_size
        Side of the images in pixels.

    Raises
    ------
    ValueError
        If its output is not a tensor.
    """
    example = _example(image_size)
    classifier = classifier_of(network, example)
    parts = _followed(network, classifier, example) or _as_one(network, classifier)
    _keep_unused(nn.Sequential(*parts[0].values(), parts[1]), example[:1])
    return parts


@torch.no_grad()
def classifier_of(network: nn.Module, example: Tensor) -> nn.Linear | None:
    """The last linear layer that the output depends on entirely; None if there is none."""
    called: list[nn.Linear] = []
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    hooks = [layer.register_forward_hook(lambda layer, *_: called.append(layer)) for layer in linear]
    result = network(example)
    for hook in hooks:
        hook.remove()
    if not isinstance(result, Tensor):
        raise ValueError(f"it outputs {type(result).__name__}, expected a tensor")
    if not called:
        return None
    hook = called[-1].register_forward_hook(lambda _, __, given: torch.zeros_like(given))
    first, second = network(example)
    hook.remove()
    return called[-1] if torch.equal(first, second) else None


def _example(image_size: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, image_size, image_size, generator=generator)


# As blocks.


def _followed(network: nn.Module, classifier: nn.Linear | None, example: Tensor) -> Parts | None:
    """Split a traced network; None if it can't be traced, or the blocks compute something else."""
    try:
        links = chain_of(network, _call, example, lambda m: m is network or isinstance(m, nn.Sequential))
    except Exception:
        return None
    ends = [i for i, link in enumerate(links) if link.module is classifier]
    if len(ends) != bool(classifier):
        return None
    links = links[: ends[0]] if ends else links
    holding = [i for i, link in enumerate(links) if _size(link.module)]
    if not holding:
        return None
    blocks = _grouped(network, links[: holding[-1] + 1])
    pool = [*(link.module for link in links[holding[-1] + 1 :]), _Averaged()]
    parts = {name: _joined(group) for name, group in blocks.items()}, nn.Sequential(*pool)
    return parts if _agree(network, classifier, parts, example) else None


def _call(network: Any, images: Tensor) -> Tensor:
    result: Tensor = network(images)
    return result


def _grouped(network: nn.Module, links: Sequence[Link]) -> dict[str, list[Link]]:
    blocks: dict[str, list[Link]] = {}
    before: list[Link] = []
    for link in links:
        heavy = [path for path in link.paths if _is_heavy(network.get_submodule(path))]
        if heavy:
            blocks[heavy[0].replace(".", "_")] = [*before, link]
            before = []
        else:
            (blocks[list(blocks)[-1]] if blocks else before).append(link)
    return blocks


def _joined(links: Sequence[Link]) -> nn.Module:
    if len(links) == 1:
        return links[0].module
    names = [(link.paths[0] if link.paths else f"step_{i}").replace(".", "_") for i, link in enumerate(links)]
    return nn.Sequential(OrderedDict(zip(names, (link.module for link in links), strict=True)))


def _is_heavy(module: nn.Module) -> bool:
    return any(parameter.dim() > 1 for parameter in module.parameters())


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@torch.no_grad()
def _agree(network: nn.Module, classifier: nn.Linear | None, parts: Parts, example: Tensor) -> bool:
    """Whether the blocks compute the input of the network's classifier, or its output without one."""
    given: list[Tensor] = []
    hook = (
        classifier.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        if classifier
        else None
    )
    result = network(example)
    if hook:
        hook.remove()
    x = example
    for block in parts[0].values():
        x = block(x)
    expected = _Averaged()(given[-1] if given else result)
    found = parts[1](x)
    return found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-4, atol=1e-5)


class _Averaged(nn.Module):
    """Mean over the places of a map or over tokens, for networks that don't pool."""

    def forward(self, x: Tensor) -> Tensor:  # (N, W), (N, W, H, W) or (N, T, W) -> (N, W)
        if x.dim() == 4:
            return x.mean((2, 3))
        return x.mean(1) if x.dim() == 3 else x


# As one.


def _as_one(network: nn.Module, classifier: nn.Linear | None) -> Parts:
    """The network as one block; its classifier is replaced by a module that ends the forward pass."""
    for path, module in list(network.named_modules()):
        if module is classifier:
            replace_submodule(network, path, _Exit())
    return {AS_ONE: _UntilExit(network)}, _Averaged()


class _Reached(BaseException):
    """Carries the classifier's input out of the network; not caught by handlers of `Exception`."""


class _Exit(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise _Reached(x)


class _UntilExit(nn.Module):
    """A network up to its exit, or to its output if it has none."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:  # (N, 3, H, W) -> the classifier's input
        try:
            result: Tensor = self.network(images)
        except _Reached as reached:
            result = reached.args[0]
        return result


def _keep_unused(whole: nn.Module, example: Tensor) -> None:
    """Convert parameters that the embedding does not depend on to buffers, as they have no gradient."""
    parameters = list(whole.requires_grad_(True).parameters())
    with torch.enable_grad():
        gradients = torch.autograd.grad(whole(example).sum(), parameters, allow_unused=True)
    unused = {id(p) for p, gradient in zip(parameters, gradients, strict=True) if gradient is None}
    for module in whole.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) in unused:
                delattr(module, name)
                module.register_buffer(name, parameter.data)
