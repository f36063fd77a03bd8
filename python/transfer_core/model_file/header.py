"""The header of a saved model, and the checksum that shows accidental changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from transfer_core.model_file import strict_json
from transfer_core.recipe.messages import shown
from transfer_core.recipe.schema import LONGEST_NAME, MOST_NAMES, Name, Probability
from transfer_core.runtime.errors import ModelFileError

FORMAT_VERSION = 1
LONGEST_ENTRY = 50_000_000


# Targets are 32-bit numbers (`data/task.py`), and so are outputs: no value comes near these limits.
Amount: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
Value: TypeAlias = Annotated[float, Meta(ge=-1e100, le=1e100)]
Size: TypeAlias = Annotated[float, Meta(ge=0, le=1e100)]
Short: TypeAlias = Annotated[str, Meta(max_length=1000)]
Label: TypeAlias = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
Column: TypeAlias = Annotated[str, Meta(max_length=LONGEST_NAME)]


class BackboneSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where the backbone came from, and whether the file holds its tensors (`inside`).

    `weights` is the published name, a path, or `random`; `weights_digest` the sha256 of what was loaded.
    `facts` are those of a backbone that is in no catalogue of ours.
    """

    name: Name
    weights: Name
    weights_digest: Short
    fine_tuned: bool = False
    inside: bool = True
    facts: dict[str, Any] | None = None


class TargetScaling(msgspec.Struct, frozen=True):
    """A regression head answers z; the value is `mean + scale * z`, per output."""

    mean: tuple[Value, ...]
    scale: tuple[Size, ...]


class DataPart(msgspec.Struct, frozen=True):
    """So many examples, and the use of them."""

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


class ModelHeader(msgspec.Struct, frozen=True, kw_only=True):
    """All of a model but its tensors.

    `labels` are names of classes or labels, or of a regression's outputs; `label_counts` says how many
    examples of each `train` has (empty for a regression); a label is said from its probability in
    `thresholds` on; `distances` are sorted, of held-out examples: one minus the probability of the true
    class, or how far each output was from the truth; `columns` name the cells of a table's rows; `data` says
    for what each part of the examples was used; `created_at` is ISO 8601 in UTC.
    Dicts hold plain data; NaN and infinity in them are saved as null, JSON knows neither.
    """

    format_version: int = FORMAT_VERSION
    task: Literal["classification", "multi_label", "regression"]
    labels: Annotated[tuple[Label, ...], Meta(min_length=1, max_length=1_000_000)]
    label_counts: tuple[Amount, ...] = ()
    recipe: dict[str, Any]
    backbone: BackboneSource
    embedding_width: Annotated[int, Meta(ge=1, le=10_000_000)]
    modality: Literal["image", "text", "table"] = "image"
    columns: Annotated[tuple[Column, ...], Meta(max_length=MOST_NAMES)] = ()
    preprocessing: dict[str, Any]
    temperature: Annotated[float, Meta(ge=1e-3, le=1e3)] = 1.0
    thresholds: tuple[Probability, ...] = ()
    distances: tuple[tuple[Size, ...], ...] = ()
    target_scaling: TargetScaling | None = None
    metrics: dict[str, Any]
    history: tuple[dict[str, Any], ...] = ()
    sizes: dict[str, Amount] = {}
    data: DataSummary | None = None
    warnings: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    data_fingerprint: Short = ""
    created_at: Short

    def __post_init__(self) -> None:
        for problem in _contradictions(self):
            raise ValueError(problem)


def _contradictions(header: ModelHeader) -> Iterator[str]:
    """The rules between fields that do not hold."""
    labels = len(header.labels)
    if len(set(header.labels)) < labels:
        twice = next(name for name, count in Counter(header.labels).items() if count > 1)
        yield f"labels: {shown(twice)} is there twice"
    for name, values in (("label_counts", header.label_counts), ("thresholds", header.thresholds)):
        if len(values) not in (0, labels):
            yield f"{name}: expected {labels} values, one for each label, or none (got {len(values)})"
    scaling = header.target_scaling or TargetScaling((), ())
    if header.task == "regression" and not len(scaling.mean) == len(scaling.scale) == labels:
        yield "target_scaling: a regression has a mean and a scale for each of its labels"
    lists = {"classification": 1, "regression": labels}.get(header.task, 0)
    if len(header.distances) not in (0, lists):
        yield f"distances: expected {lists} lists, or none (got {len(header.distances)})"
    if any(list(distances) != sorted(distances) for distances in header.distances):
        yield "distances: expected sorted numbers"


class _Version(msgspec.Struct):
    """The fields that are read before the others."""

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
    if end != sha256(checked.encode()).hexdigest() + '"}':
        raise ModelFileError(f"{path} is damaged: its header is not the one that was saved")
    try:
        return strict_json.typed(text, ModelHeader), version.tensors_sha256
    except ValueError as error:
        raise ModelFileError(f"{path} can't be used: {error}") from error
