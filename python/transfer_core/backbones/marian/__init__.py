"""Translators in Marian's own binary format."""
