"""Read folders, manifests and streams into training, validation and test datasets; decode images."""

from typing import Any, TypeAlias

from transfer_core.data.dataset import Dataset, DataSplits
from transfer_core.data.decode import decode_image
from transfer_core.data.labelling import Labelling, Strata, Targets
from transfer_core.data.modality import MODALITIES, Modality
from transfer_core.data.read import emit_data_warnings, left_over, read_labelled, read_splits, resplit
from transfer_core.data.stream import Row
from transfer_core.data.usable import naming_all

# The path of an image file, or the bytes of an encoded image; a text or a pair of texts; a row of a table.
Input: TypeAlias = str | bytes | tuple[Any, ...]

__all__ = [
    "MODALITIES",
    "DataSplits",
    "Dataset",
    "Input",
    "Labelling",
    "Modality",
    "Row",
    "Strata",
    "Targets",
    "decode_image",
    "emit_data_warnings",
    "left_over",
    "naming_all",
    "read_labelled",
    "read_splits",
    "resplit",
]
