"""Metrics of generated texts against references: BLEU and chrF2 by sacrebleu, ROUGE, exact matches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from transfer_core.data.placeholders import changed_placeholders, placeholders
from transfer_core.metrics.bootstrap import interval
from transfer_core.metrics.rouge import rouge
from transfer_core.runtime.errors import DependencyError

# Sentences that are listed as the worst, and characters of each.
_WORST, _SHOWN = 10, 500
_RESAMPLES = 1000

# From outputs and references to the metrics of all of them.
Measure: TypeAlias = Callable[[Sequence[str], Sequence[str]], dict[str, float]]


def translation_metrics(
    predictions: Sequence[str],
    references: Sequence[str],
    sources: Sequence[str],
    untuned: Sequence[str] | None,
    seed: int,
) -> dict[str, Any]:
    """BLEU (Papineni et al. 2002) and chrF2 (Popović 2015), both 0 to 100, as sacrebleu computes them.

    Parameters
    ----------
    predictions, references, sources
        N texts each.
    untuned
        Outputs of the model before the training; None if they are not known.
    seed
        Of the bootstrap.

    Returns
    -------
    dict
        `chrf2`, `bleu`, `exact_match`; `intervals` (95 %, bootstrap); `baseline`, which copies the source;
        `untuned`; `placeholders`, if sources have any: the share of such `examples` whose output has the same
        (`kept`, `untuned`); `signatures` of sacrebleu; `worst`, the predictions with the lowest chrF2.

    Raises
    ------
    DependencyError
        Without sacrebleu.
    """
    scorers = _scorers()
    found: dict[str, Any] = {}
    intervals, signatures = {}, {}
    for name, scorer in scorers.items():
        found[name] = float(scorer.corpus_score(list(predictions), [list(references)]).score)
        intervals[name] = _interval(scorer, predictions, references, seed)
        signatures[name] = f"{scorer.get_signature()}|bs:{_RESAMPLES}|seed:{seed}"

    def measure(texts: Sequence[str], truth: Sequence[str]) -> dict[str, float]:
        return {
            name: float(scorer.corpus_score(list(texts), [list(truth)]).score)
            for name, scorer in _scorers().items()
        }

    found |= _common(predictions, references)
    found["intervals"] = intervals
    found |= _compared(measure, references, sources, untuned)
    found |= _placeholders(predictions, sources, untuned)
    return found | {"signatures": signatures, "worst": _worst(predictions, references, sources)}


def text_metrics(
    predictions: Sequence[str],
    references: Sequence[str],
    sources: Sequence[str],
    untuned: Sequence[str] | None,
    seed: int,
) -> dict[str, Any]:
    """ROUGE-1, -2 and -L (Lin 2004; F1, 0 to 1), exact matches and chrF2 of generated texts.

    Parameters
    ----------
    predictions, references, sources, untuned, seed
        See `translation_metrics`.

    Returns
    -------
    dict
        `rouge_l`, `rouge1`, `rouge2`, `exact_match`, `chrf2`, and `intervals`, `baseline`, `untuned`,
        `placeholders`, `worst` as in `translation_metrics`.

    Raises
    ------
    DependencyError
        Without sacrebleu.
    """
    chrf = _scorers()["chrf2"]

    def measure(texts: Sequence[str], truth: Sequence[str]) -> dict[str, float]:
        means = rouge(texts, truth).mean(axis=0)
        return {name: float(mean) for name, mean in zip(_ROUGE, means, strict=True)}

    rows = rouge(predictions, references)
    draws = np.random.default_rng(seed).integers(len(rows), size=(_RESAMPLES, len(rows)))
    found: dict[str, Any] = measure(predictions, references)
    found |= _common(predictions, references)
    found["chrf2"] = float(chrf.corpus_score(list(predictions), [list(references)]).score)
    found["intervals"] = {
        name: interval(column[draws].mean(axis=1)) for name, column in zip(_ROUGE, rows.T, strict=True)
    }
    found |= _compared(measure, references, sources, untuned)
    found |= _placeholders(predictions, sources, untuned)
    return found | {"worst": _worst(predictions, references, sources)}


_ROUGE = ("rouge_l", "rouge1", "rouge2")


def check_scorers() -> None:
    """Raise `DependencyError` without sacrebleu."""
    _scorers()


def _scorers() -> dict[str, Any]:
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        raise DependencyError("measuring generated texts", "sacrebleu", "translation") from None
    return {"chrf2": CHRF(), "bleu": BLEU()}


def _interval(scorer: Any, predictions: Sequence[str], references: Sequence[str], seed: int) -> list[float]:
    """Bootstrap interval from sacrebleu's statistics of each sentence.

    Not by its own bootstrap, which fails where a resample has the score 0 (2.6.0).
    """
    statistics = np.array(scorer._extract_corpus_statistics(list(predictions), [list(references)]))
    draw = np.random.default_rng(seed)
    sums = (
        statistics[draw.integers(len(statistics), size=len(statistics))].sum(axis=0)
        for _ in range(_RESAMPLES)
    )
    return interval([float(scorer._compute_score_from_stats(total.tolist()).score) for total in sums])


def _common(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    equal = [found.strip() == wanted.strip() for found, wanted in zip(predictions, references, strict=True)]
    return {"exact_match": float(np.mean(equal)), "examples": len(equal)}


def _placeholders(
    predictions: Sequence[str], sources: Sequence[str], untuned: Sequence[str] | None
) -> dict[str, Any]:
    rows = [row for row, source in enumerate(sources) if placeholders(source)]
    if not rows:
        return {}
    texts = {"kept": predictions, **({} if untuned is None else {"untuned": untuned})}
    shares = {
        name: float(np.mean([not changed_placeholders(sources[row], some[row]) for row in rows]))
        for name, some in texts.items()
    }
    return {"placeholders": {"examples": len(rows), **shares}}


def _compared(
    measure: Measure, references: Sequence[str], sources: Sequence[str], untuned: Sequence[str] | None
) -> dict[str, Any]:
    found: dict[str, Any] = {"baseline": measure(sources, references)}
    return found if untuned is None else found | {"untuned": measure(untuned, references)}


def _worst(
    predictions: Sequence[str], references: Sequence[str], sources: Sequence[str]
) -> list[dict[str, Any]]:
    scorer = _scorers()["chrf2"]
    pairs = zip(predictions, references, strict=True)
    scores = [float(scorer.sentence_score(found, [wanted]).score) for found, wanted in pairs]
    order = sorted(range(len(scores)), key=lambda number: (scores[number], number))[:_WORST]
    return [
        {
            "source": sources[number][:_SHOWN],
            "target": references[number][:_SHOWN],
            "prediction": predictions[number][:_SHOWN],
            "chrf2": scores[number],
        }
        for number in order
    ]
