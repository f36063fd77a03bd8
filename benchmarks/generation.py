"""Speed of generation and of training beside transformers, on the same weights: a small random Marian.

    python -m benchmarks.generation

CPU seconds are the measure, so that other programs on the machine disturb little.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from tiny_translators import SENTENCES, sentencepiece_model, write_translator
from transfer_core.backbones import load
from transfer_core.finetune.teacher_forcing import TeacherForcing, TokenPairs
from transfer_core.generation import TextGenerator
from transfer_core.recipe.schema import Generation, Languages, TextOptions

WIDTH, INNER, LAYERS, HEADS = 256, 1024, 3, 4
COUNT, LENGTH = 64, 24


def weights(folder: Path) -> Any:
    """A Marian of 256 × 3 + 3 layers with 16,000 tokens, most of them unused; transformers' model."""
    import tiny_translators

    tiny_translators._BART.update(
        d_model=WIDTH, encoder_layers=LAYERS, decoder_layers=LAYERS, encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS, encoder_ffn_dim=INNER, decoder_ffn_dim=INNER, init_std=0.05,
    )  # fmt: skip
    sentencepiece_model()
    return write_translator(folder, "marian")


def reference(model: Any, tokens: torch.Tensor, mask: torch.Tensor, beams: int) -> None:
    """The same texts by transformers' generate, in the same batches."""
    for i in range(0, COUNT, 32):
        rows = slice(i, i + 32)
        options = {"num_beams": beams, "max_length": LENGTH + 1, "do_sample": False}
        model.generate(tokens[rows], attention_mask=mask[rows].long(), **options)


def cpu_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """The smallest CPU time of several runs, after one that is not counted."""
    work()
    found = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        theirs = weights(Path(place))
        ours = load(f"hf/{place}")
        texts = [
            " ".join(SENTENCES[(i + k) % len(SENTENCES)] for k in range(1 + i % 3)) for i in range(COUNT)
        ]
        figures: dict[str, Any] = {"load": os.getloadavg()[0], "texts": COUNT}
        for beams in (1, 4):
            options = Generation(beams=beams, max_length=LENGTH)
            generator = TextGenerator(ours, TextOptions(), Languages(), options, torch.device("cpu"))
            sources = generator.sources(texts)
            tokens, mask = generator._padded(sources)
            works = (partial(generator.generate, sources), partial(reference, theirs, tokens, mask, beams))
            figures[f"texts per CPU second, beams {beams}"] = [
                round(COUNT / cpu_seconds(work), 1) for work in works
            ]
        targets = generator.codec.targets(texts)
        labels = torch.full((COUNT, max(map(len, targets))), -100)
        for row, target in zip(labels, targets, strict=True):
            row[: len(target)] = torch.from_numpy(target)
        count = sum(map(len, targets))
        module = TeacherForcing(
            ours, TokenPairs(sources, targets), generator.codec.layout.start, ours.facts.blocks, 0.0, None,
            list,
        )  # fmt: skip
        module.train(), theirs.train()

        def ours_step() -> None:
            for numbers in torch.arange(COUNT).split(16):
                module(numbers)[:, 0].sum().backward()

        def their_step() -> None:
            for rows in torch.arange(COUNT).split(16):
                inputs = {
                    "input_ids": tokens[rows],
                    "attention_mask": mask[rows].long(),
                    "labels": labels[rows],
                }
                theirs(**inputs).loss.backward()

        figures["target tokens per CPU second, training"] = [
            round(count / cpu_seconds(step)) for step in (ours_step, their_step)
        ]
        print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
