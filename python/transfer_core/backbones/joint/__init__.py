"""Several backbones whose embeddings are concatenated."""
