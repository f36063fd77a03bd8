"""Read a labelled source domain beside a target domain whose labels may be missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from msgspec import structs

from transfer_core.data import audit
from transfer_core.data.bad_input import listed, printable
from transfer_core.data.dataset import Dataset, DataSplits, Domains, Pool
from transfer_core.data.divide import Division, divide, in_parts
from transfer_core.data.example import Example, is_unlabelled
from transfer_core.data.labelling import ChooseTask, Labelling, Targets
from transfer_core.data.source import SourceContext, read_source
from transfer_core.data.split import Parts, split_rows
from transfer_core.data.subgroups import check_subgroups
from transfer_core.data.usable import Usable, keep_usable
from transfer_core.recipe.schema import Recipe
from transfer_core.runtime.errors import DataError, did_you_mean


def read_domains(recipe: Recipe, context: SourceContext, choose_task: ChooseTask) -> DataSplits:
    """Read both domains. The source is trained on only; validation examples are carved out of both domains,
    and test examples of the target alone.

    Parameters
    ----------
    recipe
        A recipe with a source.
    context
        How data are read.
    choose_task
        Selects the task from the recipe and all labels.

    Raises
    ------
    DataError
        If a domain is empty or can't be read, or the domains share no label.
    """
    assert recipe.source is not None
    source = _renamed(
        read_source(recipe.source, replace(context, group=None, lacks_subgroups=True)).examples,
        recipe.map_labels,
    )
    labelled, unlabelled = _target(recipe, context)
    modality, progress, on_bad = context.modality, context.progress, recipe.on_bad_input
    task, warning = choose_task(recipe, (example.label for example in (*source, *labelled)))
    if warning:
        progress.warning(warning)
    source, labelled = (list(task.checked(part, on_bad, progress)) for part in (source, labelled))
    labels, targets = task.encode([*source, *labelled], recipe.columns)
    of_source, of_target = targets[: len(source)], targets[len(source) :]
    if problem := task.variety_problem(labels, of_source, modality.many, "source "):
        raise DataError(problem)
    _check_shared_labels(task, labels, of_source, of_target)

    def usable(examples: Sequence[Example], encoded: Targets) -> Usable:
        if not examples:
            return Usable([], Dataset((), (), encoded), ())
        return keep_usable(examples, task, labels, encoded, on_bad, modality, progress)

    kept = usable(labelled, of_target)
    rest = usable(unlabelled, np.zeros((len(unlabelled), *targets.shape[1:]), targets.dtype))
    first = usable(source, of_source)
    examples = *first.examples, *kept.examples
    check_subgroups([example.subgroup for example in examples], recipe.columns.group)
    division = _division(kept, task, recipe, context)
    measured = {division.pool.data.digests[row] for row in division.parts.test}
    domains = _domains(first.data, rest.data, measured, task, recipe)
    facts = DataSplits(
        task,
        labels,
        train=kept.data,
        valid=kept.data,
        test=kept.data,
        skipped=first.skipped + kept.skipped + rest.skipped,
        columns=audit.same_columns([*source, *labelled, *unlabelled]),
        modality=modality,
        domains=domains,
    )
    return in_parts(facts, division)


def read_unlabelled(
    recipe: Recipe,
    context: SourceContext,
    task: Labelling,
    labels: Sequence[str],
    labelled: Usable,
    division: Division,
) -> Domains | None:
    """Unlabelled inputs beside the examples of one domain; None if the recipe has none.

    Parameters
    ----------
    recipe
        A recipe without a source.
    context
        How data are read.
    task, labels
        Those of the labelled examples.
    labelled, division
        All labelled examples, and their split: copies of test examples are left out.
    """
    if recipe.unlabelled is None:
        return None
    found = read_source(recipe.unlabelled, replace(context, labels="none", group=None)).examples
    like = labelled.data.targets
    none, empty = Dataset((), (), like[:0]), np.zeros((len(found), *like.shape[1:]), like.dtype)
    given = (recipe.on_bad_input, context.modality, context.progress)
    rest = keep_usable(found, task, labels, empty, *given).data
    measured = {division.pool.data.digests[row] for row in division.parts.test}
    kept = [row for row, digest in enumerate(rest.digests) if digest not in measured]
    return Domains(none, none, rest.take(kept))


def _target(recipe: Recipe, context: SourceContext) -> tuple[list[Example], list[Example]]:
    """The labelled and the unlabelled examples of the target domain."""
    found = list(read_source(recipe.data, replace(context, labels="optional")).examples)
    audit.check_split_marks(found)
    unlabelled = [example for example in found if is_unlabelled(example)]
    for example in unlabelled:
        if example.split in ("valid", "test"):
            raise DataError(f"{printable(example.name)} is for {example.split}, but has no label")
    if recipe.unlabelled is not None:
        more = replace(context, labels="none", group=None, lacks_subgroups=True)
        unlabelled += read_source(recipe.unlabelled, more).examples
    return [example for example in found if not is_unlabelled(example)], unlabelled


def _renamed(examples: Sequence[Example], names: Mapping[str, str] | None) -> list[Example]:
    """Source examples with the labels that `map_labels` gives them; their own split doesn't count."""
    names = names or {}
    known = {str(example.label) for example in examples}
    for name in names:
        if name not in known:
            nearest = did_you_mean(name, sorted(known))
            raise DataError(f'map_labels: the source has no label "{printable(name)}"{nearest}')
    return [
        replace(example, label=names.get(str(example.label), example.label), split=None)
        for example in examples
    ]


def _check_shared_labels(
    task: Labelling, labels: Sequence[str], of_source: Targets, of_target: Targets
) -> None:
    """Raise `DataError` if labelled examples of the target have no label in common with the source."""
    if not task.categorical or not len(of_target):
        return
    first, second = (task.counts(part, labels) > 0 for part in (of_source, of_target))
    if not (first & second).any():
        ours, theirs = ([labels[i] for i in np.flatnonzero(part).tolist()] for part in (first, second))
        raise DataError(
            f"source and target share no {task.noun}: the source has {listed(ours)}, the target "
            f'{listed(theirs)}. Fix: map_labels: {{ "{printable(ours[0])}" => "{printable(theirs[0])}" }}'
        )


def _division(kept: Usable, task: Labelling, recipe: Recipe, context: SourceContext) -> Division:
    """The split of the labelled examples of the target, which may be none."""
    given = tuple(example.split for example in kept.examples)
    pool = Pool(kept.data, given, tuple(example.group for example in kept.examples))
    if not kept.examples:
        return Division(pool, Parts([], [], []), 0, 0, ())
    wanted = recipe.split.near_duplicates
    edges = context.modality.near_duplicates(kept.data.inputs, context.progress.check) if wanted else []
    return divide(pool, edges, task.strata(kept.data.targets), recipe, context.modality)


def _domains(
    source: Dataset, unlabelled: Dataset, measured: set[str], task: Labelling, recipe: Recipe
) -> Domains:
    """The source in its parts, and the unlabelled inputs, both without copies of test examples."""
    source, unlabelled = (
        part.take(row for row, digest in enumerate(part.digests) if digest not in measured)
        for part in (source, unlabelled)
    )
    source = replace(source, from_source=np.ones(len(source), bool))
    given, strata = [None] * len(source), task.strata(source.targets)
    untested = structs.replace(recipe.split, test=0.0, group=None)
    parts = split_rows(given, strata, source.digests, untested, recipe.seed)
    return Domains(source.take(parts.train), source.take(parts.valid), unlabelled)
