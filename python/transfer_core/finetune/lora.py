"""LoRA: low-rank adapters beside dense layers (Hu et al. 2021), injected and merged by peft.

A dense layer W x becomes W x + alpha / rank · B A x, where only A (rank, D) and B (D', rank) are trained. B
is initialized to zero, so that training starts from the published function; at the end the product is added
to W.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from transfer_core.backbones import Backbone
from transfer_core.backbones.tracing import replace_submodule
from transfer_core.plan.phases import Phase
from transfer_core.recipe.schema import Recipe
from transfer_core.recipe.steps import Lora
from transfer_core.runtime.errors import DependencyError, Problem, RecipeError

# Names that peft gives to an adapter and to the layer itself.
_ADAPTER, _BASE = "lora_", ".base_layer."


def check_adapters(recipe: Recipe, backbone: Backbone) -> None:
    """Check that the LoRA steps of a recipe can run.

    Raises
    ------
    RecipeError
        If the backbone has no dense layers; the error names the steps.
    DependencyError
        If peft is not installed.
    """
    steps = [i for i, step in enumerate(recipe.steps) if isinstance(step, Lora)]
    if not steps:
        return
    _peft()
    if not dense_layers(backbone):
        message = f"{backbone.facts.name} has no dense layers for adapters. Fix: unfreeze blocks instead"
        raise RecipeError([Problem(f"steps[{i}]", message) for i in steps])


def dense_layers(backbone: Backbone) -> list[str]:
    """Return the names, within the blocks, of the dense layers that a forward pass calls.

    Some networks use only the weights of a dense layer (torchvision's attention); an adapter beside it would
    have no effect.
    """
    called: list[str] = []
    layers = {name: module for name, module in backbone.blocks.named_modules() if type(module) is nn.Linear}
    hooks = [
        module.register_forward_pre_hook(lambda *_, name=name: called.append(name))
        for name, module in layers.items()
    ]
    try:
        with torch.no_grad():
            backbone.example_pass()
    finally:
        for hook in hooks:
            hook.remove()
    return [name for name in layers if name in called]


@contextmanager
def adapted(backbone: Backbone, phase: Phase, seed: int) -> Iterator[tuple[str, ...]]:
    """Add adapters to the dense layers of the blocks that `phase` does not train as a whole.

    Yields the names of these blocks. On exit the adapters are merged into their layers, or removed without a
    change after an exception.
    """
    if phase.lora is None:
        yield ()
        return
    names = [name for name in dense_layers(backbone) if name.split(".")[0] not in phase.trainable]
    _inject(backbone.blocks, phase.lora, names, seed)
    merge = False
    try:
        yield tuple(dict.fromkeys(name.split(".")[0] for name in names))
        merge = True
    finally:
        for name in names:
            layer: Any = backbone.blocks.get_submodule(name)
            if merge:
                layer.merge(safe_merge=True)
            replace_submodule(backbone.blocks, name, layer.base_layer)


def scale_adapters(blocks: nn.Module, scale: float) -> None:
    """Multiply the outputs of all adapters by `scale`, relative to those that were trained."""
    layer: Any
    for layer in blocks.modules():
        if hasattr(layer, "lora_A"):
            for name in layer.lora_A:
                layer.scaling[name] = scale * layer.lora_alpha[name] / layer.r[name]


def only_adapters(block: nn.Module) -> None:
    """Make only the adapters of `block` trainable."""
    for name, parameter in block.named_parameters():
        parameter.requires_grad_(_ADAPTER in name)


def without_adapters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of an adapted network under the names that they have without adapters."""
    return {name.replace(_BASE, "."): tensor for name, tensor in state.items() if _ADAPTER not in name}


def _inject(blocks: nn.Module, lora: Lora, names: list[str], seed: int) -> None:
    peft = _peft()
    config = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=names
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(config, blocks)
    del blocks.peft_config


def _peft() -> Any:
    try:
        import peft
    except ImportError:
        raise DependencyError("LoRA", "peft", "peft") from None
    return peft
