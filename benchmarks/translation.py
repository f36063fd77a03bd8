"""Transfer of a translator to another language and to another domain, on catalogues of Debian and Django.

    apt-get download libreoffice-l10n-gl libreoffice-l10n-pt-br && dpkg -x … catalogues
    python -m benchmarks.translation language catalogues/…/gl   # English → Galician from English → Portuguese
    python -m benchmarks.translation domain django catalogues/…/pt_BR --pattern "*pt_BR/LC_MESSAGES/*.po"
    python -m benchmarks.translation domain /usr/share/locale/pt_BR catalogues/…/pt_BR --pairs 300 --epochs 5

Prints a line of JSON per run. Pairs are split by their normalized source; the test part is measured once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import transfer_core
from transfer_core.backbones import load
from transfer_core.backbones.encoder_decoder.encoder_decoder import EncoderDecoder
from transfer_core.data.mo_catalogue import read_mo
from transfer_core.data.near_texts import normalized
from transfer_core.data.po_catalogue import read_po
from transfer_core.generation import TextGenerator
from transfer_core.metrics.text_overlap import translation_metrics
from transfer_core.recipe.schema import Generation, Languages, TextOptions

BACKBONE = "marian/en-pt"
LONGEST = 60  # characters
MOST_PAIRS, MEASURED = 5000, 500
GENERAL, DROP = 100, 10.0  # sentences, and the loss of chrF2 that counts as a regression
LORA = [{"type": "freeze"}, {"type": "lora", "rank": 16}]
DECODER = [{"type": "freeze"}, {"type": "unfreeze", "blocks": ["decoder_0", "decoder_1", "output"]}]


def pairs_below(folder: Path, words: int, pattern: str = "*") -> list[tuple[str, str]]:
    """Distinct pairs of at least so many words in all catalogues, in a fixed order."""
    found: dict[str, tuple[str, str]] = {}
    for path in sorted(folder.rglob(pattern)):
        reader = {".mo": read_mo, ".po": read_po}.get(path.suffix)
        for source, target, _ in reader(str(path)).pairs if reader else ():
            plain = source.replace("~", "").replace("_", "")
            if len(plain.split()) >= words and max(len(source), len(target)) <= LONGEST:
                found.setdefault(normalized(plain), (plain, target.replace("~", "").replace("_", "")))
    return [pair for _, pair in sorted(found.items())]


def divided(
    pairs: Sequence[tuple[str, str]], train: int, test: int, seed: int
) -> dict[str, list[dict[str, str]]]:
    """Rows of the parts; validation pairs are a twentieth of those to train on."""
    order = list(pairs)
    random.Random(seed).shuffle(order)
    rows = [{"source": source, "target": target} for source, target in order[: train + test]]
    valid = max(1, train // 20)
    return {"test": rows[:test], "valid": rows[test : test + valid], "train": rows[test + valid :]}


def trained(parts: dict[str, list[dict[str, str]]], folder: Path, **words: Any) -> tuple[Any, dict[str, Any]]:
    """A model, and the figures of its training."""
    data = {}
    for name, rows in parts.items():
        data[name] = str(folder / f"{name}.jsonl")
        Path(data[name]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    started, cpu = time.perf_counter(), time.process_time()
    model = transfer_core.train(
        backbone=BACKBONE, data=data, task="translation", on_bad_input="skip", on_event=_told, **words
    )
    metrics = model.metrics
    return model, {
        "sizes": dict(model.header.sizes),
        "chrf2": metrics["chrf2"],
        "interval": metrics["intervals"]["chrf2"],
        "bleu": metrics["bleu"],
        "untuned": metrics["untuned"]["chrf2"],
        "copied": metrics["baseline"]["chrf2"],
        "epochs": len(model.history),
        "wall_s": round(time.perf_counter() - started),
        "cpu_s": round(time.process_time() - cpu),
        "load": os.getloadavg()[0],
    }


def language(
    folder: Path, epochs: int, seed: int, count: int, weights: Sequence[str] = ("pretrained", "random")
) -> Iterator[dict[str, Any]]:
    """English to another language, from the translator's weights and from random ones."""
    parts = divided(pairs_below(folder, words=2), count, MEASURED, seed)
    with tempfile.TemporaryDirectory() as place:
        for name in weights:
            words = {"preset": "balanced", "weights": name, "epochs": epochs, "seed": seed}
            _, figures = trained(parts, Path(place), **words)
            yield {"run": f"language, {name} weights", **figures}


def domain(
    folder: Path, general: Path, epochs: int, seed: int, count: int, pattern: str
) -> Iterator[dict[str, Any]]:
    """A catalogue, with LoRA, the decoder and all weights; and the quality of sentences of another domain."""
    pairs = pairs_below(folder, 2, pattern)
    parts = divided(pairs, min(count, len(pairs) - 200), 200, seed)
    tuned = {normalized(row["source"]) for row in parts["train"] + parts["valid"]}
    others = [pair for pair in pairs_below(general, 5) if normalized(pair[0]) not in tuned]
    sentences = random.Random(seed).sample(others, GENERAL)
    sources, references = [source for source, _ in sentences], [target for _, target in sentences]
    before = untuned_texts(sources)
    with tempfile.TemporaryDirectory() as place:
        for name, steps in (
            ("LoRA", [*LORA, {"type": "train", "epochs": epochs}]),
            ("the decoder", [*DECODER, {"type": "train", "epochs": epochs}]),
            ("all weights", [{"type": "train", "epochs": epochs}]),
        ):
            model, figures = trained(parts, Path(place), steps=steps, seed=seed)
            after = [prediction["text"] for prediction in model.predict(sources)]
            lost = [
                a - b > DROP
                for a, b in zip(
                    chrf_of_each(before, references), chrf_of_each(after, references), strict=True
                )
            ]
            scores = [
                translation_metrics(t, references, sources, None, seed)["chrf2"] for t in (before, after)
            ]
            yield {
                "run": f"domain, {name}",
                **figures,
                "general_before": scores[0],
                "general_after": scores[1],
                "regressions": sum(lost),
            }


def untuned_texts(sources: Sequence[str]) -> list[str]:
    """Translations by the published weights."""
    network = load(BACKBONE)
    assert isinstance(network, EncoderDecoder)
    device = next(network.parameters()).device
    generator = TextGenerator(network, TextOptions(), Languages(), Generation(), device)
    found = generator.generate(generator.sources(sources))
    return [generator.text(hypotheses[0]) for hypotheses in found]


def chrf_of_each(texts: Sequence[str], references: Sequence[str]) -> list[float]:
    """chrF2 per sentence."""
    from sacrebleu.metrics.chrf import CHRF

    scorer = CHRF()
    return [scorer.sentence_score(t, [r]).score for t, r in zip(texts, references, strict=True)]


def _told(event: dict[str, Any]) -> None:
    if event["event"] in ("stage", "epoch"):
        print(json.dumps(event), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("language", "domain"))
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=MOST_PAIRS)
    parser.add_argument("--weights", nargs="+", default=("pretrained", "random"))
    parser.add_argument("--pattern", default="*")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.what == "language":
        runs = language(options.folders[0], options.epochs, options.seed, options.pairs, options.weights)
    else:
        runs = domain(*options.folders, options.epochs, options.seed, options.pairs, options.pattern)
    for figures in runs:
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
