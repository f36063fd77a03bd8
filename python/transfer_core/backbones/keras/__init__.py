"""Keras' models as torch's own layers with the same weights; `source` comes first."""
