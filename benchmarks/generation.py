"""Speed of generation, of serving and of training beside transformers, on the same weights: a random Marian.

    python -m benchmarks.generation

Both take turns, and the ratios of each turn are reported with their range, since other programs on the
machine disturb both alike. Every text has the same number of output tokens: random weights end texts at
random.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import tiny_translators
from tiny_translators import SENTENCES, write_translator
from transfer_core.backbones import load
from transfer_core.finetune.teacher_forcing import TeacherForcing, TokenPairs
from transfer_core.generation import TextGenerator
from transfer_core.model.text_predictor import TextPredictor
from transfer_core.recipe.schema import Generation, Languages, TextOptions
from transfer_core.runtime.devices import Device, cores
from transfer_core.runtime.progress import Progress
from transfer_core.worker.model_cache import ModelCache, ModelRef
from transfer_core.worker.serving import Serving
from transfer_core.worker.settings import BatchingSettings

WIDTH, INNER, LAYERS, HEADS, VOCABULARY = 256, 1024, 3, 4, 16_000
COUNT, LENGTH, CALLERS = 64, 24, 8


def weights(folder: Path) -> Any:
    """A Marian of 3 + 3 layers and 16,000 tokens, of which the texts use few; returns transformers' model."""
    used = tiny_translators.pieces()
    unused = [f"▁unused{number}" for number in range(VOCABULARY - len(used))]
    tiny_translators.pieces = lambda kind="unigram": [*used, *unused]
    tiny_translators._BART.update(
        d_model=WIDTH, encoder_layers=LAYERS, decoder_layers=LAYERS, encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS, encoder_ffn_dim=INNER, decoder_ffn_dim=INNER, init_std=0.08,
        max_position_embeddings=512,
    )  # fmt: skip
    model = write_translator(folder, "marian")
    with torch.no_grad():
        model.final_logits_bias[0, model.config.eos_token_id] = -100
    model.save_pretrained(folder)
    return model


def texts() -> list[str]:
    """Texts of 1 to 4 sentences."""
    draw = random.Random(0)
    return [" ".join(draw.choices(SENTENCES, k=1 + i % 4)) for i in range(COUNT)]


def reference(model: Any, generator: TextGenerator, sources: Sequence[Any], size: int, beams: int) -> None:
    """The same texts by transformers' generate, `size` at a time in the given order."""
    options = {"num_beams": beams, "max_length": LENGTH + 1, "do_sample": False}
    with torch.inference_mode():
        for start in range(0, len(sources), size):
            tokens, mask = generator._padded(sources[start : start + size])
            model.generate(tokens, attention_mask=mask.long(), **options)


def turns(ours: Callable[[], object], theirs: Callable[[], object], repeats: int = 3) -> dict[str, Any]:
    """Texts per second of both by the median, and the ratio of each turn: median and range."""
    ours(), theirs()
    found: dict[str, list[list[float]]] = {"wall": [], "cpu": []}
    for _ in range(repeats):
        pairs = [_seconds(work) for work in (ours, theirs)]
        for name, pair in zip(found, zip(*pairs, strict=True), strict=True):
            found[name].append(list(pair))
    report: dict[str, Any] = {}
    for name, seconds in found.items():
        ratios = sorted(slow / fast for fast, slow in seconds)
        report[f"texts per second, {name}"] = [
            round(COUNT / statistics.median(each), 1) for each in zip(*seconds, strict=True)
        ]
        report[f"ratio, {name}"] = [
            round(each, 2) for each in (statistics.median(ratios), ratios[0], ratios[-1])
        ]
    return report


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


class _Served:
    """As much of a model as `Serving` needs."""

    def __init__(self, generator: TextGenerator) -> None:
        self.predictor = TextPredictor(None, None)  # type: ignore[arg-type]
        self.predictor.__dict__["generator"] = generator

    def load(self, number: int, text: str, count: int) -> Any:
        return self.predictor.load(text)

    def predictions(self, computed: Any) -> Any:
        return self.predictor.predictions(computed, None)


def serve(serving: Serving, path: str, sources: Sequence[str], size: int) -> None:
    """Requests of `size` texts by 8 callers at the same time."""
    call: Any = SimpleNamespace(progress=Progress())
    predict: Any = _Served.predictions

    def ask(start: int) -> object:
        some = sources[start : start + size]
        return serving.submit(call, ModelRef(path), some, predict, lambda _, found: found).result()

    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(ask, range(0, len(sources), size)))


def main() -> None:
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as place:
        theirs = weights(Path(place))
        ours: Any = load(f"hf/{place}")
        sources, figures = texts(), dict[str, Any](load=os.getloadavg()[0])
        for beams in (1, 4):
            options = Generation(beams=beams, max_length=LENGTH)
            generator = TextGenerator(ours, TextOptions(), Languages(), options, Device("cpu"))
            tokens = generator.sources(sources)
            torch.set_num_threads(1)
            print(json.dumps(figures), flush=True)
            figures[f"one call, one thread, beams {beams}"] = turns(
                partial(generator.generate, tokens), partial(reference, theirs, generator, tokens, 32, beams)
            )
            torch.set_num_threads(threads)
            reads: Any = {ModelRef(place): _Served(generator)}
            cache = ModelCache(10, read=reads.__getitem__, size=lambda model: 1)
            serving = Serving(cache, BatchingSettings(), cores())
            for size in (1, 8):
                figures[f"8 callers, {size} texts per request, beams {beams}"] = turns(
                    partial(serve, serving, place, sources, size),
                    partial(reference, theirs, generator, tokens, size, beams),
                )
            serving.end()
        torch.set_num_threads(1)
        figures["target tokens per CPU second, training"] = training(ours, theirs, generator, sources)
        print(json.dumps(figures, indent=1))


def training(ours: Any, theirs: Any, generator: TextGenerator, sources: Sequence[str]) -> list[int]:
    """Target tokens per CPU second of forward and backward passes: ours and theirs."""
    tokens, targets = generator.sources(sources), generator.codec.targets(sources)
    start: Any = generator.codec.layout.start
    module = TeacherForcing(ours, TokenPairs(tokens, targets), start, ours.facts.blocks, 0.0, None, list)
    module.train(), theirs.train()

    def our_epoch() -> None:
        for numbers in torch.arange(COUNT).split(16):
            module(numbers)[:, 0].sum().backward()

    def their_epoch() -> None:
        for numbers in torch.arange(COUNT).split(16):
            inputs, mask = generator._padded([tokens[i] for i in numbers])
            labels, known = generator._padded([targets[i] for i in numbers])
            labels[~known] = -100
            theirs(input_ids=inputs, attention_mask=mask.long(), labels=labels).loss.backward()

    seconds = [min(_seconds(epoch)[1] for _ in range(3)) for epoch in (our_epoch, their_epoch)]
    return [round(sum(map(len, targets)) / each) for each in seconds]


if __name__ == "__main__":
    main()
