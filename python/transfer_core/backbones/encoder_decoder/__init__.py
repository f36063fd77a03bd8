"""Encoder-decoders: their layers, their tokenizers, and their description in a saved model."""
