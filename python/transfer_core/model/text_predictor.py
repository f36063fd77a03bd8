"""Predict texts with an encoder-decoder; implements `predictor.PredictorModule`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn

from transfer_core.backbones.encoder_decoder.encoder_decoder import EncoderDecoder
from transfer_core.backbones.encoder_decoder.text_codec import Ids
from transfer_core.data import Dataset
from transfer_core.data.placeholders import changed_placeholders
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


class Source(NamedTuple):
    """An input: its text and its tokens."""

    text: str
    tokens: Ids


class Generated(NamedTuple):
    """The source of an input, and its hypotheses, the best first."""

    source: str
    hypotheses: Sequence[Hypothesis]


class TextPredictor:
    """See `predictor.Predictor`; `compute` gives a `Generated` per input."""

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

    def load(self, input: Any, name: str | None = None) -> Source:
        """The source and its tokens."""
        if not isinstance(input, str):
            raise DataError(f"{name or 'the input'}: expected one text, got {len(input)}")
        return Source(input, self.generator.sources([input])[0])

    def compute(self, loads: Sequence[Callable[[], Any]]) -> tuple[list[Generated], dict[int, DataError]]:
        """See `Predictor`."""
        sources: list[Source] = []
        bad = {}
        for number, load in enumerate(loads):
            try:
                sources.append(load())
            except DataError as error:
                bad[number] = error
        found = self.generator.generate([source.tokens for source in sources])
        return [Generated(source.text, some) for source, some in zip(sources, found, strict=True)], bad

    def running(self) -> RunningTexts:
        """See `Predictor`."""
        return RunningTexts(self.generator)

    def predictions(self, computed: Sequence[Generated], level: float | None) -> list[dict[str, Any]]:
        """`text` and `score`, the mean probability of its tokens; `candidates` of a beam search;
        `placeholders` that are missing or extra in the text."""
        return [self._prediction(generated) for generated in computed]

    def pieces(self, source: Source, check: Callable[[], None]) -> Generator[str, None, dict[str, Any]]:
        """Yield a text piece by piece by greedy decoding; return the prediction."""
        found = yield from self.generator.pieces(source.tokens, check)
        return self._prediction(Generated(source.text, [found]))

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

    def _prediction(self, generated: Generated) -> dict[str, Any]:
        found: list[dict[str, Any]] = [
            {"text": self.generator.text(one), "score": one.score}
            for one in placeholders_first(self.generator, *generated)
        ]
        changed = changed_placeholders(generated.source, found[0]["text"])
        return {
            **found[0],
            **({"candidates": found} if len(found) > 1 else {}),
            **({"placeholders": changed} if changed else {}),
        }


class RunningTexts:
    """See `predictor.RunningInputs`."""

    def __init__(self, generator: TextGenerator) -> None:
        self._generator = generator
        self._batch = generator.running_batch()
        self._sources: dict[Search, str] = {}

    def join(self, loaded: Sequence[Source]) -> list[Search]:
        """See `RunningInputs`; keys are searches."""
        searches = self._generator.join(self._batch, [source.tokens for source in loaded])
        self._sources |= {key: source.text for key, source in zip(searches, loaded, strict=True)}
        return searches

    def step(self) -> list[tuple[Search, Generated]]:
        """See `RunningInputs`."""
        self._generator.step(self._batch)
        done = [search for search in self._sources if search.done]
        return [
            (search, Generated(self._sources.pop(search), self._generator.hypotheses(search)))
            for search in done
        ]

    def drop(self, keys: Collection[Any]) -> None:
        """See `RunningInputs`."""
        self._batch.drop(keys.__contains__)
        for key in keys:
            del self._sources[key]


def generated_texts(generator: TextGenerator, inputs: Sequence[str], progress: Progress) -> list[str]:
    """The best text for each input, with progress of the step `evaluate`."""

    def tracked(batches: Batches) -> Iterator[list[list[Hypothesis]]]:
        return progress.track(batches, "evaluate", -(-len(inputs) // BATCH), "batches")

    found = generator.generate(generator.sources(inputs), progress.check, tracked)
    best = [placeholders_first(generator, *each)[0] for each in zip(inputs, found, strict=True)]
    return [generator.text(hypothesis) for hypothesis in best]


def placeholders_first(
    generator: TextGenerator, source: str, hypotheses: Sequence[Hypothesis]
) -> Sequence[Hypothesis]:
    """Hypotheses with the placeholders of the source before others, otherwise in the given order."""
    if len(hypotheses) == 1:
        return hypotheses
    return sorted(hypotheses, key=lambda one: bool(changed_placeholders(source, generator.text(one))))


def predictor(model: Inference) -> TextPredictor:
    """See `PredictorModule`."""
    assert isinstance(model.task, TextGeneration)
    return TextPredictor(model, model.task)


def restore_head(header: ModelHeader, arrays: Mapping[str, Any]) -> nn.Module:
    """No head: the decoder is a part of the backbone."""
    return nn.Identity()
