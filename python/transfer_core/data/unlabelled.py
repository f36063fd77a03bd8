"""Inputs without labels of a folder, a bucket, a manifest or a stream, one after the other."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from transfer_core.data.bad_input import escaped, explain, printable
from transfer_core.data.example import Example
from transfer_core.data.folder import images_below
from transfer_core.data.manifest import read_manifest
from transfer_core.data.modality import Modality
from transfer_core.data.remote import is_url, remote_file, remote_images
from transfer_core.data.stream import Row, read_stream
from transfer_core.recipe.schema import Columns
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.temp_dir import is_spooled


@dataclass(frozen=True)
class Unlabelled:
    """An input that is read when it is needed.

    Attributes
    ----------
    name
        The path of an image, the text, or the name of a row.
    version
        Changes with the content, without reading it: for a file its size and time of change.
    read
        Reads the input in the form of `Model.predict`; raises `DataError`.
    """

    name: str
    version: str
    read: Callable[[], Any]


def unlabelled(
    data: str | Iterable[Row], modality: Modality, columns: Columns, spool: Path
) -> Iterator[Unlabelled]:
    """Yield the inputs of a source in an order that depends on the source alone.

    One input is in memory at a time, whatever the size of the source. Rows that can't be used are inputs
    whose `read` raises.

    Parameters
    ----------
    data
        A folder of images or its URL (`s3://bucket/photos`), a manifest or its URL, or rows `{"input": …}`.
    modality
        Kind of input.
    columns
        The input columns of a manifest.
    spool
        Directory for images given as bytes and for a manifest of a URL; its content may be removed once the
        inputs so far are read.

    Raises
    ------
    DataError
        The source doesn't exist or is no folder or manifest, or a manifest is malformed.
    DependencyError
        The package for the URL's protocol is missing.
    """
    if not isinstance(data, str):
        yield from (_of(one, modality) for one in read_stream(data, modality, spool, labels="none"))
        return
    if is_url(data) and modality.name == "image" and not _is_manifest(data):
        yield from (Unlabelled(one.url, one.version, one.read) for one in remote_images(data))
        return
    path = remote_file(data, spool) if is_url(data) else os.path.expanduser(data)
    if not os.path.exists(path):
        raise DataError(f"{printable(path)} does not exist", escaped(path))
    if os.path.isdir(path):
        yield from _images(path, modality)
        return
    for example in read_manifest(path, columns, modality, spool, labels="none", lacks_subgroups=True):
        yield _of(example, modality, is_remote=is_url(data))


def count(data: Any, modality: Modality) -> int | None:
    """Number of inputs where a listing gives it, which is cheap; else None."""
    if isinstance(data, str) and not is_url(data) and os.path.isdir(path := os.path.expanduser(data)):
        return sum(1 for _ in _images(path, modality))
    return None


def _images(path: str, modality: Modality) -> Iterator[Unlabelled]:
    if modality.name != "image":
        raise DataError(
            f"{printable(path)} is a folder, but this model takes {modality.many}: "
            "name a manifest (.csv, .jsonl, .parquet)",
            escaped(path),
        )
    try:
        for file in images_below(path):
            yield Unlabelled(escaped(file), _version(file), partial(str, file))
    except OSError as error:
        raise DataError(f"{printable(path)} can't be listed: {explain(error)}", escaped(path)) from error


def _of(example: Example, modality: Modality, is_remote: bool = False) -> Unlabelled:
    if example.problem is not None:
        message = example.problem
        return Unlabelled(example.name, message, partial(_fail, message))
    if modality.name == "table":
        row = dict(zip(example.columns, example.input, strict=True))
        return Unlabelled(example.name, _digest(row), partial(dict, row))
    if modality.name == "text":
        text = example.input if isinstance(example.input, str) else " | ".join(example.input)
        return Unlabelled(text, _digest(example.input), lambda: example.input)
    path = example.input
    if is_spooled(path):  # under the digest of its content
        return Unlabelled(example.name, os.path.basename(path), partial(str, path))
    if is_remote:
        message = (
            f"{example.name}: a manifest of a URL has no files beside it. Fix: the images in the manifest"
        )
        return Unlabelled(example.name, message, partial(_fail, message))
    return Unlabelled(escaped(path), _version(path), partial(str, path))


def _fail(message: str) -> Any:
    raise DataError(message)


def _version(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()


def _is_manifest(url: str) -> bool:
    return re.search(r"\.(csv|tsv|jsonl|ndjson|parquet)$", url, re.IGNORECASE) is not None
