"""Predict texts with an encoder-decoder; implements `predictor.PredictorModule`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import nn

from transfer_core.backbones.encoder_decoder.encoder_decoder import EncoderDecoder
from transfer_core.backbones.encoder_decoder.text_codec import Ids
from transfer_core.data import Dataset
from transfer_core.generation import Hypothesis, TextGenerator
from transfer_core.generation.generator import BATCH, Batches
from transfer_core.generation.running_batch import Search
from transfer_core.model.restore import Misfit
from transfer_core.model_file.format import ModelHeader
from transfer_core.runtime.devices import choose_like
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.text_generation import TextGeneration

if TYPE_CHECKING:
    from transfer_core.model.inference import Inference


class TextPredictor:
    """See `predictor.Predictor`; `compute` gives a list of hypotheses per input, the best first."""

    def __init__(self, model: Inference, task: TextGeneration) -> None:
        self._model = model
        self._task = task

    @cached_property
    def generator(self) -> TextGenerator:
        """Generates texts as the recipe of the model asks."""
        recipe, backbone = self._model.recipe, self._model.backbone
        if not isinstance(backbone, EncoderDecoder):
            raise Misfit(f"{backbone.facts.name} generates no texts")
        device, _ = choose_like(recipe.device, recipe.precision)
        backbone.to(device)
        return TextGenerator(backbone, recipe.text, recipe.languages, recipe.generation, device)

    @property
    def concurrent(self) -> bool:
        """See `Predictor`."""
        return self.generator.device.type == "cpu"

    @property
    def batch_size(self) -> int:
        """See `Predictor`."""
        return BATCH

    def prepare(self) -> None:
        """See `Predictor`."""
        self.generator.prepare()

    def load(self, input: Any, name: str | None = None) -> Any:
        """The tokens of a source."""
        if not isinstance(input, str):
            raise DataError(f"{name or 'the input'}: expected one text, got {len(input)}")
        return self.generator.sources([input])[0]

    def compute(
        self, loads: Sequence[Callable[[], Any]]
    ) -> tuple[list[list[Hypothesis]], dict[int, DataError]]:
        """See `Predictor`."""
        sources, bad = [], {}
        for number, load in enumerate(loads):
            try:
                sources.append(load())
            except DataError as error:
                bad[number] = error
        return self.generator.generate(sources), bad

    def running(self) -> RunningTexts:
        """See `Predictor`."""
        return RunningTexts(self.generator)

    def predictions(self, computed: Sequence[list[Hypothesis]], level: float | None) -> list[dict[str, Any]]:
        """`text` and `score`, the mean probability of its tokens; `candidates` of a beam search."""
        return [self._prediction(hypotheses) for hypotheses in computed]

    def evaluate(self, dataset: Dataset, on_bad_input: str, progress: Progress) -> dict[str, Any]:
        """See `Predictor`."""
        return self.score(dataset, self.texts(dataset.inputs, progress))

    def score(
        self, dataset: Dataset, predictions: Sequence[str], untuned: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Metrics of predicted texts."""
        seed = int(self._model.header.recipe.get("seed", 0))
        return self._task.metrics(predictions, dataset, seed, untuned)

    def texts(self, inputs: Sequence[str], progress: Progress) -> list[str]:
        """The best text for each input."""
        return generated_texts(self.generator, inputs, progress)

    def _prediction(self, hypotheses: Sequence[Hypothesis]) -> dict[str, Any]:
        found = [{"text": self.generator.text(one), "score": one.score} for one in hypotheses]
        return {**found[0], "candidates": found} if len(found) > 1 else found[0]


class RunningTexts:
    """See `predictor.RunningInputs`; keys are searches."""

    def __init__(self, generator: TextGenerator) -> None:
        self._generator = generator
        self._batch = generator.running_batch()
        self._unfinished: list[Search] = []

    def join(self, loaded: Sequence[Ids]) -> list[Search]:
        """See `RunningInputs`."""
        searches = self._generator.join(self._batch, loaded)
        self._unfinished += searches
        return searches

    def step(self) -> list[tuple[Search, list[Hypothesis]]]:
        """See `RunningInputs`."""
        self._generator.step(self._batch)
        done = [search for search in self._unfinished if search.done]
        self._unfinished = [search for search in self._unfinished if not search.done]
        return [(search, self._generator.hypotheses(search)) for search in done]

    def drop(self, keys: Collection[Any]) -> None:
        """See `RunningInputs`."""
        self._batch.drop(keys.__contains__)
        self._unfinished = [search for search in self._unfinished if search not in keys]


def generated_texts(generator: TextGenerator, inputs: Sequence[str], progress: Progress) -> list[str]:
    """The best text for each input, with progress of the step `evaluate`."""

    def tracked(batches: Batches) -> Iterator[list[list[Hypothesis]]]:
        return progress.track(batches, "evaluate", -(-len(inputs) // BATCH), "batches")

    found = generator.generate(generator.sources(inputs), progress.check, tracked)
    return [generator.text(hypotheses[0]) for hypotheses in found]


def predictor(model: Inference) -> TextPredictor:
    """See `PredictorModule`."""
    assert isinstance(model.task, TextGeneration)
    return TextPredictor(model, model.task)


def restore_head(header: ModelHeader, arrays: Mapping[str, Any]) -> nn.Module:
    """No head: the decoder is a part of the backbone."""
    return nn.Identity()
