"""Two domains: the model compared with those of one domain alone, and weights of source examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transfer_core.report.charts import Bar, bar_chart
from transfer_core.report.numbers import number, shortened, title_of
from transfer_core.report.parts import Section, Table

_HEADS = {"source_only": "Head fitted on the source alone", "target_only": "Head fitted on the target alone"}


def domains(metrics: Mapping[str, Any], summary: Mapping[str, Any]) -> Section | None:
    """The gain of a training on two domains, and its most and least useful source examples."""
    weights, figures, tables = summary.get("instance_weights"), [], []
    compared = {_HEADS[name]: metrics[name] for name in _HEADS if metrics.get(name)}
    if compared:
        names = list(next(iter(compared.values())))
        models = {"This model": metrics, **compared}
        rows = [[title, *(number(found[name]) for name in names)] for title, found in models.items()]
        tables.append(Table("Metrics on the target domain", ["Head", *map(title_of, names)], rows))
        bars = [Bar(title, found[names[0]]) for title, found in models.items() if found[names[0]] >= 0]
        caption = f"{title_of(names[0])} on the target domain"
        figures = [(caption, bar_chart(bars, caption))] if bars else []
    text = []
    if weights:
        text.append(
            f"The {number(weights['examples'])} weighted source examples count as much as "
            f"{number(weights['effective'])} equally weighted ones."
        )
        for ends, caption in (("most", "Most useful source examples"), ("least", "Least useful ones")):
            chosen = [(shortened(one["input"]), number(one["weight"])) for one in weights[ends][:10]]
            tables.append(Table(caption, ["Input", "Weight"], chosen))
    return Section("Adaptation", text, figures, tables) if tables else None
