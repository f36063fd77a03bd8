"""Predictions and embeddings of a trained model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from transfer_core.backbones.frozen import AnyBackbone
from transfer_core.data import Input
from transfer_core.data.bad_input import counted, without_skip_hint
from transfer_core.features import Load
from transfer_core.heads.novelty import Novelty
from transfer_core.model.box_options import boxes_from, compute_tiled
from transfer_core.model.model_facts import ModelFacts
from transfer_core.model.predictor import Computed, Predictor, SavedHead, predictor_module
from transfer_core.model.restore import use_of
from transfer_core.model.view_average import Views, augmentations_of, predictions_over_views
from transfer_core.runtime.bad_input_report import OnBadInput, check_on_bad_input, in_order, together
from transfer_core.runtime.errors import ConfigurationError, DataError, TransferWarning
from transfer_core.runtime.tables import ShownDict
from transfer_core.tasks.coverage import check_level

if TYPE_CHECKING:
    from transfer_core.model.text_predictor import TextPredictor

Embeddings: TypeAlias = npt.NDArray[np.float32]
# Loads an input, which errors call by this name.
LoadInput: TypeAlias = Callable[[Any, str], Any]


@dataclass(frozen=True, eq=False, repr=False)
class Inference(ModelFacts):
    """Predictions and embeddings of a trained model: backbone, head and header; `digest` is the digest of the
    content of its file, `novelty` its detector of inputs unlike the training examples."""

    backbone: AnyBackbone
    head: SavedHead
    digest: str = ""
    novelty: Novelty | None = None

    def predict(
        self,
        inputs: Input | Iterable[Input],
        level: float | None = None,
        on_bad_input: OnBadInput = "raise",
        tile: bool = False,
        augment: Views = False,
        min_score: float | None = None,
    ) -> Any:
        """Predict a label, labels, numbers or boxes for one input (dict), or for many (list of dicts).

        A classification gives `label`, `score` and `scores` (label to probability, highest first); a
        multi-label model `labels`, those whose probability reaches their threshold, and `scores`; a
        regression `value`, or `values` by name if it has several outputs; a detector `boxes`, each with
        `label`, `score`, `x`, `y`, `width` and `height` in pixels of the upright photo, and its `width` and
        `height`. Beside them is `novelty`, 0 to 1, the share of inputs like the training examples that are
        nearer to these, and `unknown`, whether it is 0.95 or more: none of the classes may be right. Models
        of boxes and generated texts have neither.

        Parameters
        ----------
        inputs
            One input of the model's modality, or an iterable of them.
        level
            Coverage such as 0.9: adds `set`, a list of classes, or `interval`, `[low, high]`, or
            `intervals` by name, which contain the truth with that probability (docs/reference/tasks.md).
        on_bad_input
            For inputs that can't be read: `raise` one error that names all of them, `skip` them with a
            warning (one input alone gives None), or `mark`: `{"error": message}`, with the
            `path` of an unreadable file, in place of the prediction.
        tile
            Whether a detector also looks at overlapping tiles of photos that are much larger than its input.
        augment
            Test-time augmentation: average the probabilities or values over views of each photo. True
            (crops), or augmentations as in a recipe, such as `["flip"]`.
        min_score
            The least score of the boxes of a detector, 0 to 1, in place of the thresholds of the classes: 0
            gives all of them, at most 100 per photo, for precision-recall curves.

        Raises
        ------
        DataError
            If inputs can't be read and `on_bad_input` is `raise`.
        RecipeError
            If the model has no prediction sets at this level, `on_bad_input` is invalid, `tile` or
            `min_score` is given and it is no detector, or `augment` is given and it is no classifier or
            regression of images.
        ModelFileError
            If the network of the file can't be computed, or its outputs are not finite.
        """
        self._check_level(level)
        check_on_bad_input(on_bad_input)
        if self._is_one(inputs):
            one = [cast(Input, inputs)]
            return next(iter(self.predict(one, level, on_bad_input, tile, augment, min_score)), None)
        compute = partial(compute_tiled, self) if tile else self._compute_whole
        describe: Callable[[Any], list[dict[str, Any]]] = partial(
            self.predictions, level=level, min_score=min_score
        )
        if augment:
            changes = augmentations_of(self, augment, level)
            compute, describe = partial(predictions_over_views, self, augmentations=changes), list
        computed, bad = compute(list(cast(Iterable[Input], inputs)))
        count = len(computed) + len(bad)
        if bad and on_bad_input == "raise":
            raise together(list(bad.values()), count)
        if bad and on_bad_input == "skip":
            many = counted(len(bad), "input", "inputs")
            message = f"left out {many} of {count} that can't be read: {together(list(bad.values()), count)}"
            warnings.warn(message, TransferWarning, stacklevel=2)
        found = in_order(describe(computed), bad, keep_marks=on_bad_input == "mark")
        return [ShownDict(one) for one in found]

    def predict_each(
        self,
        inputs: Iterable[Input],
        level: float | None = None,
        on_bad_input: OnBadInput = "raise",
        batch_size: int = 64,
        tile: bool = False,
        augment: Views = False,
        min_score: float | None = None,
    ) -> Iterator[dict[str, Any] | None]:
        """Yield the predictions of `predict` for any iterable, `batch_size` inputs at a time.

        Parameters
        ----------
        inputs
            Iterable of inputs, consumed lazily: only one batch is in memory.
        level, on_bad_input
            As for `predict`. With `raise` the error names the bad inputs of one batch.
        batch_size
            Inputs per batch.
        tile, augment, min_score
            As for `predict`.

        Raises
        ------
        DataError, RecipeError
            As `predict`.
        """
        source = iter(inputs)
        while batch := list(islice(source, batch_size)):
            yield from self.predict(batch, level, on_bad_input, tile, augment, min_score)

    def stream(
        self, text: str, check: Callable[[], None] = lambda: None
    ) -> Generator[str, None, dict[str, Any]]:
        """Yield a generated text piece by piece, as soon as each is final.

        Joined, the pieces are the text of a greedy generation, whatever `beams` of the recipe are.

        Parameters
        ----------
        text
            The source.
        check
            Called before each token; may raise.

        Returns
        -------
        dict
            The prediction, as of `predict`, as the value of `StopIteration`.

        Raises
        ------
        ConfigurationError
            If the model generates no texts.
        DataError
            If the text can't be used.
        """
        if self.task.needs != "encoder_decoder":
            raise ConfigurationError(f"a model for {self.task.name} generates no text to stream")
        predictor = cast("TextPredictor", self.predictor)
        source = self.load(0, text, 1)
        with use_of(self.path):
            return (yield from predictor.pieces(source, check))

    def predictions(
        self, computed: Computed, level: float | None = None, min_score: float | None = None
    ) -> list[dict[str, Any]]:
        """Predict from results of `compute`, such as embeddings (N, D); raises as `predict` does."""
        self._check_level(level)
        if min_score is not None:
            return boxes_from(self, computed, level, min_score)
        with use_of(self.path):
            return self.predictor.predictions(computed, level)

    def embed(self, inputs: Input | Sequence[Input]) -> Embeddings:
        """Compute the embedding (embedding_width,) float32 of one input, or (N, embedding_width) of N inputs.

        Raises
        ------
        DataError
            If an image can't be decoded.
        """
        if self._is_one(inputs):
            return cast(Embeddings, self.embed([cast(Input, inputs)])[0])
        return self.embeddings(self.compute_all(self.loads(cast(Sequence[Input], inputs))))

    def load(self, number: int, input: Input, of: int, how: LoadInput | None = None) -> Any:
        """Load input `number` of `of` for the network, or as the function `how` does; raises `DataError`."""
        name, load = _name(self.modality.one, number, of), how or self.predictor.load
        try:
            with use_of(self.path):
                return load(self.modality.from_caller(input, name, self.header.columns), name)
        except DataError as error:
            raise without_skip_hint(error) from None

    def compute(self, loads: Sequence[Load]) -> tuple[Computed, dict[int, DataError]]:
        """Compute from N `loads` what predictions need: embeddings (N, D), boxes, texts.

        Returns
        -------
        computed
            A result for each readable input.
        bad
            The errors of the others by index.
        """
        with use_of(self.path):
            return self.predictor.compute(loads)

    def compute_all(self, loads: Sequence[Load]) -> Computed:
        """The results of `compute`; raises one `DataError` for all loads that fail."""
        computed, bad = self.compute(loads)
        if bad:
            raise together(list(bad.values()), len(loads))
        return computed

    def embeddings(self, computed: Computed) -> Embeddings:
        """The embeddings (N, D) among results of `compute`.

        Raises
        ------
        ConfigurationError
            If the task is not computed from embeddings.
        """
        if self.task.needs != "pooled":
            raise ConfigurationError(f"a model for {self.task.name} has no embeddings of whole inputs")
        return np.asarray(computed, np.float32)

    def _compute_whole(self, inputs: Sequence[Input]) -> tuple[Computed, dict[int, DataError]]:
        return self.compute(self.loads(inputs))

    def loads(self, inputs: Iterable[Input], how: LoadInput | None = None) -> list[Load]:
        """Functions that load the inputs for `compute`, or as `how` does."""
        inputs = list(inputs)
        return [partial(self.load, *one, len(inputs), how) for one in enumerate(inputs)]

    def _is_one(self, inputs: Any) -> bool:
        """Whether this is one input; True for invalid values, too, which `load` reports."""
        several = isinstance(inputs, Iterable) and not isinstance(inputs, Mapping)
        return self.modality.is_one(inputs) or not several

    @cached_property
    def predictor(self) -> Predictor:
        """Computes predictions for the task."""
        # A copy: a cycle would keep memory and child processes until the next garbage collection.
        return predictor_module(self.task).predictor(replace(self))

    def prepare(self) -> None:
        """Warm up the network, so that the first input is not slower."""
        with use_of(self.path):
            self.predictor.prepare()

    def _check_level(self, level: float | None) -> None:
        check_level(level, self.header.task, self.task.conformal_scores(self.state))


def _name(one: str, number: int, of: int) -> str:
    """The name of an input without a path in messages."""
    return f"the {one}" if of == 1 else f"{one} {number + 1} of {of}"
