"""Encoders of texts and of images from the Hugging Face hub; `source` comes first."""
