"""Predict all inputs of a folder, bucket, manifest or stream into a file, in resumable parts."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer_core.data import Row
from transfer_core.data.row_streams import name_streams, rows_of_inputs
from transfer_core.data.unlabelled import Unlabelled, count, unlabelled
from transfer_core.model.evaluation import columns_for
from transfer_core.model.predicted_file import check_target, write_predictions
from transfer_core.recipe.parser import parse_recipe
from transfer_core.recipe.schema import PathSource, Source, StreamSource
from transfer_core.runtime.atomic import replacing
from transfer_core.runtime.bad_input_report import in_order
from transfer_core.runtime.errors import ConfigurationError, Problem, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.temp_dir import spool_folder
from transfer_core.runtime.version import __version__

if TYPE_CHECKING:
    from transfer_core.model.model import Model

_LOCK = "lock"
# Inputs of a part, whose predictions are in memory.
_MOST = 100_000


@dataclass(frozen=True)
class PredictedFile:
    """A file of predictions.

    Attributes
    ----------
    path
        The file.
    rows
        Number of inputs; the file has a row for each, in their order.
    failed
        Rows with an `error` in place of a prediction.
    reused
        Rows that an interrupted call had predicted before.
    """

    path: Path
    rows: int
    failed: int
    reused: int


def predict_all(
    model: Model,
    data: Any,
    into: Path,
    columns: Mapping[str, Any] | None,
    level: float | None,
    part: int,
    streams: Mapping[str, Iterable[Row]],
    progress: Progress,
) -> PredictedFile:
    """See `Model.predict_all`; `streams` are rows by name for data that is `{"stream": name}`."""
    if not isinstance(part, int) or isinstance(part, bool) or not 1 <= part <= _MOST:
        raise RecipeError([Problem("part", f"expected a number of inputs, 1 to {_MOST} (got {part!r})")])
    check_target(into)
    # Fails early for a level that the model does not have.
    model.predictions(model.compute([])[0], level)
    source, rows = name_streams(rows_of_inputs(data))
    words = {"backbone": model.header.backbone.name, "columns": columns_for(model.header, columns)}
    recipe = parse_recipe({**words, "data": source})
    given = _one_source(recipe.data, rows or streams)
    many = model.modality.many
    progress.stage("evaluate", f"predict {many}")
    total = count(given, model.modality)
    found: list[Path] = []
    done = reused = 0
    with _parts_of(into) as folder, spool_folder() as spool:
        inputs = unlabelled(given, model.modality, recipe.columns, _emptied(spool / "inputs"))
        while batch := list(islice(inputs, part)):
            progress.advance("evaluate", done, total or done + len(batch), many)
            path = _part(model, batch, level, folder, len(found))
            if path.exists():
                reused += len(batch)
            else:
                _write(path, _predicted(model, batch, level))
            found.append(path)
            done += len(batch)
            _emptied(spool / "inputs")
        progress.advance("evaluate", done, total or done, many)
        failed = write_predictions(partial(_lines, found, progress), into)
    return PredictedFile(into, done, failed, reused)


def _one_source(source: Source, streams: Mapping[str, Iterable[Row]]) -> str | Iterable[Row]:
    """A path or URL, or rows."""
    if isinstance(source, PathSource):
        return source.path
    if isinstance(source, StreamSource) and source.stream in streams:
        return streams[source.stream]
    raise RecipeError([Problem("data", "expected a path, a URL or rows that can be iterated")])


@contextmanager
def _parts_of(into: Path) -> Iterator[Path]:
    """The folder of the parts, for one process at a time; removed if the block ends without an exception."""
    folder = into.with_name(f"{into.name}.parts")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = open(folder / _LOCK, "ab")  # noqa: SIM115
    except OSError as error:
        raise ConfigurationError(f"can't write to {folder}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigurationError(f"another process is writing {into}") from None
        yield folder
        shutil.rmtree(folder, ignore_errors=True)


def _part(model: Model, batch: Sequence[Unlabelled], level: float | None, folder: Path, number: int) -> Path:
    """The file of a part, named by what its predictions depend on; parts of other content are removed."""
    digest = hashlib.sha256(json.dumps([__version__, model.digest, level]).encode())
    for one in batch:
        digest.update(json.dumps([one.name, one.version]).encode())
    path = folder / f"{number:08d}-{digest.hexdigest()[:32]}.jsonl"
    for other in folder.glob(f"{number:08d}-*.jsonl"):
        if other != path:
            other.unlink()
    return path


def _predicted(model: Model, batch: Sequence[Unlabelled], level: float | None) -> Iterator[dict[str, Any]]:
    loads = [partial(_load, model, number, one, len(batch)) for number, one in enumerate(batch)]
    computed, bad = model.compute(loads)
    found = in_order(model.predictions(computed, level), bad, keep_marks=True)
    for one, prediction in zip(batch, found, strict=True):
        yield {"input": one.name, **prediction}


def _load(model: Model, number: int, one: Unlabelled, of: int) -> Any:
    return model.load(number, one.read(), of)


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with replacing(path, mode=0o600) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def _lines(parts: Sequence[Path], progress: Progress) -> Iterator[dict[str, Any]]:
    """The rows of all parts, numbered from 0."""
    number = 0
    for part in parts:
        progress.check()
        try:
            with open(part, encoding="utf-8") as file:
                for line in file:
                    yield {"row": number, **json.loads(line)}
                    number += 1
        except ValueError as error:
            raise ConfigurationError(f"{part} is damaged. Fix: delete it, and predict again") from error


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder, 0o700)
    return folder
