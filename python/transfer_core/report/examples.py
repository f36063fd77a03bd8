"""The worst predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transfer_core.report.numbers import number, shortened
from transfer_core.report.parts import Example, Examples, Section, Table


def worst(metrics: Mapping[str, Any], examples: Examples) -> Section | None:
    """The worst predictions: of the given data, or those that the metrics list."""
    if examples.worst:
        text = [f"{number(len(examples.worst))} of {number(examples.measured)} examples are shown."]
        if examples.mistakes is not None:
            first = "those with the highest probability first" if examples.certainty else "the worst first"
            text = [
                f"{number(examples.mistakes)} of {number(examples.measured)} predictions are wrong; "
                f"{number(len(examples.worst))} are shown, {first}."
            ]
        if any(one.overlay for one in examples.worst):
            text.append(
                "The second image of an example shows what contributes to the predicted class compared with "
                "the true one: red for it, blue against it."
            )
        elif any(one.contributions for one in examples.worst):
            text.append("Contributions to the prediction are listed, the largest first.")
        return Section("Worst mistakes", text, examples=examples.worst)
    listed = metrics.get("worst")
    if not listed:
        return None
    if "image" in listed[0]:
        return _worst_images(listed, examples)
    columns = ["Source", "Target", "Prediction", "chrF2"]
    rows = [
        [*(shortened(one[name]) for name in ("source", "target", "prediction")), number(one["chrf2"])]
        for one in listed[:10]
    ]
    return Section("Worst mistakes", tables=[Table("Predictions with the lowest chrF2", columns, rows)])


def unknown(examples: Examples) -> Section | None:
    """The examples that are flagged as unlike the training examples."""
    if examples.unknown is None:
        return None
    share = examples.flagged / max(1, examples.measured)
    text = (
        f"{number(examples.flagged)} of {number(examples.measured)} examples ({number(100 * share)} %) are "
        "flagged as unknown: their novelty is 0.95 or more. About 5 % of new examples like those of the "
        "training are flagged."
    )
    if examples.unknown:
        text += f" {number(len(examples.unknown))} are shown, the most novel first."
    return Section("Out-of-domain examples", [text], examples=examples.unknown)


def _worst_images(listed: list[Mapping[str, Any]], examples: Examples) -> Section:
    shown = [
        Example(
            one["image"],
            [f"Missed objects: {number(one['missed'])}", f"Wrong boxes: {number(one['wrong'])}"],
            examples.thumbnails.get(one["image"]),
        )
        for one in listed[:10]
    ]
    return Section("Worst mistakes", ["Images with the most missed objects and wrong boxes."], examples=shown)
