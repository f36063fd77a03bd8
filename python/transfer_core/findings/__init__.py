"""Findings about labelled data, one file per kind: methods on labels, digests, embeddings and columns."""
