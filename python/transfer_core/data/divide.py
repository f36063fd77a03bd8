"""Split the usable examples with groups and near-duplicates kept together, and warn about leakage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from transfer_core.data import audit
from transfer_core.data.bad_input import counted, printable
from transfer_core.data.dataset import DataSplits, Pool
from transfer_core.data.groups import Edge, Groups, group_rows
from transfer_core.data.labelling import Strata
from transfer_core.data.modality import Modality
from transfer_core.data.split import Parts, split_rows
from transfer_core.recipe.schema import Recipe
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.temp_dir import is_spooled

_SHOWN = 60


@dataclass(frozen=True, eq=False)
class Division:
    """A split: the `pool` with its groups, its `parts`, and the numbers of near-duplicates (`similar`) and of
    their `groups`."""

    pool: Pool
    parts: Parts
    similar: int
    groups: int
    warnings: tuple[str, ...]


def divide(
    pool: Pool,
    edges: Sequence[Edge],
    strata: Strata,
    recipe: Recipe,
    modality: Modality,
    keys: Sequence[str] | None = None,
) -> Division:
    """Complete the given split, or make one, with groups and near-duplicates on one side.

    Parameters
    ----------
    pool
        All usable examples.
    edges
        Pairs of near-duplicate rows.
    strata
        The class of each row, or its labels as bool (N, K).
    recipe
        Sizes of the split, the column of groups, and the seed.
    modality
        The kind of input, for messages.
    keys
        Rows with the same key are copies. Default: the digests.

    Raises
    ------
    DataError
        Groups of the user are so large that nothing can be held out.
    """
    data = pool.data
    keys = data.digests if keys is None else keys
    groups = group_rows(keys, pool.named, edges, strata)
    pool = replace(pool, data=replace(data, groups=groups.keys))
    parts = split_rows(pool.given, strata, keys, recipe.split, recipe.seed, groups.keys)
    if recipe.split.group and recipe.split.test and not parts.test:
        raise DataError(
            f'each class has a single group of "{printable(recipe.split.group)}", so that none can be held '
            "out. Fix: name another column, or split test: 0"
        )
    labels, sizes = np.unique(groups.similar[_different(data.digests)], return_counts=True)
    several = labels[sizes > 1]
    similar = np.isin(groups.similar, several)
    found = Division(pool, parts, int(similar.sum()), len(several), ())
    return replace(found, warnings=tuple(_warnings(found, groups, similar, recipe, modality)))


def in_parts(facts: DataSplits, division: Division) -> DataSplits:
    """Fill in the parts of a division; the rows of a source domain come before those of the target."""
    data, parts, domains = division.pool.data, division.parts, facts.domains
    train, valid = data.take(parts.train), data.take(parts.valid)
    splits = replace(
        facts,
        train=domains.train.joined(train) if domains else train,
        valid=domains.valid.joined(valid) if domains else valid,
        test=data.take(parts.test),
        test_name=parts.test_name,
        pool=division.pool,
        warnings=division.warnings,
        near_duplicates=division.similar,
        reserved=len(parts.reserved),
    )
    audit.check_trained_labels(splits)
    return splits


def _different(digests: Sequence[str]) -> list[int]:
    """The first row of each digest."""
    return list({digest: row for row, digest in reversed([*enumerate(digests)])}.values())


def _warnings(
    found: Division, groups: Groups, similar: npt.NDArray[np.bool_], recipe: Recipe, modality: Modality
) -> Iterator[str]:
    pool, parts = found.pool, found.parts
    made = not {"valid", "test"} & set(pool.given)
    if found.groups and made:
        first = np.flatnonzero(groups.similar == groups.similar[similar][0])[:2]
        yield (
            f"{found.similar} {modality.many} are near-duplicates of one another, in {found.groups} groups"
            f"{_shown(pool, first.tolist(), modality)}; each group stays on one side of the split"
        )
    yield from _on_both_sides(found, groups, similar, made, modality)
    if recipe.split.group and not made:
        fitted = {pool.named[row] for row in (*parts.train, *parts.valid)} - {None}
        shared = fitted & {pool.named[row] for row in parts.test}
        if shared:
            yield (
                f"training and {parts.test_name} share {counted(len(shared), 'group', 'groups')} of "
                f'"{printable(recipe.split.group)}": the metrics are too good for new groups'
            )


def _on_both_sides(
    found: Division, groups: Groups, similar: npt.NDArray[np.bool_], made: bool, modality: Modality
) -> Iterator[str]:
    """Warn about test examples that are near-duplicates of training or validation examples."""
    pool, parts = found.pool, found.parts
    fitted = {groups.similar[row]: row for row in (*parts.train, *parts.valid) if similar[row]}
    both = [row for row in parts.test if similar[row] and groups.similar[row] in fitted]
    if not both:
        return
    two = [fitted[groups.similar[both[0]]], both[0]]
    names = _shown(pool, two, modality)
    fix = "leave them out, or leave the split to the training (no valid and test)"
    if made:
        fix = 'name a column that says which belong together, split group: "…"'
        names += "; they are too many to stay together"
    yield (
        f"{len(both)} of {len(parts.test)} {parts.test_name} {modality.many} are near-duplicates of training "
        f"ones{names}: the metrics are too good. Fix: {fix}"
    )


def _shown(pool: Pool, rows: Sequence[int], modality: Modality) -> str:
    """The clause `, for example a.jpg and b.jpg`; empty if the inputs have no text or path."""
    shown = [pool.data.inputs[row] for row in rows]
    longest = _SHOWN if modality.name == "text" else None
    texts = [text for text in shown if isinstance(text, str) and not is_spooled(text)]
    if not texts:
        return ""
    cut = [text[:longest] + ("…" if text[longest or len(text) :] else "") for text in texts]
    return f", for example {' and '.join(map(printable, cut))}"
