"""Check that a resumed run matches the original recipe, data and versions."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from transfer_core.data import DataSplits
from transfer_core.data.bad_input import printable
from transfer_core.recipe.parser import parse_recipe
from transfer_core.recipe.schema import PathSource, Recipe, Source, Splits, StreamSource, to_plain
from transfer_core.runs import RunFacts, RunFolder
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.version import library_versions

_BYTES = 8
_NAMED = 3
# Words of a recipe that hold data of other domains.
_DOMAINS = ("source", "unlabelled")


def stored(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as plain data with absolute paths."""
    weights = os.path.expanduser(recipe.weights)
    if os.path.isfile(weights) and not weights.isidentifier():  # otherwise a published name
        recipe = msgspec.structs.replace(recipe, weights=os.path.abspath(weights))
    if recipe.start:
        recipe = msgspec.structs.replace(recipe, start=os.path.abspath(os.path.expanduser(recipe.start)))
    domains = {word: _absolute(part) for word in _DOMAINS if (part := getattr(recipe, word))}
    return to_plain(msgspec.structs.replace(recipe, data=_absolute(recipe.data), **domains))


def stored_recipe(folder: RunFolder, data: Any) -> Recipe:
    """Return the recipe of a run, with `data`, plain, in place of its own if given.

    Raises
    ------
    DataError
        If the run was given rows, which are not stored, and `data` is None.
    """
    kept = folder.recipe
    recipe = parse_recipe(kept if data is None else {**kept, "data": data})
    if any(_has_rows(part) for word in _DOMAINS if (part := getattr(recipe, word))):
        raise DataError(
            f"the source or unlabelled data of the run {folder.id} are rows, which are not stored. "
            "Fix: start a new training, or give them as a file"
        )
    if data is None and _has_rows(recipe.data):
        raise DataError(
            f"the data of the run {folder.id} are rows, which are not stored. Fix: give them again "
            f'(Transfer.resume("{folder.id}", data: rows))'
        )
    return recipe


def agree(folder: RunFolder, recipe: Recipe, splits: DataSplits, progress: Progress) -> None:
    """Check examples and versions of a resumed run, or store those of a new one.

    Other versions of libraries are a warning.

    Raises
    ------
    DataError
        If the examples have changed.
    """
    facts, versions = folder.facts, library_versions()
    if facts.examples is not None:
        refuse_other_examples(facts.examples, splits, folder.id)
    if changed := [name for name in versions if facts.versions.get(name) != versions[name]]:
        then, now = (
            ", ".join(f"{name} {these.get(name, 'unknown')}" for name in changed)
            for these in (facts.versions, versions)
        )
        progress.warning(
            f"this run began with {then} and continues with {now}: the result may differ in its last digits"
        )
    folder.write(
        RunFacts(
            recipe=stored(recipe),
            versions=facts.versions,
            created_at=facts.created_at,
            examples=examples_of(splits),
        )
    )


def data_fingerprint(splits: DataSplits) -> str:
    """Return the SHA-256 of the digests and targets of the examples, by part."""
    digest = hashlib.sha256()
    for part in (splits.train, splits.valid, splits.test):
        for image, target in zip(part.digests, part.targets.tolist(), strict=True):
            digest.update(f"{image} {target}\n".encode())
        digest.update(b"\n")
    return digest.hexdigest()


def examples_of(splits: DataSplits) -> str:
    """Return 16 hex digits per example, in order, from the bytes of its input, its target and its part."""
    return "".join(token for token, _ in _tokens(splits))


def refuse_other_examples(before: str, splits: DataSplits, run: str) -> None:
    """Raise `DataError` unless `splits` are the examples of `before`, a result of `examples_of`."""
    now = list(_tokens(splits))
    if before == "".join(token for token, _ in now):
        return
    width = 2 * _BYTES
    missing = Counter(before[start : start + width] for start in range(0, len(before), width))
    missing.subtract(token for token, _ in now)
    unknown = [printable(path) for token, path in now if missing[token] < 0]
    lost = sum(count for count in missing.values() if count > 0)
    names = ", ".join(unknown[:_NAMED]) + (", …" if len(unknown) > _NAMED else "")
    if unknown:
        what = f"{len(unknown)} of the examples have changed ({names})"
        what += f", and {lost} of the original examples are missing" if lost else ""
    else:
        what = f"{lost} of the original examples are missing" if lost else "their order differs"
    raise DataError(
        f"the data has changed since the run {run} began: {what}. "
        "Fix: restore the data, or start a new training"
    )


def _absolute(source: Source) -> Source:
    if isinstance(source, PathSource):
        return PathSource(os.path.abspath(os.path.expanduser(source.path)))
    if isinstance(source, StreamSource):
        return source
    parts = {name: _absolute(part) for name, part in msgspec.structs.asdict(source).items() if part}
    return Splits(**parts)  # type: ignore[arg-type]


def _has_rows(source: Source) -> bool:
    if isinstance(source, Splits):
        return any(isinstance(part, StreamSource) for part in (source.train, source.valid, source.test))
    return isinstance(source, StreamSource)


def _tokens(splits: DataSplits) -> Iterator[tuple[str, str]]:
    for name, part in (("train", splits.train), ("valid", splits.valid), ("test", splits.test)):
        columns = part.inputs, part.digests, part.targets.tolist(), part.subgroups
        for path, image, target, subgroup in zip(*columns, strict=True):
            label = splits.task.describe(target, splits.labels)
            facts = f"{name} {image} {label}" if subgroup is None else f"{name} {image} {label} {subgroup}"
            token = hashlib.sha256(facts.encode()).digest()[:_BYTES]
            yield token.hex(), path
    if splits.domains:
        unlabelled = splits.domains.unlabelled
        for path, image in zip(unlabelled.inputs, unlabelled.digests, strict=True):
            yield hashlib.sha256(f"unlabelled {image}".encode()).digest()[:_BYTES].hex(), path
