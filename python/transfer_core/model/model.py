"""A trained model: predict, embed, evaluate, save, export."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_core.data import Row
from transfer_core.model.evaluation import evaluate
from transfer_core.model.explainable import Explainable
from transfer_core.model.files import save_model, write_model
from transfer_core.model_file.format import Digest
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.tables import ShownDict

if TYPE_CHECKING:
    from transfer_core.model.exporting import ExportReport
    from transfer_core.model.label_selection import Selection
    from transfer_core.model.predict_all import PredictedFile

Embeddings: TypeAlias = npt.NDArray[np.float32]


class Model(Explainable):
    """A trained model."""

    def evaluate(
        self,
        data: Any,
        columns: Mapping[str, Any] | None = None,
        on_bad_input: str = "raise",
        streams: Mapping[str, Iterable[Row]] | None = None,
        progress: Progress = Progress(),
    ) -> dict[str, Any]:
        """Compute metrics on other labelled data.

        Parameters
        ----------
        data
            Any source that `train` accepts.
        columns
            Columns of input and label; None: those of the training.
        on_bad_input
            `raise` or `skip` inputs that can't be read.
        streams
            Rows by name, for `data` that is `{"stream": name}`.
        progress
            Receives events, and cancels.

        Returns
        -------
        dict
            Metrics of the task, compared with a baseline.

        Raises
        ------
        DataError
            If an image can't be decoded, or has a label that is not among `labels`.
        RecipeError
            If `data` or `columns` are not as in a recipe.
        """
        return ShownDict(evaluate(self, data, columns, on_bad_input, streams or {}, progress))

    def select(
        self,
        unlabelled: Any,
        count: int = 50,
        method: str = "auto",
        labelled: Any = None,
        columns: Mapping[str, Any] | None = None,
        on_bad_input: str = "raise",
        streams: Mapping[str, Iterable[Row]] | None = None,
        progress: Progress = Progress(),
    ) -> Selection:
        """Select the inputs to label next (active learning).

        Of copies and near-duplicates one is selected at most.

        Parameters
        ----------
        unlabelled
            A folder, a manifest, or an iterable of inputs as for `predict`. Labels are ignored.
        count
            Number of inputs to select.
        method
            `uncertainty`: highest entropy of the prediction; `margin`: smallest difference between the two
            highest probabilities; `core_set`: inputs that cover the others (Sener and Savarese 2018);
            `badge`: uncertain and different inputs (Ash et al. 2020; classification only); `random`; or
            `auto`: `margin`, and `core_set` for a regression.
        labelled
            The labelled data so far, in the same forms: its inputs and their near-duplicates are not
            selected, and `core_set` selects inputs far from them.
        columns
            Columns of a manifest; None: those of the training.
        on_bad_input
            `raise` or `skip` inputs that can't be read.
        streams
            Rows by name, for data that is `{"stream": name}`.
        progress
            Receives events, and cancels.

        Raises
        ------
        RecipeError
            If the method is unknown or not for the task, or `count` is less than 1.
        DataError
            If the data can't be read.

        Examples
        --------
        >>> model.select("new/", count=50).inputs[0].input  # doctest: +SKIP
        'new/IMG_0231.jpg'
        """
        from transfer_core.model.label_selection import select_inputs

        return select_inputs(
            self, unlabelled, count, method, labelled, columns, on_bad_input, streams or {}, progress
        )

    def predict_all(
        self,
        data: Any,
        into: str | os.PathLike[str],
        columns: Mapping[str, Any] | None = None,
        level: float | None = None,
        part: int = 1000,
        streams: Mapping[str, Iterable[Row]] | None = None,
        progress: Progress = Progress(),
    ) -> PredictedFile:
        """Predict every input of a folder, bucket or table into a file with a row for each, in their order.

        After an interruption the same call resumes: finished parts are in the directory `into`.parts, and are
        used again if model, level and inputs are the same. Memory does not grow with the number of inputs.

        Parameters
        ----------
        data
            A folder of images, a manifest (CSV, JSONL, Parquet), the URL of one of them in a store of fsspec
            (`s3://bucket/photos`), or an iterable of inputs as for `predict`. Labels are ignored.
        into
            The file, `….parquet`, `….csv` or `….jsonl`. Columns: `row`, from 0; `input`, a path, a text or
            the name of a row; those of the prediction; `error`, for an input that can't be read.
        columns
            Columns of a manifest; None: those of the training.
        level
            As for `predict`.
        part
            Inputs of a part.
        streams
            Rows by name, for data that is `{"stream": name}`.
        progress
            Receives events, and cancels.

        Raises
        ------
        ConfigurationError
            If the file can't be written, or another process writes it.
        DataError
            If the data don't exist or a manifest is malformed.
        DependencyError
            If pyarrow, or the package for the URL, is missing.
        RecipeError
            If the model has no predictions at this level, or `columns` are wrong.

        Examples
        --------
        >>> model.predict_all("new/", "new.parquet").rows  # doctest: +SKIP
        12000
        """
        from transfer_core.model.predict_all import predict_all

        target = Path(os.path.expanduser(into))
        return predict_all(self, data, target, columns, level, part, streams or {}, progress)

    def save(
        self,
        path: str | os.PathLike[str],
        backbone: bool = True,
        mode: int | None = None,
        sign: Any = None,
    ) -> Path:
        """Write the model to `path`; without its backbone the file is small, but needs the weights to load.

        Parameters
        ----------
        path
            Target file; a link is replaced, not followed.
        backbone
            Whether to include the weights of the backbone.
        mode
            Permissions of a new file, default: 0666 less the umask. A file of the same user that is replaced
            keeps its own.
        sign
            An Ed25519 private key: a path to PEM (PKCS #8), such text, or an object of `cryptography`. The
            signature is written to `path`.sig. Without a key, the signature of a replaced file is removed.

        Returns
        -------
        Path
            The file that was written.

        Raises
        ------
        ConfigurationError
            If the file can't be written, or its name is that of another format; or without the backbone, if
            its weights exist nowhere else.
        SignatureError
            If the key can't be used; nothing is written then.
        """
        return save_model(self, Path(os.path.expanduser(path)), backbone, mode, sign)

    def write(self, path: Path, backbone: bool, mode: int | None, digest: Digest) -> None:
        """Write the model without a signature, and update `digest` with the bytes of the file.

        Parameters
        ----------
        path, backbone, mode
            As for `save`.
        digest
            Incremental hash, such as `hashlib.sha512()`.

        Raises
        ------
        ConfigurationError
            As `save`.
        """
        write_model(self, path, backbone, mode, digest)

    def export(
        self,
        path: str | os.PathLike[str],
        precision: str = "float32",
        calibration: Any = None,
        evaluation: Any = None,
        columns: Mapping[str, Any] | None = None,
        tolerance: float = 0.01,
        loader: str | None = None,
        mode: int | None = None,
        streams: Mapping[str, Iterable[Row]] | None = None,
        progress: Progress = Progress(),
    ) -> ExportReport:
        """Write the model as one ONNX file that predicts without this package (docs/reference/onnx_file.md).

        The file is run by ONNX Runtime and compared with the model before it is written.

        Parameters
        ----------
        path
            Target file, `….onnx`.
        precision
            Of the network: `float32`; `float16`, weights of half the size; `int8`, weights of a quarter of
            the size and calculations in 8 bits.
        calibration
            For `int8`: labelled data as for `evaluate`, such as the training data; 200 examples do. Without
            `evaluation`, half of them are measured on.
        evaluation
            Labelled data to compare file and model on.
        columns
            Columns of input and label; None: those of the training.
        tolerance
            Largest allowed loss of accuracy (multi-label: micro F1, regression: R²), 0.01 is one point.
        loader
            `python`, `ruby` or `browser`: also write a short script that predicts with the file.
        mode
            Permissions of a new file, default: 0666 less the umask.
        streams
            Rows by name, for data that is `{"stream": name}`.
        progress
            Receives events, and cancels.

        Returns
        -------
        ExportReport
            Size, precision, error, and the metric before and after where data was given.

        Raises
        ------
        ConfigurationError
            If the file can't be written; if the backbone, head or task has no form in standard operators;
            if the precision is unknown, lacks calibration data or loses more than `tolerance`. Nothing is
            written then.
        DependencyError
            If onnx or onnxruntime is missing.
        DataError
            If data can't be read.
        """
        from transfer_core.model.exporting import Data, export_model

        data = Data(calibration, evaluation, columns, streams or {})
        target = Path(os.path.expanduser(path))
        return export_model(self, target, precision, data, tolerance, loader, mode, progress)

    def report(
        self,
        path: str | os.PathLike[str],
        data: Any = None,
        columns: Mapping[str, Any] | None = None,
        on_bad_input: str = "raise",
        mode: int | None = None,
        streams: Mapping[str, Iterable[Row]] | None = None,
        progress: Progress = Progress(),
    ) -> Path:
        """Write a report on the model: metrics beside the baseline, classes, groups, training, recipe.

        Parameters
        ----------
        path
            Target file. `….html`: one accessible page without scripts and requests; `….md`: a model card with
            the metadata of the Hugging Face Hub.
        data
            Labelled data as for `evaluate`: the metrics are then of this data, and the page shows the worst
            mistakes and a reliability diagram or the errors. Default: the metrics of the training.
        columns
            Columns of input and label; None: those of the training.
        on_bad_input
            `raise` or `skip` inputs that can't be read.
        mode
            Permissions of a new file, default: 0666 less the umask.
        streams
            Rows by name, for `data` that is `{"stream": name}`.
        progress
            Receives events, and cancels.

        Returns
        -------
        Path
            The file that was written.

        Raises
        ------
        ConfigurationError
            If the file can't be written, or its name ends otherwise.
        DataError, RecipeError
            As `evaluate`.
        ModelFileError
            If the metrics in the file of the model are malformed.
        """
        from transfer_core.model.reporting import write_report

        target = Path(os.path.expanduser(path))
        return write_report(self, target, data, columns, on_bad_input, mode, streams or {}, progress)
