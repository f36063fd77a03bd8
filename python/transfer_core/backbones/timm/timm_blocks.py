"""Split timm's models into named blocks, by one rule for all families.

Blocks are the elements of timm's own lists of modules, as far as the forward pass runs them one after the
other; a block's name is timm's path with `_` for dots (`blocks_2_0`, `layers_1_blocks_3`). Modules before the
first of them are the `stem`; modules after the last are named after their first layer (`norm`, `conv_head`).
Modules without parameters belong to the block before; after the last block they are the pooling.

A module that contains a list is entered if the list has most of its parameters: so the blocks of a stage are
found, and a block is not split.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise, takewhile
from typing import Any

import torch
from torch import Tensor, nn

from transfer_core.backbones.traced_chain import Link, chain_of

Blocks = dict[str, nn.Module]
Parts = tuple[Blocks, nn.Module]

# Lists of so many plain layers are lists of blocks, if there are no others.
_MANY_LAYERS = 9
# timm's names of the modules before the first block.
_STEMS = ("stem", "patch_embed", "embeds")


def arrange(model: nn.Module, image_size: int) -> Parts:
    """Arrange the model's own modules (no copies) in the order in which they run, without the classifier.

    Parameters
    ----------
    model
        In eval mode, with its classifier removed.
    image_size
        Side of the images in pixels.

    Raises
    ------
    Exception
        If torch.fx can't trace the model: use `as_one_block`.
    """
    example = torch.zeros(2, 3, image_size, image_size, device=next(model.parameters()).device)
    lists = _lists_of_blocks(model)
    holders = {module for module in model.modules() if lists.intersection(module.children())}
    while True:
        links = chain_of(model, embed, example, (lists | holders).__contains__)
        taken_apart = {m for m in holders - lists - {model} if not _is_chain(m, model, lists, links)}
        if not taken_apart:
            return _blocks(model, lists, links)
        holders -= taken_apart


def as_one_block(model: nn.Module) -> Parts:
    """The model as one block, which is frozen or trained as a whole."""
    return {"network": _Embeds(model)}, nn.Identity()


def embed(model: Any, images: Tensor) -> Tensor:
    """The input of the model's classifier, (N, W); if it has none, the mean of its map or tokens."""
    embeddings: Tensor = model.forward_head(model.forward_features(images), pre_logits=True)
    if embeddings.dim() == 4:  # a map, without pooling
        channels_last = getattr(model, "output_fmt", "NCHW") == "NHWC"
        return embeddings.mean((1, 2) if channels_last else (2, 3))
    return embeddings.mean(1) if embeddings.dim() == 3 else embeddings


class _Embeds(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:  # (N, 3, H, W) -> (N, W)
        return embed(self.model, images)


# Lists of blocks.


def _lists_of_blocks(model: nn.Module) -> set[nn.Module]:
    """The lists of modules most of whose elements are not single layers."""
    lists = [m for m in model.modules() if isinstance(m, nn.Sequential | nn.ModuleList)]
    found = {m for m in [*lists, *filter(_is_numbered, model.children())] if _holds_blocks(m)}
    return found or {m for m in lists if len(m) >= _MANY_LAYERS}


def _holds_blocks(module: nn.Module) -> bool:
    elements = [child for child in module.children() if _size(child)]
    return 2 * sum(_is_made_of_others(element) for element in elements) > len(elements)


def _is_made_of_others(module: nn.Module) -> bool:
    is_layer = type(module).__module__.startswith("torch.") and not isinstance(module, nn.Sequential)
    return not is_layer and any(_size(child) for child in module.children())


def _is_numbered(module: nn.Module) -> bool:
    """Whether the children are `b1`, `b2` …, all of one class."""
    children = dict(module.named_children())
    kinds = {(type(child), name.rstrip("0123456789")) for name, child in children.items()}
    return len(kinds) == 1 and all(name[-1].isdigit() for name in children)


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _is_chain(holder: nn.Module, model: nn.Module, lists: set[nn.Module], links: Sequence[Link]) -> bool:
    """Whether two thirds of a module's parameters are in lists whose elements are separate links, or the
    module was not entered."""
    path = next(path for path, module in model.named_modules() if module is holder)
    if not _span(path, links, within=True):
        return True
    chained = 0
    for name, child in holder.named_children():
        if child in lists:
            spans = [_span(f"{path}.{name}.{element}", links) for element, _ in child.named_children()]
            spans = [span for span in spans if span]
            if all(before[-1] < after[0] for before, after in pairwise(spans)):
                chained += _size(child)
    return 3 * chained >= 2 * _size(holder)


def _span(path: str, links: Sequence[Link], within: bool = False) -> list[int]:
    """The indices of the links that call a module or its submodules; `within`: only its submodules."""
    end = "" if within else "."
    return [i for i, link in enumerate(links) if any(f"{p}{end}".startswith(f"{path}.") for p in link.paths)]


# From links to blocks.


def _blocks(model: nn.Module, lists: set[nn.Module], links: Sequence[Link]) -> Parts:
    listed = [i for i, link in enumerate(links) if _is_listed(model, lists, link)]
    holding = [i for i, link in enumerate(links) if _size(link.module)]
    first, last = (listed[0], listed[-1]) if listed else (holding[0], holding[-1])
    end = holding[-1] + 1
    stem, body, tail = (
        links[: first if holding[0] < first else 0],
        links[first : last + 1],
        links[last + 1 : end],
    )
    named = [("stem", stem)] if stem else []
    named += _one_by_one(model, body if stem else links[: last + 1])
    named += [("pre_logits" if _name(model, tail) == "head" else _name(model, tail), tail)] if tail else []
    if len(named) == 1:
        return as_one_block(model)
    assert len({name for name, _ in named}) == len(named), (
        f"two blocks of a name: {[name for name, _ in named]}"
    )
    return {name: _joined(group) for name, group in named}, _joined(links[end:])


def _one_by_one(model: nn.Module, links: Sequence[Link]) -> list[tuple[str, list[Link]]]:
    """A block per link. Norms and modules without parameters belong to the block before, links without a
    module to the block after."""
    blocks: list[tuple[str, list[Link]]] = []
    nameless: list[Link] = []
    for link in links:
        name = _name(model, [link])
        weighs = any(parameter.dim() > 1 for parameter in link.module.parameters())
        if blocks and not weighs:
            blocks[-1][1].append(link)
        elif not name:
            nameless.append(link)
        else:
            blocks.append((name, [*nameless, link]))
            nameless = []
    blocks[-1][1].extend(nameless)
    return blocks


def _is_listed(model: nn.Module, lists: set[nn.Module], link: Link) -> bool:
    """Whether a link calls an element of a list of blocks."""
    path = next(iter(_holding(model, link)), "")
    parts = path.split(".")
    above = (".".join(parts[:depth]) for depth in range(1, len(parts)))
    return parts[0] not in _STEMS and any(model.get_submodule(p) in lists for p in above)


def _holding(model: nn.Module, link: Link) -> list[str]:
    """The paths of the modules with parameters that a link calls."""
    return [path for path in link.paths if _size(model.get_submodule(path))]


def _name(model: nn.Module, links: Sequence[Link]) -> str:
    """The common path of the modules with parameters, or the path of the first."""
    paths = [path.split(".") for link in links for path in _holding(model, link)]
    same = [parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))]
    return "_".join(same or paths[0]) if paths else ""


def _joined(links: Sequence[Link]) -> nn.Module:
    if len(links) == 1:
        return links[0].module
    names = ["_".join(link.paths[:1]).replace(".", "_") or f"step{i}" for i, link in enumerate(links)]
    return nn.Sequential(OrderedDict(zip(names, (link.module for link in links), strict=True)))
