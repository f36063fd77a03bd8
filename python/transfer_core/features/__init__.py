"""Embeddings of frozen backbones, each computed once. No torch here before an engine needs it."""

from transfer_core.features.extractor import (
    Extractor,
    ImageExtractor,
    build_extractor,
    embedded_batches,
    image_extractor,
)
from transfer_core.features.features import Features, Views, embed_dataset
from transfer_core.features.fitted import fit_backbone
from transfer_core.features.loading import Load, Loaded, load_batches
from transfer_core.features.pixels import Pixels, load_augmented_pixels, load_pixels
from transfer_core.features.store import FeatureStore

__all__ = [
    "Extractor",
    "FeatureStore",
    "Features",
    "ImageExtractor",
    "Load",
    "Loaded",
    "Pixels",
    "Views",
    "build_extractor",
    "embed_dataset",
    "embedded_batches",
    "fit_backbone",
    "image_extractor",
    "load_augmented_pixels",
    "load_batches",
    "load_pixels",
]
