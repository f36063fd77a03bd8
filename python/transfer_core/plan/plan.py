"""The immutable plan of a training: the complete recipe, its task and its phases.

`complete` needs no data and reports errors before any is read; `make_plan` needs the task and the labels of
the data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from transfer_core.backbones.facts import BackboneFacts
from transfer_core.backbones.representations import Representation
from transfer_core.plan import checks, detection_presets, generation_presets, presets
from transfer_core.plan.adapting import adapted_head, check_kinds
from transfer_core.plan.augmentation_checks import check_augmentations
from transfer_core.plan.group_checks import check_group_words
from transfer_core.plan.phases import Phase, phases
from transfer_core.plan.presets import ENOUGH_TO_COMPARE, Presets, must_gain, without_fine_tuning
from transfer_core.plan.process_checks import check_processes
from transfer_core.plan.relations import check_relations, with_gradual_steps
from transfer_core.recipe.heads import Head
from transfer_core.recipe.schema import Recipe, TextOptions
from transfer_core.recipe.steps import CONTRASTIVE, Freeze, Train
from transfer_core.runtime.errors import Problem
from transfer_core.tasks import TASKS, Task, named_task

# The presets of the tasks that need a representation.
PRESETS: dict[Representation, Presets] = {
    "pooled": presets,
    "feature_maps": detection_presets,
    "encoder_decoder": generation_presets,
}


@dataclass(frozen=True)
class Plan:
    """The resolved configuration of a training.

    Attributes
    ----------
    recipe
        Complete.
    task
        Targets, loss, decoding and metrics.
    phases
        The first fits the head on frozen features, the others train further.
    proposes_views
        Whether the random views are the preset's proposal, kept only if they lower the held-out loss.
    warnings
        Steps that were left out, and why.
    proposes_head
        Whether the head is the default, and another may replace it.
    """

    recipe: Recipe
    task: Task[Any]
    phases: tuple[Phase, ...]
    proposes_views: bool = False
    warnings: tuple[str, ...] = ()
    proposes_head: bool = False

    @property
    def head_phase(self) -> Phase:
        """The phase that fits the head."""
        return self.phases[0]

    @property
    def further_phases(self) -> tuple[Phase, ...]:
        """The phases after the head phase."""
        return self.phases[1:]

    @property
    def changes_backbone(self) -> bool:
        """Whether a phase trains blocks of the backbone."""
        return any(phase.changes_backbone for phase in self.phases)

    @property
    def must_gain(self) -> bool:
        """Whether fine-tuning is kept only after a significant gain in validation loss."""
        return must_gain(self.recipe)

    @property
    def stored_recipe(self) -> Recipe:
        """The recipe from which a resumed run makes the same plan."""
        return replace(self.recipe, head=None) if self.proposes_head else self.recipe

    def with_head(self, head: Head) -> Plan:
        """Return the plan with a head that is fitted without an optimizer, on a frozen backbone."""
        given = self.head_phase.train
        train = Train(loss=given.loss, class_weights=given.class_weights)
        recipe = replace(self.recipe, head=head, steps=(Freeze(), train))
        return dataclasses.replace(self, recipe=recipe, phases=(Phase(train, ()),))

    def without_views(self) -> Plan:
        """Return the plan without random views of the training examples."""
        return dataclasses.replace(self, recipe=replace(self.recipe, augment=()))


def complete(recipe: Recipe, facts: BackboneFacts) -> Recipe:
    """Fill every field of `recipe` that does not depend on the data.

    Raises
    ------
    RecipeError
        For an unknown task or loss, or blocks, steps or a representation that the backbone does not support.
    """
    blocks = facts.blocks
    checks.check_names(recipe)
    if recipe.task == "auto" and facts.encoder_decoder:
        recipe = replace(recipe, task="translation")
    if task := named_task(recipe):
        checks.check_representation(task, facts)
        checks.check_head(recipe, task)
    checks.check_text_words(recipe, facts)
    checks.check_blocks(recipe, blocks)
    checks.check_backbone_can(recipe, facts)
    recipe = with_gradual_steps(recipe, blocks)
    task = task or TASKS["classification"]
    preset = PRESETS[task.needs]
    augment = recipe.augment if recipe.augment is not None else preset.preset_augmentation(recipe, facts)
    steps = preset.complete_steps(recipe, blocks)
    head = recipe.head or adapted_head(replace(recipe, steps=steps), blocks) or task.default_head
    if task.needs == "feature_maps":
        head = checks.detection_head(recipe, facts, head)
    draft = replace(recipe, steps=steps, head=head, augment=augment, train=Train())
    if task.needs == "feature_maps":
        draft = replace(draft, image_size=recipe.image_size or detection_presets.IMAGE_SIZE)
    # The resolved name, because the user's may refer to other files later.
    draft = replace(draft, backbone=facts.name, text=_text_options(recipe, draft, facts))
    checks.check_images(recipe, task)
    check_augmentations(draft, task, blocks)
    checks.check_classic_head(recipe, draft)
    checks.check_lbfgs(recipe, draft)
    check_kinds(draft, blocks)
    checks.check_layer_decay(recipe, draft, blocks)
    checks.check_contrastive(recipe, draft, blocks)
    check_relations(draft, task, blocks)
    check_processes(draft, task, blocks)
    return replace(draft, steps=preset.fill_train_steps(draft, blocks))


def make_plan(
    given: Recipe,
    recipe: Recipe,
    facts: BackboneFacts,
    task: Task[Any],
    labels: Sequence[str],
    training_examples: int,
    validation_examples: int,
) -> Plan:
    """Make the plan for data of this task with these labels.

    Parameters
    ----------
    given
        The recipe of the user.
    recipe
        The same after `complete`.
    facts
        The backbone.
    task
        The task.
    labels
        K names of classes, labels or outputs.
    training_examples
        Their number; a preset trains adapters with few pairs of texts.
    validation_examples
        Their number; with too few, a preset's fine-tuning is skipped because it could not show a gain.

    Raises
    ------
    RecipeError
        If the backbone, the loss, class weights or the head do not go with the task.
    DependencyError
        If the head needs a package that is missing.
    """
    checks.check_representation(task, facts)
    if named_task(given) is None and task.needs != "pooled":  # recognized from the data after `complete`
        recipe = complete(replace(given, task=task.name), facts)
    if task.needs == "encoder_decoder":
        few = generation_presets.adapters_for(training_examples, given)
        recipe = recipe if few is given else complete(replace(few, task=task.name), facts)
    checks.check_task(recipe, task, labels)
    check_group_words(given, task)
    steps = (_with_loss(step, task) if isinstance(step, Train) else step for step in recipe.steps)
    recipe = replace(recipe, task=task.name, steps=tuple(steps))
    warnings: tuple[str, ...] = ()
    must_show = task.needs == "pooled" and must_gain(given) and not given.steps
    if must_show and validation_examples < ENOUGH_TO_COMPARE:
        recipe = without_fine_tuning(recipe)
        warnings = (
            f"fine-tuning was left out: {validation_examples} validation examples are too few to show a gain "
            f"({ENOUGH_TO_COMPARE} are needed)",
        )
    found = tuple(phases(recipe, facts.blocks))
    is_default = given.head is None and len(found) == 1 and found[0].train.optimizer == "lbfgs"
    return Plan(recipe, task, found, given.augment is None, warnings, is_default)


def _with_loss(train: Train, task: Task[Any]) -> Train:
    return train if train.loss == CONTRASTIVE else replace(train, loss=task.loss)


def _text_options(recipe: Recipe, draft: Recipe, facts: BackboneFacts) -> TextOptions:
    """Text options with the publisher's maximum length as default."""
    text, problems = recipe.text, []
    if facts.modality != "text":
        if text != TextOptions():
            problems.append(Problem("text", f"applies to texts, but {facts.name} takes {facts.modality}s"))
    elif facts.positions and text.max_length and text.max_length > facts.positions:
        message = f"{facts.name} reads at most {facts.positions} tokens (got {text.max_length})"
        problems.append(Problem("text.max_length", message))
    elif text.long == "window" and any(phase.changes_backbone for phase in phases(draft, facts.blocks)):
        message = "windows are for a frozen backbone: use truncate, or leave it frozen"
        problems.append(Problem("text.long", message))
    checks.raise_if(problems)
    return text if facts.modality != "text" else replace(text, max_length=text.max_length or facts.max_length)
