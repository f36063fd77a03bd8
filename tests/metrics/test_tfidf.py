"""TF-IDF with logistic regression, the baseline of texts."""

import numpy as np
import sklearn.linear_model  # noqa: F401, its threads leave variables behind when they are first imported

from transfer_core.metrics.tfidf import tfidf_metrics


def test_a_regression_of_too_many_weights_is_not_fitted():
    """600 texts of 400 words of their own, in 300 classes: 140 million weights."""
    texts = [" ".join(f"w{number}x{k}" for k in range(400)) for number in range(600)]
    classes = np.arange(600) % 300
    assert tfidf_metrics(texts, classes, texts[:10], classes[:10]) == {}
