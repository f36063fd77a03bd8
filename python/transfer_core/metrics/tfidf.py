"""Bag-of-words baseline for texts: TF-IDF with logistic regression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transfer_core.runtime.errors import DependencyError

Texts = Sequence[str | tuple[str, str]]
# Terms × classes: 400 MB of weights, and a multiple of that during the fit.
MOST_WEIGHTS = 50_000_000


def tfidf_metrics(
    train: Texts, train_targets: npt.ArrayLike, test: Texts, test_targets: npt.ArrayLike
) -> dict[str, float]:
    """Accuracy and macro-F1 of a logistic regression on TF-IDF features.

    Features are unigrams and bigrams, log(1 + count) · idf, each text scaled to length 1:
    scikit-learn's `TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)` and `LogisticRegression()`.

    Parameters
    ----------
    train, test
        N and M texts; a pair of texts is concatenated.
    train_targets, test_targets
        (N,) and (M,) class indices.

    Returns
    -------
    `tfidf_accuracy` and `tfidf_macro_f1`; empty if the texts have no words, or the regression would have more
    than `MOST_WEIGHTS` weights.

    Raises
    ------
    DependencyError
        If scikit-learn is missing.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import f1_score
    except ImportError:
        raise DependencyError(
            "TF-IDF with logistic regression, the baseline,", "scikit-learn", "sklearn"
        ) from None
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    try:
        features = vectorizer.fit_transform(map(_joined, train))
    except ValueError:  # no text has a word of two letters
        return {}
    if features.shape[1] * (1 + np.max(train_targets)) > MOST_WEIGHTS:
        return {}
    classifier = LogisticRegression(max_iter=1000).fit(features, np.asarray(train_targets))
    predicted = classifier.predict(vectorizer.transform(map(_joined, test)))
    truth = np.asarray(test_targets)
    macro_f1 = f1_score(truth, predicted, average="macro", zero_division=0)
    return {"tfidf_accuracy": float((predicted == truth).mean()), "tfidf_macro_f1": float(macro_f1)}


def _joined(text: str | tuple[str, str]) -> str:
    return text if isinstance(text, str) else " ".join(text)
