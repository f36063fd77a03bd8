"""The header of a saved model, and the checksum that shows accidental changes."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from transfer_core.model_file import strict_json
from transfer_core.recipe.fields import LONGEST_NAME, MOST_NAMES, Name
from transfer_core.recipe.messages import shown
from transfer_core.runtime.errors import ModelFileError

FORMAT_VERSION = 2
LONGEST_ENTRY = 50_000_000


Amount: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
Short: TypeAlias = Annotated[str, Meta(max_length=1000)]
Label: TypeAlias = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
Column: TypeAlias = Annotated[str, Meta(max_length=LONGEST_NAME)]


class BackboneSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where the backbone came from, and whether the file holds its tensors (`inside`).

    `weights` is the published name, a path, or `random`; `weights_digest` the sha256 of what was loaded.
    `facts` are those of a backbone that is in no catalogue of ours. `members` are those of several backbones
    whose embeddings are concatenated.
    """

    name: Name
    weights: Name
    weights_digest: Short
    fine_tuned: bool = False
    inside: bool = True
    facts: dict[str, Any] | None = None
    members: Annotated[tuple[Member, ...], Meta(max_length=8)] = ()


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One of several backbones: see `BackboneSource`, and its preprocessing."""

    name: Name
    weights: Name
    weights_digest: Short
    facts: dict[str, Any] | None = None
    preprocessing: dict[str, Any]


class DataPart(msgspec.Struct, frozen=True):
    """Number of examples of a part of the data, and their use."""

    name: Short
    examples: Amount
    use: Short


class DataSummary(msgspec.Struct, frozen=True):
    """All `examples` that were found, in `parts` that add up to them; how many were `fitted`, `calibrated`
    on, and `measured`. `calibrated_by` is `cross-validation` or the name of a part."""

    examples: Amount
    parts: Annotated[tuple[DataPart, ...], Meta(max_length=10)]
    fitted: Amount
    calibrated: Amount
    calibrated_by: Short
    measured: Amount
    near_duplicates: Amount = 0


class InstanceWeight(msgspec.Struct, frozen=True):
    """The weight of a source example: a path, or the beginning of a text or row."""

    input: Annotated[str, Meta(max_length=LONGEST_NAME)]
    weight: Annotated[float, Meta(ge=0, le=1e6)]


# Source examples that a file lists at either end.
MOST_WEIGHTS = 500
SomeWeights: TypeAlias = Annotated[tuple[InstanceWeight, ...], Meta(max_length=MOST_WEIGHTS)]


class InstanceWeights(msgspec.Struct, frozen=True):
    """Weights of source examples, of mean 1: their number, the `effective` number of equally weighted ones,
    and the 500 with the largest (`most`) and the smallest weights (`least`), in this order."""

    method: Short
    examples: Amount
    effective: Annotated[float, Meta(ge=0)]
    most: SomeWeights
    least: SomeWeights


class ModelHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of a saved model except its tensors.

    Parameters
    ----------
    task, labels
        The task, and the names of its outputs.
    state
        Statistics of the training targets and calibration, tagged with the task and checked by
        `tasks.read_state`.
    columns
        Names of the cells of a table's rows.
    data
        The use of each part of the examples.
    seconds
        Duration of each step up to the evaluation; empty if `created_at` is from `SOURCE_DATE_EPOCH`.
    created_at
        ISO 8601 in UTC.

    Dicts hold plain data; NaN and infinity in them are saved as null, as JSON has neither.
    """

    format_version: int = FORMAT_VERSION
    task: Short
    labels: Annotated[tuple[Label, ...], Meta(min_length=1, max_length=1_000_000)]
    state: dict[str, Any]
    recipe: dict[str, Any]
    backbone: BackboneSource
    embedding_width: Annotated[int, Meta(ge=1, le=10_000_000)]
    modality: Literal["image", "text", "table"] = "image"
    columns: Annotated[tuple[Column, ...], Meta(max_length=MOST_NAMES)] = ()
    preprocessing: dict[str, Any]
    metrics: dict[str, Any]
    history: tuple[dict[str, Any], ...] = ()
    sizes: dict[str, Amount] = {}
    data: DataSummary | None = None
    instance_weights: InstanceWeights | None = None
    warnings: tuple[str, ...] = ()
    seconds: dict[str, Annotated[float, Meta(ge=0)]] = {}
    versions: dict[str, str] = {}
    data_fingerprint: Short = ""
    created_at: Short

    def __post_init__(self) -> None:
        if len(set(self.labels)) < len(self.labels):
            twice = next(name for name, count in Counter(self.labels).items() if count > 1)
            raise ValueError(f"labels: {shown(twice)} is there twice")


class _Version(msgspec.Struct):
    """Fields that are decoded before the others."""

    format_version: Annotated[int, Meta(ge=1)]
    tensors_sha256: str = ""


def content_digest(entry: str) -> str:
    """Hex sha256 of a model's content: the entry contains the digest of the tensors."""
    return sha256(entry.encode()).hexdigest()


def encode_entry(header: ModelHeader, tensors_sha256: str) -> str:
    """The header as JSON, with the checksum of the tensors, then the checksum of all characters before it."""
    try:
        fields = msgspec.json.encode(header)
        strict_json.decode(fields, ModelHeader)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"this header can't be saved: {error}") from error
    checked = fields[:-1] + f',"tensors_sha256":"{tensors_sha256}"'.encode()
    entry = checked + f',"sha256":"{sha256(checked).hexdigest()}"}}'.encode()
    if len(entry) > LONGEST_ENTRY:
        raise ModelFileError(
            f"this header can't be saved: it has {len(entry):,} bytes, at most {LONGEST_ENTRY:,} fit; "
            "a confusion matrix of very many labels is the usual cause"
        )
    return entry.decode()


def decode_entry(entry: str, path: str | Path) -> tuple[ModelHeader, str]:
    """The header and the checksum of the tensors; raises `ModelFileError` if one character changed."""
    checked, _, end = entry.rpartition(',"sha256":"')
    text = entry.encode()
    try:
        if len(text) > LONGEST_ENTRY:
            raise ValueError(f"its header has {len(text):,} bytes, expected at most {LONGEST_ENTRY:,}")
        version = strict_json.decode(text, _Version)
    except ValueError as error:
        raise ModelFileError(f"{path} is damaged: {error}") from error
    if version.format_version > FORMAT_VERSION:
        raise ModelFileError(
            f"{path} was saved by a newer version (format {version.format_version}); "
            f"this version reads up to {FORMAT_VERSION}: upgrade transfer-rb"
        )
    if version.format_version < FORMAT_VERSION:
        raise ModelFileError(
            f"{path} was saved by a version before the first release (format {version.format_version}). "
            "Fix: train the model again"
        )
    if end != sha256(checked.encode()).hexdigest() + '"}':
        raise ModelFileError(f"{path} is damaged: its header is not the one that was saved")
    try:
        return strict_json.typed(text, ModelHeader), version.tensors_sha256
    except ValueError as error:
        raise ModelFileError(f"{path} can't be used: {error}") from error
