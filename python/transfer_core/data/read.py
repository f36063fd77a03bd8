"""Read the data of a recipe into datasets: gather, encode labels, fingerprint, split, validate."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transfer_core.data import audit
from transfer_core.data.bad_input import counted, printable
from transfer_core.data.corrections import corrected
from transfer_core.data.dataset import Dataset, DataSplits, Pool
from transfer_core.data.divide import divide, in_parts
from transfer_core.data.domains import read_domains, read_unlabelled
from transfer_core.data.example import Example
from transfer_core.data.groups import Edge
from transfer_core.data.known import Known
from transfer_core.data.labelling import ChooseTask, Labelling
from transfer_core.data.modality import Modality
from transfer_core.data.source import SourceContext, read_source
from transfer_core.data.split import Parts
from transfer_core.data.stream import Row
from transfer_core.data.subgroups import check_subgroups, subgroup_warnings
from transfer_core.data.usable import OnBadInput, keep_usable
from transfer_core.recipe.schema import Columns, Languages, PathSource, Recipe, Source
from transfer_core.recipe.steps import Train
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress


def read_splits(
    recipe: Recipe,
    modality: Modality,
    choose_task: ChooseTask,
    streams: Mapping[str, Iterable[Row]],
    spool: Path,
    progress: Progress,
    known: Known | None = None,
    labels_checked: OnBadInput | None = None,
) -> DataSplits:
    """Read, encode, check and split the data of a recipe, without decoding inputs.

    Parameters
    ----------
    recipe
        The recipe.
    modality
        Kind of input.
    choose_task
        Selects the task from the recipe and all labels.
    streams
        Name to the rows of each `{"stream": name}` of the recipe.
    spool
        Temporary directory for images given as bytes; the datasets contain paths in it.
    progress
        Progress events and cancellation.
    known
        Examples of an earlier training, which are left out. Default: none.
    labels_checked
        `on_bad_input` of the task's own check of labels. Default: that of the recipe.

    Raises
    ------
    DataError
        The data can't be trained on as it is; docs/guides/your_data.md lists the rules.
    """
    context = source_context(recipe, modality, streams, spool, progress)
    if recipe.source is not None:
        return read_domains(recipe, context, choose_task)
    found = read_source(recipe.data, context)
    if recipe.corrections:
        found = replace(found, examples=corrected(found.examples, os.path.expanduser(recipe.corrections)))
    audit.check_split_marks(found.examples)
    task, warning = choose_task(recipe, (example.label for example in found.examples))
    if warning:
        progress.warning(warning)
    found = replace(
        found, examples=task.checked(found.examples, labels_checked or recipe.on_bad_input, progress)
    )
    labels, targets = task.encode(found.examples, recipe.columns)
    if known:
        labels = known.all_labels(labels, task)
        targets = task.encode(found.examples, recipe.columns, labels)[1]
    if all(example.problem is None for example in found.examples):  # else problems are reported first
        audit.check_variety(task, labels, targets, found, modality)

    columns = audit.same_columns(found.examples)
    kept = keep_usable(found.examples, task, labels, targets, recipe.on_bad_input, modality, progress)
    audit.check_labels_kept(task, labels, targets, kept.data.targets, modality)
    if known:
        kept = known.without_known(kept, task, labels, columns, modality, progress)
    if recipe.split.group and not any(example.group for example in kept.examples):
        raise DataError(f'no row has a value of "{printable(recipe.split.group)}", as split group: needs')
    given = tuple(example.split for example in kept.examples)
    check_subgroups([example.subgroup for example in kept.examples], recipe.columns.group)
    if recipe.split.test > 0 and not {"valid", "test"} & set(given):
        audit.check_divisible(task, labels, kept.data, modality)
    wanted = recipe.split.near_duplicates
    edges = modality.near_duplicates(kept.data.inputs, progress.check) if wanted else []
    pool = Pool(kept.data, given, tuple(example.group for example in kept.examples))
    keys = task.copy_keys(kept.data.inputs, kept.data.digests)
    division = divide(pool, edges, task.strata(kept.data.targets), recipe, modality, keys)
    _warn_of_copies(division.parts, kept.examples, modality, progress)
    facts = DataSplits(
        task,
        labels,
        train=kept.data,
        valid=kept.data,
        test=kept.data,
        skipped=kept.skipped,
        columns=columns,
        modality=modality,
        domains=read_unlabelled(recipe, context, task, labels, kept, division),
    )
    return in_parts(facts, division)


def source_context(
    recipe: Recipe,
    modality: Modality,
    streams: Mapping[str, Iterable[Row]],
    spool: Path,
    progress: Progress,
) -> SourceContext:
    """The context in which the sources of a recipe are read."""
    split, task = recipe.split.group, recipe.task
    return SourceContext(modality, recipe.columns, streams, spool, progress, split, task, recipe.languages)


def left_over(splits: DataSplits, bad: Mapping[Any, str]) -> DataSplits:
    """Remove undecodable inputs from `splits`; `bad` maps each to its reason.

    Raises
    ------
    DataError
        As `DataSplits.without`, or the rest can't be trained on.
    """
    left = splits.without(bad)
    audit.check_trained_labels(left)
    return left


def resplit(splits: DataSplits, edges: Sequence[Edge], recipe: Recipe) -> DataSplits:
    """Split again with the near-duplicates that `edges` connect on one side.

    Parameters
    ----------
    splits
        The previous split.
    edges
        Pairs of rows of `splits.pool`.
    recipe
        Sizes of the split, the column of groups, and the seed.
    """
    assert splits.pool
    strata = splits.task.strata(splits.pool.data.targets)
    return in_parts(splits, divide(splits.pool, edges, strata, recipe, splits.modality))


def emit_data_warnings(splits: DataSplits, recipe: Recipe, progress: Progress) -> None:
    """Warn about properties of the final split that make metrics misleading."""
    weighted, column = _has_class_weights(recipe), recipe.columns.group
    found = (*splits.warnings, *audit.warnings(splits, weighted), *subgroup_warnings(splits, column))
    for message in found:
        progress.warning(message)


def read_labelled(
    source: Source | str,
    modality: Modality,
    labels: Sequence[str],
    task: Labelling,
    columns: Columns,
    on_bad_input: OnBadInput,
    streams: Mapping[str, Iterable[Row]],
    spool: Path,
    progress: Progress,
    languages: Languages = Languages(),
) -> Dataset:
    """Read labelled inputs to evaluate a trained model on.

    If the source has a split, its `test` part is read, else its `valid` part.

    Parameters
    ----------
    source
        A source, or a path.
    modality, labels, task, columns
        Kind of input, labels, task and column names of the model.
    on_bad_input
        `raise`, or `skip` to leave unusable inputs out with a warning.
    streams
        Name to rows, for a stream source.
    spool
        Temporary directory for images given as bytes.
    progress
        Progress events and cancellation.
    languages
        Those of the model's recipe.

    Raises
    ------
    DataError
        As `read_splits`, or a label that the model doesn't have.
    """
    source = PathSource(source) if isinstance(source, str) else source
    context = SourceContext(
        modality, columns, streams, spool, progress, task=task.name, languages=languages, lacks_subgroups=True
    )
    found = read_source(source, context)
    examples = task.checked(_measured(found.examples), on_bad_input, progress)
    if not examples:
        raise DataError(f"there are no labelled {modality.many} to measure on")
    known, targets = task.encode(examples, columns, labels)
    if len(known) != len(labels):
        raise DataError(f"the model has {len(labels)} outputs, but the data has {len(known)}")
    return keep_usable(examples, task, labels, targets, on_bad_input, modality, progress).data


def _measured(examples: Sequence[Example]) -> list[Example]:
    splits = {example.split for example in examples}
    part = next((part for part in ("test", "valid") if part in splits), None)
    return [example for example in examples if part in (None, example.split)]


def _warn_of_copies(
    parts: Parts, examples: Sequence[Example], modality: Modality, progress: Progress
) -> None:
    if parts.copies:
        name = printable(examples[parts.copies[0]].name)
        count = counted(len(parts.copies), modality.one, modality.many)
        progress.warning(f"left {count} out of training, exact copies of held-out ones, for example {name}")


def _has_class_weights(recipe: Recipe) -> bool:
    trains = [step for step in (*recipe.steps, recipe.train) if isinstance(step, Train)]
    return any(train.class_weights not in (None, "none") for train in trains)
