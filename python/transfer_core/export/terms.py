"""Terms of texts as inputs of a graph, and their counts as by scikit-learn's vectorizers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from transfer_core.export.operators import Graph, Value
from transfer_core.export.transformers import through
from transfer_core.runtime.errors import ConfigurationError

TOKENS, SECOND = "tokens", "tokens_2"


def terms_embedding(graph: Graph, paired: bool, estimators: Sequence[Any]) -> Value:
    """Declare the inputs of terms and embed the texts, (N, D) float64; both texts of a pair side by side."""
    vectorizer, *others = estimators
    if type(vectorizer).__name__ not in ("CountVectorizer", "TfidfVectorizer"):
        raise ConfigurationError(
            f"sklearn:{type(vectorizer).__name__} can't be exported: no operator hashes texts as it does. "
            "Fix: train with sklearn:TfidfVectorizer"
        )
    parts = []
    for name in (TOKENS, SECOND) if paired else (TOKENS,):
        counts = _counts(graph.input(name, np.dtype("O"), ["N", "L"]), vectorizer)
        weights = [vectorizer._tfidf] if hasattr(vectorizer, "_tfidf") else []
        parts.append(through(counts, [*weights, *others]))
    return parts[0].joined(*parts[1:], axis=1)


def _counts(tokens: Value, vectorizer: Any) -> Value:
    """How often each term of the vocabulary occurs, (N, terms)."""
    by_length: dict[int, list[tuple[list[str], int]]] = defaultdict(list)
    for term, index in vectorizer.vocabulary_.items():
        parts = _parts(term, vectorizer)
        by_length[len(parts)].append((parts, int(index)))
    longest = max(by_length)
    pool: list[str] = []
    starts, indices = [], []
    for length in range(1, longest + 1):
        starts.append(len(pool))
        for parts, index in by_length[length]:
            pool += parts
            indices.append(index)
    counts = tokens.apply(
        "TfIdfVectorizer",
        dtype=np.float32,
        mode="TF",
        min_gram_length=min(by_length),
        max_gram_length=longest,
        max_skip_count=0,
        ngram_counts=starts,
        ngram_indexes=indices,
        pool_strings=pool,
    ).cast(np.float64)
    return counts.apply("Min", 1.0) if vectorizer.binary else counts


def _parts(term: str, vectorizer: Any) -> list[str]:
    """The tokens of a term."""
    if vectorizer.analyzer != "word":
        return list(term)
    most = vectorizer.ngram_range[1]
    parts = [term] if most == 1 else term.split(" ")
    if len(parts) > most:
        raise ConfigurationError(
            f"the term {term!r} of the vectorizer contains spaces, so that its words are ambiguous. "
            "Fix: train with a token_pattern without spaces"
        )
    return parts
