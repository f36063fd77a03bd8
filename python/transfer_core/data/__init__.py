"""The data room: from folders, manifests and streams to three datasets, and from files to pixels."""

from typing import TypeAlias

from transfer_core.data.dataset import Dataset, DataSplits, Targets, Task
from transfer_core.data.decode import decode_image
from transfer_core.data.read import read_labelled, read_splits
from transfer_core.data.stream import Row

# The path of an image file, or the bytes of an encoded image.
Input: TypeAlias = str | bytes

__all__ = [
    "DataSplits",
    "Dataset",
    "Input",
    "Row",
    "Targets",
    "Task",
    "decode_image",
    "read_labelled",
    "read_splits",
]
