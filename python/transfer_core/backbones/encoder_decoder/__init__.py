"""Encoder-decoder networks for text generation: layers, tokenizers, and their description in a saved model."""
