"""Defaults of a recipe for generated texts; implements `presets.Presets`.

There is no new head: the decoder is the head. So a phase may train it at once, and the first phase is no
different from the others.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import asdict, replace

from transfer_core.backbones.facts import BackboneFacts
from transfer_core.plan.phases import Phase, phases
from transfer_core.recipe.augmentations import Augmentation
from transfer_core.recipe.schema import Recipe
from transfer_core.recipe.steps import Freeze, Lora, Step, Train
from transfer_core.runtime.errors import Problem, RecipeError

# Training pairs below which the preset `fast` trains adapters: as good on texts of their kind as the decoder,
# and better on others (benchmarks/NOTES.md).
FEW_PAIRS = 500
_RANK = 16


def preset_augmentation(recipe: Recipe, facts: BackboneFacts) -> tuple[Augmentation, ...]:
    """None for texts."""
    return ()


def complete_steps(recipe: Recipe, blocks: Sequence[str]) -> tuple[Step, ...]:
    """The user's steps or the preset's.

    fast: the decoder, with source states computed once (see `adapters_for`); balanced and best: everything.

    Raises
    ------
    RecipeError
        At a `train` step in which nothing trains.
    """
    steps = recipe.steps or _preset_steps(recipe, blocks)
    found = phases(replace(recipe, steps=steps), blocks)
    numbers = [i for i, step in enumerate(steps) if isinstance(step, Train)]
    idle = [
        number for number, phase in zip(numbers, found, strict=True) if not (phase.trainable or phase.lora)
    ]
    if idle:
        message = (
            "nothing trains in this step: the decoder is the head, and it is frozen. "
            "Fix: unfreeze last: 2 (blocks), or finetune :lora before it"
        )
        raise RecipeError([Problem(f"steps[{number}]", message) for number in idle])
    return steps


def adapters_for(pairs: int, given: Recipe) -> Recipe:
    """The recipe with LoRA adapters as its steps, if its preset is fast and there are few training pairs."""
    if given.steps or given.preset != "fast" or pairs >= FEW_PAIRS:
        return given
    return replace(given, steps=(Freeze(), Lora(rank=_RANK), given.train), train=Train())


def fill_train_steps(recipe: Recipe, blocks: Sequence[str]) -> tuple[Step, ...]:
    """Fill in all options of the `train` steps."""
    filled = iter([_filled(phase, recipe) for phase in phases(recipe, blocks)])
    return tuple(next(filled) if isinstance(step, Train) else step for step in recipe.steps)


def _preset_steps(recipe: Recipe, blocks: Sequence[str]) -> tuple[Step, ...]:
    if recipe.preset == "fast":
        front = tuple(name for name in blocks if name.startswith(("embeddings", "encoder")))
        return (Freeze(blocks=front), recipe.train)
    return (recipe.train,)


def _filled(phase: Phase, recipe: Recipe) -> Train:
    optimizer = phase.train.optimizer or "adamw"
    rate = 1e-2 if optimizer == "sgd" else 1e-3 if phase.lora else 3e-4
    defaults = Train(
        optimizer=optimizer,
        epochs=10 if recipe.preset == "best" else 5,
        learning_rate=rate,
        momentum=0.9 if optimizer == "sgd" else None,
        weight_decay=1e-2 if optimizer == "adamw" else 0.0,
        batch_size=32,
        schedule="cosine",
        warmup=0.1,
        early_stopping=3,
        class_weights="none",
        # Adapters are for few pairs, and smoothing moves all probabilities away from the published ones.
        label_smoothing=0.0 if phase.lora else 0.1,
    )
    given = {word: value for word, value in asdict(phase.train).items() if value is not None}
    return replace(defaults, **given)
