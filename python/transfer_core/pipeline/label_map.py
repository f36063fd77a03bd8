"""Propose which labels of a source domain stand for which labels of the target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from transfer_core.data import Row
from transfer_core.kinds.affinity import label_affinity
from transfer_core.pipeline.compare_domains import embedded_domains
from transfer_core.recipe.messages import shown
from transfer_core.recipe.schema import Recipe
from transfer_core.runtime.errors import DataError, Problem, RecipeError, did_you_mean
from transfer_core.runtime.progress import Progress


@dataclass(frozen=True)
class LabelPair:
    """A label of the source with `examples`, and the target's label that it stands for.

    `affinity` is the cosine of both prototypes; `second` the next best label, with `second_affinity`.
    """

    source: str
    target: str
    affinity: float
    second: str
    second_affinity: float
    examples: int


@dataclass(frozen=True)
class LabelMap:
    """A table of `pairs`, one per label of the source; `labels` are those of the target.

    `str()` is the table, `names` what the word `map_labels` of a recipe takes.
    """

    pairs: tuple[LabelPair, ...]
    labels: tuple[str, ...]

    @property
    def names(self) -> dict[str, str]:
        """Label of the source to label of the target, without equal ones."""
        return {pair.source: pair.target for pair in self.pairs if pair.source != pair.target}

    def corrected(self, names: Mapping[str, str]) -> LabelMap:
        """Replace the target's label of some labels of the source.

        Raises
        ------
        RecipeError
            If a domain has no such label.
        """
        sources = [pair.source for pair in self.pairs]
        for known, given in ((sources, names), (self.labels, names.values())):
            for name in given:
                if name not in known:
                    message = f"there is no label {shown(name)}{did_you_mean(name, list(known))}"
                    raise RecipeError([Problem("map_labels", message)])
        pairs = tuple(replace(pair, target=names.get(pair.source, pair.target)) for pair in self.pairs)
        return replace(self, pairs=pairs)

    def to_dict(self) -> dict[str, Any]:
        """The table as plain data."""
        return {"pairs": [asdict(pair) for pair in self.pairs], "labels": list(self.labels)}

    def __str__(self) -> str:
        header = ("source", "target", "affinity", "second", "affinity", "examples")
        rows = [
            (
                pair.source,
                pair.target,
                f"{pair.affinity:.2f}",
                pair.second,
                f"{pair.second_affinity:.2f}",
                str(pair.examples),
            )
            for pair in self.pairs
        ]
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        lines = (
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            for row in (header, *rows)
        )
        return "\n".join(line.rstrip() for line in lines)


def map_labels(
    recipe: Recipe, streams: Mapping[str, Iterable[Row]], progress: Progress = Progress()
) -> LabelMap:
    """Pair each label of `source` with the label of `data` whose prototype is nearest; equal names are pairs.

    Raises
    ------
    TransferError
        If a domain is missing, can't be read, or has fewer than two labels, or the backbone is unknown.
    """
    rows, _, labels = embedded_domains(recipe, streams, progress)
    labelled = [
        [(row, label) for row, label in zip(*side, strict=True) if label is not None]
        for side in zip(rows, labels, strict=True)
    ]
    for name, side in zip(("source", "target"), labelled, strict=True):
        several = len({label for _, label in side})
        if several < 2:
            raise DataError(f"the {name} needs two labels or more to be mapped (got {several})")
    (first, first_labels), (second, second_labels) = (tuple(zip(*side, strict=True)) for side in labelled)
    found = label_affinity(first, first_labels, second, second_labels)
    counts = Counter(first_labels)
    pairs = []
    for label, cosines in zip(found.source, found.cosines, strict=True):
        order = sorted(range(len(cosines)), key=lambda i: (found.target[i] != label, -cosines[i]))
        best, second_best = order[:2]
        pairs.append(
            LabelPair(
                label,
                found.target[best],
                float(cosines[best]),
                found.target[second_best],
                float(cosines[second_best]),
                counts[label],
            )
        )
    return LabelMap(tuple(pairs), found.target)
