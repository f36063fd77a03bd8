"""Partial reuse: blocks of a backbone that start from random weights."""

from __future__ import annotations

from collections.abc import Sequence

from transfer_core import backbones
from transfer_core.backbones.frozen import AnyBackbone
from transfer_core.model_file.format import tensors_digest
from transfer_core.plan.relations import reused_blocks
from transfer_core.recipe.schema import Recipe
from transfer_core.runtime.progress import Progress


def partly_random(backbone: AnyBackbone, recipe: Recipe, progress: Progress) -> AnyBackbone:
    """Set the blocks that a recipe does not `reuse` to random weights, the same for every run.

    A backbone of which all blocks are reused is returned as it is.
    """
    if recipe.reuse is None:
        return backbone
    module = backbone.module()
    random = backbones.load(recipe.backbone, "random", progress, recipe.trust).state_dict()
    kept = reused_blocks(recipe.reuse, module.facts.blocks)
    state = module.state_dict()
    module.load_state_dict(
        {name: tensor if _is_kept(name, kept) else random[name] for name, tensor in state.items()}
    )
    module.weights_digest = tensors_digest(module.state_dict())
    return module


def _is_kept(name: str, blocks: Sequence[str]) -> bool:
    area, block = name.split(".")[:2]
    return area != "blocks" or block in blocks
