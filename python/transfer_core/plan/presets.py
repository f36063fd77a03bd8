"""Fills in what the user left out of a recipe, and checks it against the backbone's blocks.

What is chosen here is written into the recipe, so that `model.recipe` shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import asdict, replace

from transfer_core.backbones.facts import BackboneFacts
from transfer_core.backbones.registry import is_fitted
from transfer_core.recipe.schema import (
    OF_MINIBATCHES,
    Augmentation,
    ClassicHead,
    Crop,
    Freeze,
    Head,
    KnnHead,
    LinearHead,
    Lora,
    Optimizer,
    Recipe,
    Step,
    TextOptions,
    Train,
    Unfreeze,
)
from transfer_core.runtime.errors import Problem, RecipeError, did_you_mean


@dataclass(frozen=True)
class Phase:
    """One `train` step together with the backbone's blocks that train in it (none: only the head), and the
    adapters that train beside all its blocks."""

    train: Train
    trainable: tuple[str, ...]
    lora: Lora | None = None

    @property
    def changes_backbone(self) -> bool:
        """Whether more than the head trains."""
        return bool(self.trainable or self.lora)

    def changed(self, blocks: Sequence[str]) -> Sequence[str]:
        """Those of a backbone's `blocks` that are others afterwards; with adapters it may be any."""
        return blocks if self.lora else self.trainable

    def title(self, blocks: int) -> str:
        """What trains, of so many blocks."""
        beside = f"adapters of rank {self.lora.rank}" if self.lora else ""
        trained = f"{len(self.trainable)} of {blocks} blocks" if self.trainable or not beside else ""
        return " and ".join(filter(None, (trained, beside)))


def complete(recipe: Recipe, facts: BackboneFacts) -> Recipe:
    """`recipe` with every field filled that does not depend on the data.

    Raises
    ------
    RecipeError
        If a step names blocks that the backbone lacks, or asks for what can't be done with it.
    """
    blocks = facts.blocks
    _check_blocks(recipe, blocks)
    _check_backbone_can(recipe, facts)
    head = recipe.head or LinearHead()
    augment = recipe.augment if recipe.augment is not None else _preset_augmentation(recipe, facts)
    draft = replace(recipe, steps=_all_steps(recipe, blocks), head=head, augment=augment, train=Train())
    # The name of these very files, where the user's may stand for others tomorrow.
    draft = replace(draft, backbone=facts.name, text=_text_options(recipe, draft, facts))
    _check_classic_head(recipe, draft)
    _check_lbfgs(recipe, draft)
    _check_layer_decay(recipe, draft, blocks)
    return replace(draft, steps=_fill_train_steps(draft, blocks))


# Fewer validation examples leave the paired test without power: only a large gain would show.
ENOUGH_TO_COMPARE = 100


def without_fine_tuning(recipe: Recipe) -> Recipe:
    """A completed recipe up to its first `train` step, which fits the head."""
    first = next(i for i, step in enumerate(recipe.steps) if isinstance(step, Train))
    return replace(recipe, steps=recipe.steps[: first + 1])


def must_gain(recipe: Recipe) -> bool:
    """Whether fine-tuning is the preset's proposal, kept only after a significant gain; steps of one's own
    without a preset are kept from the epoch with the lowest validation loss."""
    return recipe.preset != "fast"


def phases(recipe: Recipe, blocks: Sequence[str]) -> list[Phase]:
    """The `train` steps in order, each with what is not frozen by then; before the first step, all trains."""
    trainable = set(blocks)
    lora = None
    found = []
    for step in recipe.steps:
        if isinstance(step, Train):
            found.append(Phase(step, tuple(block for block in blocks if block in trainable), lora))
        elif isinstance(step, Lora):
            lora = step
        elif isinstance(step, Freeze):
            trainable -= set(_frozen_by(step, blocks))
            lora = lora if step.first or step.blocks else None
        else:
            trainable |= set(_unfrozen_by(step, blocks))
    return found


def _frozen_by(step: Freeze, blocks: Sequence[str]) -> Sequence[str]:
    return blocks[: step.first] if step.first else step.blocks or blocks


def _unfrozen_by(step: Unfreeze, blocks: Sequence[str]) -> Sequence[str]:
    return blocks[-step.last :] if step.last else step.blocks or blocks


def _all_steps(recipe: Recipe, blocks: Sequence[str]) -> tuple[Step, ...]:
    """The user's steps or the preset's, made complete: frozen at first, and the head fitted before the
    backbone changes, so that a random head can't distort its features (Kumar et al. 2022, LP-FT)."""
    steps = recipe.steps or _preset_steps(recipe, blocks)
    if not isinstance(steps[0], Freeze):
        steps = (Freeze(), *steps)
    first = phases(replace(recipe, steps=steps), blocks)[0]
    if first.changes_backbone:
        steps = (Freeze(), Train(class_weights=first.train.class_weights), Unfreeze(all=True), *steps)
    return steps


def _preset_steps(recipe: Recipe, blocks: Sequence[str]) -> tuple[Step, ...]:
    """fast: a head on frozen features; balanced: then the last quarter; best: then everything."""
    if recipe.preset == "fast":
        return (Freeze(), recipe.train)
    thaw = Unfreeze(last=-(-len(blocks) // 4)) if recipe.preset == "balanced" else Unfreeze(all=True)
    return (Freeze(), Train(class_weights=recipe.train.class_weights), thaw, recipe.train)


def _preset_augmentation(recipe: Recipe, facts: BackboneFacts) -> tuple[Augmentation, ...]:
    if recipe.steps or recipe.preset == "fast" or facts.modality != "image":
        return ()
    return (Crop(min_scale=0.8),)


def _text_options(recipe: Recipe, draft: Recipe, facts: BackboneFacts) -> TextOptions:
    """How texts are read, with the length that the backbone's publisher reads."""
    text, problems = recipe.text, []
    if facts.modality != "text":
        if text != TextOptions():
            problems.append(
                Problem("text", f"says how texts are read, but {facts.name} takes {facts.modality}s")
            )
    elif facts.positions and text.max_length and text.max_length > facts.positions:
        message = f"{facts.name} reads at most {facts.positions} tokens (got {text.max_length})"
        problems.append(Problem("text.max_length", message))
    elif text.long == "window" and any(phase.changes_backbone for phase in phases(draft, facts.blocks)):
        message = "windows are for a frozen backbone: use truncate, or leave it frozen"
        problems.append(Problem("text.long", message))
    if problems:
        raise RecipeError(problems)
    return text if facts.modality != "text" else replace(text, max_length=text.max_length or facts.max_length)


def _fill_train_steps(recipe: Recipe, blocks: Sequence[str]) -> tuple[Step, ...]:
    head_alone, *further = phases(recipe, blocks)
    filled = iter([_fill_head(head_alone.train, recipe), *(_fill_finetune(p, recipe) for p in further)])
    return tuple(next(filled) if isinstance(step, Train) else step for step in recipe.steps)


def _fill_head(train: Train, recipe: Recipe) -> Train:
    """L-BFGS where the problem is convex and the user said nothing that it doesn't know; what scikit-learn
    fits has no optimizer."""
    if isinstance(recipe.head, ClassicHead):
        return replace(train, class_weights=train.class_weights or "none")
    of_minibatches = any(getattr(train, word) is not None for word in OF_MINIBATCHES)
    optimizer = train.optimizer or ("lbfgs" if _is_convex(recipe.head) and not of_minibatches else "adam")
    defaults = Train(class_weights="none") if optimizer == "lbfgs" else _head_defaults(optimizer)
    return _filled(train, optimizer, defaults)


def _fill_finetune(phase: Phase, recipe: Recipe) -> Train:
    optimizer = phase.train.optimizer or "adamw"
    rate = 1e-3 if optimizer == "sgd" else 3e-4 if phase.lora else 1e-4
    return _filled(phase.train, optimizer, _finetune_defaults(optimizer, rate, recipe.preset))


def _filled(train: Train, optimizer: Optimizer, defaults: Train) -> Train:
    said = {word: value for word, value in asdict(train).items() if value is not None}
    return replace(defaults, **{**said, "optimizer": optimizer})


def _is_convex(head: Head | None) -> bool:
    return isinstance(head, LinearHead) and head.dropout == 0


def _head_defaults(optimizer: str) -> Train:
    return Train(
        epochs=50,
        learning_rate={"sgd": 1e-2}.get(optimizer, 1e-3),
        momentum=0.9 if optimizer == "sgd" else None,
        weight_decay=1e-2 if optimizer == "adamw" else 1e-4,
        batch_size=32,
        schedule="cosine",
        warmup=0.0,
        early_stopping=10,
        class_weights="none",
    )


def _finetune_defaults(optimizer: str, learning_rate: float, preset: str) -> Train:
    return Train(
        epochs=15 if preset == "best" else 5,
        learning_rate=learning_rate,
        momentum=0.9 if optimizer == "sgd" else None,
        weight_decay=1e-2 if optimizer == "adamw" else 1e-4,
        batch_size=32,
        schedule="cosine",
        warmup=0.1,
        early_stopping=5 if preset == "fast" else 2,
        class_weights="none",
    )


def _check_lbfgs(recipe: Recipe, draft: Recipe) -> None:
    """L-BFGS needs a loss that is the same at every look, on rows that fit in memory.

    `draft` has all of the user's train steps, perhaps after some of ours.
    """
    trains = [step for step in draft.steps if isinstance(step, Train)]
    allowed = {0} if _is_convex(draft.head) else set()
    wrong = [i for i, train in enumerate(trains) if train.optimizer == "lbfgs" and i not in allowed]
    message = (
        "L-BFGS fits a linear head without dropout on a frozen backbone, in the first train step; "
        "use adam, adamw or sgd"
    )
    _refuse(wrong, "optimizer", message, recipe, len(trains))


def _check_classic_head(recipe: Recipe, draft: Recipe) -> None:
    """What scikit-learn fits is fitted at once, and no gradient reaches through it."""
    if not isinstance(recipe.head, ClassicHead):
        return
    name = recipe.head.__struct_config__.tag
    trains = [step for step in draft.steps if isinstance(step, Train)]
    of_gradients = [*OF_MINIBATCHES, "optimizer", "momentum"]
    for word in of_gradients:
        said = [i for i, train in enumerate(trains) if getattr(train, word) is not None]
        _refuse(said, word, f"a {name} head is fitted as a whole, without {word}", recipe, len(trains))
    if isinstance(recipe.head, KnnHead):
        weighted = [i for i, train in enumerate(trains) if train.class_weights not in (None, "none")]
        message = "neighbours are counted, and have no weights: take another head, or leave it out"
        _refuse(weighted, "class_weights", message, recipe, len(trains))
    why = f"a {name} head lets no gradient through: leave the backbone frozen, or take head :linear or :mlp"
    thaws = [i for i, step in enumerate(recipe.steps) if isinstance(step, Unfreeze | Lora)]
    problems = [Problem(f"steps[{i}]", why) for i in thaws]
    if not recipe.steps and recipe.preset != "fast":
        problems.append(Problem("preset", f"{recipe.preset} fine-tunes, but {why}"))
    if not problems and len(trains) > 1:
        problems.append(Problem("steps", f"a {name} head is fitted once: leave one train step"))
    if problems:
        raise RecipeError(problems)


def _check_layer_decay(recipe: Recipe, draft: Recipe, blocks: Sequence[str]) -> None:
    """A word that would do nothing is a mistake."""
    found = phases(draft, blocks)
    wrong = [i for i, phase in enumerate(found) if phase.train.layer_decay and not phase.changes_backbone]
    message = "no block of the backbone trains in this step: unfreeze some before it, or leave it out"
    _refuse(wrong, "layer_decay", message, recipe, len(found))


def _refuse(wrong: Sequence[int], word: str, message: str, recipe: Recipe, trains: int) -> None:
    """An error for `word` in the train steps with these numbers; of `trains` the user's own come last."""
    said = [f"steps[{i}]" for i, step in enumerate(recipe.steps) if isinstance(step, Train)] or ["train"]
    if wrong:
        added = trains - len(said)
        raise RecipeError([Problem(f"{said[i - added]}.{word}", message) for i in wrong])


def _check_backbone_can(recipe: Recipe, facts: BackboneFacts) -> None:
    """Some backbones can only be used as they are, and some inputs can't be varied."""
    problems = []
    if recipe.augment and facts.modality != "image":
        problems.append(Problem("augment", f"varies images, but {facts.name} takes a {facts.modality}"))
    if not facts.trainable:
        why = f"{facts.name} can only be used as it is: leave it frozen"
        thaws = [i for i, step in enumerate(recipe.steps) if isinstance(step, Unfreeze | Lora)]
        problems += [Problem(f"steps[{i}]", why) for i in thaws]
        if recipe.preset != "fast":
            problems.append(Problem("preset", f"{recipe.preset} fine-tunes, but {why}"))
        if is_fitted(facts) and facts.modality == "text" and recipe.text != TextOptions():
            problems.append(Problem("text", f"{facts.name} reads whole texts: leave it out"))
        if not facts.plain and recipe.precision not in ("auto", "float32"):
            message = f"{facts.name} runs in the precision that it was saved in: leave it out"
            problems.append(Problem("precision", message))
    if problems:
        raise RecipeError(problems)


def _check_blocks(recipe: Recipe, blocks: Sequence[str]) -> None:
    problems = []
    for i, step in enumerate(recipe.steps):
        if isinstance(step, Train | Lora):
            continue
        count, word = (step.first, "first") if isinstance(step, Freeze) else (step.last, "last")
        if count and count > len(blocks):
            message = f"{recipe.backbone} has only {len(blocks)} blocks (got {count})"
            problems.append(Problem(f"steps[{i}].{word}", message))
        for name in step.blocks or ():
            if name not in blocks:
                nearest = did_you_mean(name, list(blocks))
                message = f'unknown block "{name}"{nearest} ({_span(recipe, blocks)})'
                problems.append(Problem(f"steps[{i}].blocks", message))
    if problems:
        raise RecipeError(problems)


def _span(recipe: Recipe, blocks: Sequence[str]) -> str:
    return f"{recipe.backbone} has {len(blocks)} blocks, {blocks[0]} … {blocks[-1]}"
