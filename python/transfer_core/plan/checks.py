"""Checks of a recipe against its backbone and its task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from transfer_core.backbones.facts import BackboneFacts
from transfer_core.backbones.registry import is_fitted
from transfer_core.backbones.representations import EXAMPLES
from transfer_core.plan.phases import phases
from transfer_core.plan.presets import is_convex
from transfer_core.recipe.augmentations import Mixing
from transfer_core.recipe.heads import (
    ClassicHead,
    FewShotHead,
    Head,
    KnnHead,
    LogisticHead,
    QueriesHead,
    RandomForestHead,
)
from transfer_core.recipe.messages import shown
from transfer_core.recipe.schema import Generation, Languages, Recipe, TextOptions
from transfer_core.recipe.steps import CONTRASTIVE, OF_MINIBATCHES, Freeze, Lora, Train, Unfreeze
from transfer_core.runtime.errors import DependencyError, Problem, RecipeError, did_you_mean
from transfer_core.tasks import TASKS, PooledTask, Task
from transfer_core.tasks.criteria import CLASSES, LABELS, VALUES


def raise_if(problems: Sequence[Problem]) -> None:
    """Raise `RecipeError` if there are problems; each is named once."""
    if problems:
        raise RecipeError(list(dict.fromkeys(problems)))


def check_names(recipe: Recipe) -> None:
    """Raise `RecipeError` unless the task and all losses exist."""
    names = ["auto", *sorted(TASKS)]
    losses = sorted({CONTRASTIVE, *(task.loss for task in TASKS.values())})
    problems = [] if recipe.task in names else [Problem("task", _unknown("task", recipe.task, names))]
    for path, train in train_steps(recipe):
        if train.loss not in (None, *losses):
            problems.append(Problem(f"{path}.loss", _unknown("loss", train.loss, losses)))
    raise_if(problems)


def check_representation(task: Task[Any], facts: BackboneFacts) -> None:
    """Raise `RecipeError` unless the backbone outputs the representation that the task needs."""
    if task.needs not in facts.gives:
        gives, fitting = ", ".join(sorted(facts.gives)), ", ".join(EXAMPLES[task.needs])
        message = f"{facts.name} gives {gives}, but {task.name} needs {task.needs}"
        raise RecipeError([Problem("backbone", f"{message}. Try: {fitting}" if fitting else message)])


def check_head(recipe: Recipe, task: Task[Any]) -> None:
    """Raise `RecipeError` unless the head goes with the task."""
    head = recipe.head
    if head is None or isinstance(head, task.heads):
        return
    tags = ", ".join(str(kind.__struct_config__.tag) for kind in task.heads)
    choices = f"(one of: {tags})" if tags else ": its decoder is the head. Fix: leave it out"
    message = f"{task.name} has no head {head.__struct_config__.tag} {choices}".replace(" :", ":")
    raise RecipeError([Problem("head", message)])


def check_text_words(recipe: Recipe, facts: BackboneFacts) -> None:
    """Raise `RecipeError` for words about generated texts with a backbone that generates none, and for
    languages that the backbone lacks."""
    problems = []
    if not facts.encoder_decoder:
        message = f"is for generated texts, but {facts.name} generates none"
        problems += [
            Problem(word, message)
            for word, default in (("languages", Languages()), ("generation", Generation()))
            if getattr(recipe, word) != default
        ]
        if recipe.text.prefix:
            problems.append(Problem("text.prefix", message))
        problems += [
            Problem(f"{path}.label_smoothing", message)
            for path, train in train_steps(recipe)
            if train.label_smoothing is not None
        ]
    for word in ("source", "target") if facts.languages else ():
        code = getattr(recipe.languages, word)
        if code is not None and code not in facts.languages:
            nearest = did_you_mean(code, list(facts.languages))
            message = f'{facts.name} has no language "{code:.40}"{nearest}'
            problems.append(Problem(f"languages.{word}", message))
    raise_if(problems)


def train_steps(recipe: Recipe) -> list[tuple[str, Train]]:
    """The user's train steps, each with its path in the recipe."""
    steps = [(f"steps[{i}]", step) for i, step in enumerate(recipe.steps) if isinstance(step, Train)]
    return steps or [("train", recipe.train)]


def check_task(recipe: Recipe, task: Task[Any], labels: Sequence[str]) -> None:
    """Check that head, losses and class weights of a complete recipe match the task.

    Parameters
    ----------
    recipe
        The complete recipe.
    task
        The task.
    labels
        K names of classes, labels or outputs.

    Raises
    ------
    RecipeError
        If an option does not match.
    DependencyError
        For a head of scikit-learn without scikit-learn.
    """
    trains = [step for step in recipe.steps if isinstance(step, Train)]
    raise_if([problem for train in trains for problem in _train_problems(train, task, labels)])
    head = recipe.head
    check_head(recipe, task)
    if not isinstance(task, PooledTask):
        return
    if isinstance(head, FewShotHead) and task.criterion.layout != CLASSES:
        message = f"{head.__struct_config__.tag} is for classes, not for {task.name}. Try: linear or knn"
        raise RecipeError([Problem("head", message)])
    own = isinstance(head, KnnHead | FewShotHead)
    if isinstance(head, ClassicHead) and not own and find_spec("sklearn") is None:
        raise DependencyError(f"the head {head.__struct_config__.tag}", "scikit-learn", "sklearn")
    if isinstance(head, LogisticHead) and task.criterion.layout == VALUES:
        others = "linear, svm, random_forest, gradient_boosting or knn"
        raise RecipeError([Problem("head", f"logistic is for classes. Try: {others}")])
    weighted = any(train.class_weights not in (None, "none") for train in trains)
    if weighted and isinstance(head, RandomForestHead) and task.criterion.layout == LABELS:
        message = "a random forest has no weight for each label. Fix: take another head, or leave it out"
        raise RecipeError([Problem("class_weights", message)])


def _train_problems(train: Train, task: Task[Any], labels: Sequence[str]) -> Iterator[Problem]:
    of_classes = isinstance(task, PooledTask) and task.criterion.layout == CLASSES
    if train.loss == CONTRASTIVE and not of_classes:
        yield Problem("loss", f"contrastive is for classes, not for {task.name}. Fix: leave it out")
    elif train.loss not in (None, CONTRASTIVE, task.loss):
        message = f"{train.loss} does not go with {task.name}, which takes {task.loss}"
        yield Problem("loss", message)
    if train.class_weights not in (None, "none"):
        for message in task.class_weight_problems(train.class_weights, labels):
            yield Problem("class_weights", message)


def _unknown(kind: str, name: str | None, names: Sequence[str]) -> str:
    nearest = did_you_mean(name or "", list(names))
    return f"unknown {kind} {shown(name)}{nearest} (one of: {', '.join(names)})"


def check_lbfgs(recipe: Recipe, draft: Recipe) -> None:
    """Check that L-BFGS gets a deterministic loss on rows in memory: a linear head on a frozen backbone.

    `draft` has the user's train steps, possibly preceded by steps of the preset.
    """
    trains = [step for step in draft.steps if isinstance(step, Train)]
    allowed = {0} if is_convex(draft.head) else set()
    wrong = [i for i, train in enumerate(trains) if train.optimizer == "lbfgs" and i not in allowed]
    message = (
        "L-BFGS fits a linear head without dropout on a frozen backbone, in the first train step; "
        "use adam, adamw or sgd"
    )
    _refuse(wrong, "optimizer", message, recipe, len(trains))


def check_classic_head(recipe: Recipe, draft: Recipe) -> None:
    """Check that a head fitted without gradients has no mini-batch options and a frozen backbone."""
    if not isinstance(recipe.head, ClassicHead):
        return
    name = recipe.head.__struct_config__.tag
    trains = [step for step in draft.steps if isinstance(step, Train)]
    of_gradients = [*OF_MINIBATCHES, "optimizer", "momentum"]
    for word in of_gradients:
        wrong = [i for i, train in enumerate(trains) if getattr(train, word) is not None]
        _refuse(wrong, word, f"a {name} head is fitted as a whole, without {word}", recipe, len(trains))
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


def check_layer_decay(recipe: Recipe, draft: Recipe, blocks: Sequence[str]) -> None:
    """Raise `RecipeError` for a layer decay in a step that trains no block of the backbone."""
    found = phases(draft, blocks)
    wrong = [i for i, phase in enumerate(found) if phase.train.layer_decay and not phase.changes_backbone]
    message = "no block of the backbone trains in this step: unfreeze some before it, or leave it out"
    _refuse(wrong, "layer_decay", message, recipe, len(found))


def check_contrastive(recipe: Recipe, draft: Recipe, blocks: Sequence[str]) -> None:
    """Raise `RecipeError` for a contrastive loss where no block trains, or beside words about the head."""
    found = phases(draft, blocks)
    some = [i for i, phase in enumerate(found) if phase.is_contrastive]
    frozen = [i for i in some if not found[i].changes_backbone]
    message = "contrastive trains embeddings, and no block of the backbone trains in this step"
    _refuse(frozen, "loss", f"{message}. Fix: unfreeze :all before it", recipe, len(found))
    others = [word for word in ("adapt", "distill", "regularize") if getattr(recipe, word)]
    if any(isinstance(change, Mixing) for change in recipe.augment or ()):
        others.append("augment (mixup, cutmix)")
    if some and others:
        message = f"contrastive can't be combined with {', '.join(others)}. Fix: leave out one"
        _refuse(some, "loss", message, recipe, len(found))


def _refuse(wrong: Sequence[int], word: str, message: str, recipe: Recipe, trains: int) -> None:
    """Raise `RecipeError` for `word` in the train steps `wrong`; the user's are the last of `trains`."""
    given = [f"steps[{i}]" for i, step in enumerate(recipe.steps) if isinstance(step, Train)] or ["train"]
    if wrong:
        added = trains - len(given)
        raise RecipeError([Problem(f"{given[i - added]}.{word}", message) for i in wrong])


def check_images(recipe: Recipe, task: Task[Any]) -> None:
    """Check size of inputs and adapters against the task."""
    boxes = task.needs == "feature_maps"
    problems = []
    if recipe.image_size is not None and not boxes:
        message = f"{task.name} has the input size of its backbone: leave it out"
        problems.append(Problem("image_size", message))
    for i, step in enumerate(recipe.steps):
        if boxes and isinstance(step, Lora):
            message = "adapters are not available for detection. Fix: unfreeze last: 2"
            problems.append(Problem(f"steps[{i}]", message))
    raise_if(problems)


def detection_head(recipe: Recipe, facts: BackboneFacts, default: Head | None) -> Head | None:
    """The head for the maps of a backbone: `queries` for object queries, any other for maps of an image.

    Raises
    ------
    RecipeError
        At `head`, if the recipe names one that does not fit.
    """
    queries = any(found.queries for found in facts.feature_maps)
    if recipe.head is None:
        return QueriesHead() if queries else default
    if isinstance(recipe.head, QueriesHead) != queries:
        gives = "object queries, which need the head queries" if queries else "no object queries"
        name = recipe.head.__struct_config__.tag
        message = f"{facts.name} has {gives} (got {name}). Fix: leave it out"
        raise RecipeError([Problem("head", message)])
    return recipe.head


def check_backbone_can(recipe: Recipe, facts: BackboneFacts) -> None:
    """Check augmentation, fine-tuning, text options and precision against the backbone's capabilities."""
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


def check_blocks(recipe: Recipe, blocks: Sequence[str]) -> None:
    """Raise `RecipeError` if a step names blocks that the backbone lacks."""
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
