"""Encoders of texts and of images from the Hugging Face hub; `huggingface_source` comes first."""
