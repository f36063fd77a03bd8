"""Selection of backbones and of examples to label, computed from embeddings; no torch here."""
