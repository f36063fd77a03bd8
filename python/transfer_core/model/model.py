"""A trained model: predict, evaluate, embed, save, load."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import sha512
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from transfer_core import cache
from transfer_core.backbones import Backbone
from transfer_core.data import MODALITIES, Dataset, Input, Modality, Row, naming_all, read_labelled
from transfer_core.data.bad_input import by_itself, counted
from transfer_core.data.row_streams import name_streams
from transfer_core.features import (
    Extractor,
    FeatureStore,
    Load,
    Views,
    build_extractor,
    embed_dataset,
)
from transfer_core.metrics.shortfalls import shortfalls
from transfer_core.model.restore import HEAD_PREFIX, Misfit, restore_backbone, restore_head, use_of
from transfer_core.model.weights_identity import note_identity
from transfer_core.model_file import format as model_file
from transfer_core.model_file import trust as trusted
from transfer_core.model_file.format import (
    BACKBONE_PREFIX,
    Digest,
    ModelContent,
    ModelHeader,
    without_backbone,
)
from transfer_core.model_file.signature import PublicKeys, private_key, required_keys, sign_digest
from transfer_core.model_file.summary import summarize
from transfer_core.model_file.usage import mark_saved, mark_used
from transfer_core.recipe.parser import parse_recipe
from transfer_core.recipe.schema import Recipe
from transfer_core.runtime.bad_input_report import OnBadInput, check_on_bad_input, in_order, together
from transfer_core.runtime.devices import as_many_threads_as_pay, choose_like
from transfer_core.runtime.errors import ConfigurationError, DataError, TransferWarning
from transfer_core.runtime.permissions import FILE
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.temp_dir import spool_folder
from transfer_core.tasks import answers, check_level, metrics, prediction

Embeddings: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A backbone, a head and their header; `path` is the file it was saved to or read from, `digest` that of
    the content that was written or read."""

    path: Path
    header: ModelHeader
    backbone: Backbone
    head: nn.Sequential
    digest: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of classes or labels, or of a regression's outputs."""
        return self.header.labels

    @property
    def metrics(self) -> dict[str, Any]:
        """Measured on examples that took no part in training; empty if none were held out."""
        return self.header.metrics

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings of the training: reasons to distrust data, settings or metrics."""
        return self.header.warnings

    @property
    def history(self) -> tuple[dict[str, Any], ...]:
        """One entry per epoch, or per regularisation strength, with its phase."""
        return self.header.history

    @property
    def modality(self) -> Modality:
        """What an input is."""
        return MODALITIES[self.header.modality]

    @cached_property
    def recipe(self) -> Recipe:
        """What this model was trained by, presets filled in."""
        return parse_recipe(self.header.recipe)

    def __repr__(self) -> str:
        values = self.header.task == "regression"
        what = ", ".join(self.labels) if values else f"{len(self.labels)} labels"
        return f"<Model {self.path.name}: {self.header.backbone.name}, {self.header.task} of {what}>"

    def predict(
        self,
        inputs: Input | Iterable[Input],
        level: float | None = None,
        on_bad_input: OnBadInput = "raise",
    ) -> Any:
        """Predict a label, labels or numbers for one input (dict), or for many (list of dicts).

        A classification gives `label`, `score` and `scores` (label to probability, highest first); a
        multi-label model `labels`, those whose probability reaches their threshold, and `scores`; a
        regression `value`, or `values` by name if it has several outputs.

        Parameters
        ----------
        level
            Coverage such as 0.9: adds `set`, a list of classes, or `interval`, `[low, high]`, or
            `intervals` by name, which contain the truth with that probability (docs/reference/tasks.md).
        on_bad_input
            For inputs that can't be read: `raise` one error that names all of them, `skip` them with a
            warning (one input alone gives None), or `mark`: `{"error": message}`, and `path` where a file is
            to blame, in place of the prediction.

        Raises
        ------
        DataError
            If inputs can't be read and `on_bad_input` is `raise`.
        RecipeError
            If the model can't keep the level, or `on_bad_input` is none of the three.
        ModelFileError
            If what the model's file holds can't be computed, or gives no finite numbers.
        """
        check_level(level, self.header)
        check_on_bad_input(on_bad_input)
        if self._is_one(inputs):
            return next(iter(self.predict([cast(Input, inputs)], level, on_bad_input)), None)
        embeddings, bad = self._embed_readable(self._loads(cast(Iterable[Input], inputs)))
        count = len(embeddings) + len(bad)
        if bad and on_bad_input == "raise":
            raise together(list(bad.values()), count)
        if bad and on_bad_input == "skip":
            many = counted(len(bad), "input", "inputs")
            message = f"left out {many} of {count} that can't be read: {together(list(bad.values()), count)}"
            warnings.warn(message, TransferWarning, stacklevel=2)
        return in_order(self.tell(embeddings, level), bad, keep_marks=on_bad_input == "mark")

    def predict_each(
        self,
        inputs: Iterable[Input],
        level: float | None = None,
        on_bad_input: OnBadInput = "raise",
        batch_size: int = 64,
    ) -> Iterator[dict[str, Any] | None]:
        """Yield the predictions of `predict` for any iterable, `batch_size` inputs at a time.

        Only one batch is in memory. With `raise` the error names the bad inputs of one batch.

        Raises
        ------
        DataError, RecipeError
            As `predict`.
        """
        source = iter(inputs)
        while batch := list(islice(source, batch_size)):
            yield from self.predict(batch, level, on_bad_input)

    def tell(self, embeddings: Embeddings, level: float | None = None) -> list[dict[str, Any]]:
        """The predictions for embeddings (N, embedding_width); raises as `predict` does."""
        check_level(level, self.header)
        with use_of(self.path):
            answers = self._answers(torch.from_numpy(embeddings))
            if not answers.isfinite().all():
                raise Misfit("its predictions are not finite numbers")
            return [prediction(answer, self.header, level) for answer in answers.tolist()]

    def embed(self, inputs: Input | Sequence[Input]) -> Embeddings:
        """The embedding (embedding_width,), float32, of one input, or those (N, embedding_width) of many.

        Raises
        ------
        DataError
            If an image can't be decoded.
        """
        if self._is_one(inputs):
            return cast(Embeddings, self.embed([cast(Input, inputs)])[0])
        return self.embed_loads(self._loads(cast(Sequence[Input], inputs)))

    def load(self, number: int, input: Input, of: int) -> Any:
        """What the network needs of one of the inputs that are asked about; raises `DataError`."""
        name = _name(self.modality.one, number, of)
        try:
            with use_of(self.path):
                return self._extractor.load(self.modality.from_caller(input, name, self.header.columns), name)
        except DataError as error:
            raise by_itself(error) from None

    def embed_loads(self, loads: Sequence[Load]) -> Embeddings:
        """The embeddings (N, embedding_width) of N `loads`; raises one `DataError` for all that fail."""
        embeddings, bad = self._embed_readable(loads)
        if bad:
            raise together(list(bad.values()), len(loads))
        return embeddings

    def _loads(self, inputs: Iterable[Input]) -> list[Load]:
        inputs = list(inputs)
        return [partial(self.load, *one, len(inputs)) for one in enumerate(inputs)]

    def _embed_readable(self, loads: Sequence[Load]) -> tuple[Embeddings, dict[int, DataError]]:
        """The embeddings of the inputs that can be read, and the errors of the others by their number."""
        bad: dict[int, DataError] = {}
        with use_of(self.path):
            rows = torch.empty(len(loads), self._extractor.width)
            for batch in self._extractor.embed_all(loads, few=True):
                for row, outcome in batch:
                    if isinstance(outcome, DataError):
                        bad[row] = outcome
                    elif outcome.shape != rows.shape[1:]:
                        raise Misfit(f"embedding_width: its network gives {outcome.numel()} numbers")
                    else:
                        rows[row] = outcome
            if bad:
                rows = rows[[row for row in range(len(loads)) if row not in bad]]
            if not rows.isfinite().all():
                raise Misfit("its embeddings are not finite numbers")
        return rows.numpy(), dict(sorted(bad.items()))

    def evaluate(
        self,
        data: Any,
        columns: Mapping[str, Any] | None = None,
        on_bad_input: str = "raise",
        streams: Mapping[str, Iterable[Row]] | None = None,
        progress: Progress = Progress(),
    ) -> dict[str, Any]:
        """Metrics on other labelled data: anything that `train` takes as `data`.

        `streams` are the rows behind `data` that is a recipe's `{"stream": name}`.

        Raises
        ------
        DataError
            If an image can't be decoded, or has a label that the model doesn't know.
        RecipeError
            If `data` or `columns` are not as in a recipe.
        """
        source, rows = name_streams(data)
        words = {"data": source, "backbone": self.header.backbone.name, "on_bad_input": on_bad_input}
        asked = parse_recipe({**words, "columns": self._columns(columns)})
        with spool_folder() as spool:
            dataset = read_labelled(
                asked.data,
                self.modality,
                self.labels,
                self.header.task,
                asked.columns,
                asked.on_bad_input,
                rows or streams or {},
                spool,
                progress,
            )
            progress.stage("evaluate", f"measure on {len(dataset)} {self.modality.many}")
            with naming_all([dataset], self.modality, progress):
                measured = self.measure(dataset, progress, asked.on_bad_input)
        for warning in shortfalls(measured):
            progress.warning(warning)
        return measured

    def measure(self, dataset: Dataset, progress: Progress, on_bad_input: str = "raise") -> dict[str, Any]:
        """Metrics on a dataset whose targets are this model's labels or outputs."""
        store = None if self.header.backbone.fine_tuned else FeatureStore()
        once = [1] * len(dataset)
        found = embed_dataset(
            dataset,
            once,
            Views(),
            self._extractor,
            store,
            progress,
            "evaluate",
            on_bad_input,
            self.modality.many,
        )
        dataset = dataset.take(i for i, path in enumerate(dataset.inputs) if path not in found.bad)
        if not len(dataset):
            raise DataError(f"none of the {self.modality.many} to measure on can be read")
        return self.score(found.embeddings, dataset.targets)

    def score(self, embeddings: Tensor, targets: npt.NDArray[Any]) -> dict[str, Any]:
        """Metrics for embeddings (N, D) with the truth (N,) or (N, K), beside the trivial baseline."""
        return metrics(self._answers(embeddings), targets, self.header)

    def save(
        self,
        path: str | os.PathLike[str],
        backbone: bool = True,
        mode: int | None = None,
        sign: Any = None,
    ) -> Path:
        """Write the model to `path`; without its backbone the file is small, but needs the weights to load.

        A link at `path` is replaced, not followed.

        Parameters
        ----------
        mode
            Permissions of a new file, default: 0666 less the umask. A file of the same user that is replaced
            keeps its own.
        sign
            An Ed25519 private key: a path to PEM (PKCS #8), such text, or an object of `cryptography`. The
            signature is written to `path`.sig. Without a key, a signature of the file before is removed.

        Raises
        ------
        ConfigurationError
            If the file can't be written, or its name is that of another format; or without the backbone, if
            its weights exist nowhere else.
        SignatureError
            If the key can't be used; nothing is written then.
        """
        key = None if sign is None else private_key(sign)
        path = Path(os.path.expanduser(path))
        digest = sha512()
        self.write(path, backbone, mode, digest)
        if key:
            sign_digest(path, digest.hexdigest(), key)
        return path

    def write(self, path: Path, backbone: bool, mode: int | None, digest: Digest) -> None:
        """Write the model unsigned, and update `digest` with the bytes of the file; raises as `save` does."""
        if path.suffix.lower() in _OTHER_FORMATS:
            raise ConfigurationError(
                f"{path} names another format than .transfer, and export to {path.suffix} is not supported."
                f" Fix: save to {path.with_suffix('.transfer').name}"
            )
        # Not a copy of the file that it came from: that may be gone, or be another model's by now.
        header = self.header if backbone else without_backbone(self.header, path)
        written = _write(path, header, self.backbone, self.head, mode, digest)
        mark_saved(self.path)
        if self.header.recipe.get("trust") and trusted.is_trusted(self.digest):
            trusted.trust(written.digest, str(path))

    def summary(self) -> dict[str, Any]:
        """All facts about the model as plain data; raises `ModelFileError` if its file is gone."""
        return summarize(self.path, self.header)

    def _is_one(self, inputs: Any) -> bool:
        """Also of what is neither one input nor several: `load` says what is wrong with it."""
        several = isinstance(inputs, Iterable) and not isinstance(inputs, Mapping)
        return self.modality.is_one(inputs) or not several

    def _columns(self, columns: Any) -> Any:
        """The columns of data to measure on: those of the training, unless others are said."""
        said = columns or self.header.recipe.get("columns") or {}
        if isinstance(said, Mapping) and self.header.columns and not said.get("input"):
            return {**said, "input": list(self.header.columns)}
        return said

    @property
    def batch_size(self) -> int:
        """Inputs per forward pass, as many as are fastest."""
        return self._extractor.batch_size

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self._extractor.device

    def prepare(self) -> None:
        """Make ready what else the first input would wait for."""
        with use_of(self.path):
            self._extractor.prepare()

    @cached_property
    def _extractor(self) -> Extractor:
        device, precision = choose_like(self.recipe.device, self.recipe.precision)
        return build_extractor(self.backbone, device, precision, self.recipe.text)

    @torch.no_grad()
    def _answers(self, embeddings: Tensor) -> Tensor:
        # A linear head multiplies with each of its numbers once per row; others do about as much.
        with as_many_threads_as_pay(len(embeddings) * self._head_size):
            return answers(self.head(embeddings), self.header)

    @cached_property
    def _head_size(self) -> int:
        return sum(tensor.numel() for tensor in self.head.state_dict().values())


def load_model(
    path: str | os.PathLike[str],
    progress: Progress = Progress(),
    trust: bool = False,
    signed_by: Any = None,
) -> Model:
    """Read a saved model.

    Parameters
    ----------
    trust
        Whether code that the file names may run, from now on. It need not be said of models trained here.
    signed_by
        An Ed25519 public key or several: paths to PEM or OpenSSH text, such text, or objects of
        `cryptography`. One of them must have signed the file, which is verified before it is parsed. None:
        the keys of `TRANSFER_REQUIRE_SIGNATURE`, or no signature if that is not set.

    Raises
    ------
    RecipeError
        At `trust`, if there is such code and it may not run.
    ModelFileError
        If the file is missing, damaged, or not a saved model; or if it was saved without its backbone and the
        file of its weights holds others now.
    SignatureError
        If the file is not signed by one of the keys, or a key can't be used.
    WeightsNotFound
        If it was saved without its backbone and the weights are not on this machine.
    """
    return open_model_file(Path(os.path.expanduser(path)), progress, trust, required_keys(signed_by))


def open_model_file(
    path: Path, progress: Progress = Progress(), trust: bool = False, keys: PublicKeys | None = None
) -> Model:
    """`load_model` with the public keys of which one must have signed the file; None: none need have."""
    header, arrays, digest = model_file.read_model(path, keys)
    mark_used(path)
    if message := cache.ignored():
        warnings.warn(message, TransferWarning, stacklevel=3)
    if trust:
        trusted.trust(digest, str(path))
    elif header.recipe.get("trust"):
        trust = trusted.is_trusted(digest)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    with use_of(path):
        head = restore_head(header, tensors)
        backbone = restore_backbone(header, tensors, progress, trust)
    return Model(path, header, backbone, head, digest)


def save_new(path: Path, header: ModelHeader, backbone: Backbone, head: nn.Sequential) -> Model:
    """Write a model that was just trained, and return it with its header as any reader will see it."""
    saved = _write(path, header, backbone, head, FILE)
    note_identity(backbone)
    if header.recipe.get("trust"):
        trusted.trust(saved.digest, str(path))
    return Model(path, saved.header, backbone, head.eval().requires_grad_(False), saved.digest)


def _write(
    path: Path,
    header: ModelHeader,
    backbone: Backbone,
    head: nn.Sequential,
    mode: int | None,
    digest: Digest | None = None,
) -> ModelContent:
    tensors = {f"{HEAD_PREFIX}{name}": tensor for name, tensor in head.state_dict().items()}
    if header.backbone.inside:
        tensors |= {f"{BACKBONE_PREFIX}{name}": tensor for name, tensor in backbone.state_dict().items()}
    return model_file.write_model(path, tensors, header, mode, digest)


# Names under which other libraries would try, and fail, to read a model of ours.
_OTHER_FORMATS = (".onnx", ".pt", ".pth", ".h5", ".keras", ".pkl", ".joblib", ".tflite", ".mlmodel", ".pb")


def _name(one: str, number: int, of: int) -> str:
    """What errors call an input that has no path."""
    return f"the {one}" if of == 1 else f"{one} {number + 1} of {of}"
