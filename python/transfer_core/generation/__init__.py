"""Text generation with an encoder-decoder: greedy decoding, beam search, batches of sources."""

from transfer_core.generation.generator import TextGenerator
from transfer_core.generation.hypothesis import Hypothesis

__all__ = ["Hypothesis", "TextGenerator"]
