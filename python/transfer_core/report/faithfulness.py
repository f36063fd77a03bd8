"""Faithfulness of explanations compared with a random order."""

from __future__ import annotations

from transfer_core.report.numbers import number
from transfer_core.report.parts import Examples, Section, Table

_TITLE = "Faithfulness of explanations"


def faithfulness(examples: Examples) -> Section | None:
    """Deletion and insertion beside a random order, and the correlation with a shuffled head."""
    found = examples.faithfulness
    if found is None:
        return None
    if found.measures is None:
        text = (
            f"Not measured: it would take about {number(round(found.seconds))} seconds. "
            "Try: model.faithfulness with fewer inputs."
        )
        return Section(_TITLE, [text])
    measures = found.measures
    both = "holds" if measures["better_than_random"] else "does not hold, so don't rely on this method"
    text = (
        f"The probability of the predicted label was measured while parts of {number(measures['inputs'])} "
        f"inputs were removed (deletion) and added (insertion), the most important first. Explanations "
        f"(method {measures['method']}) are faithful if deletion is lower and insertion higher than in a "
        f"random order: this {both}."
    )
    rows = [
        (name.capitalize(), number(measures[name]), number(measures[f"random_{name}"]))
        for name in ("deletion", "insertion")
    ]
    texts = [text]
    if measures["randomized"] is not None:
        texts.append(
            f"The mean correlation with explanations of a head with shuffled weights is "
            f"{number(measures['randomized'])}: near 1, explanations do not depend on the head."
        )
    caption = "Mean probability of the predicted label"
    return Section(_TITLE, texts, tables=[Table(caption, ["Measure", "Explanation", "Random order"], rows)])
