"""Keras' models as torch's own layers with the same weights; `keras_source` comes first."""
